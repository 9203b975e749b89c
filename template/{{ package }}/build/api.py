"""Tells Caddy which paths the app's API answers.

The pages and the API share one address, so a request has to be told apart by its path. A path that is known goes to the
backend. Where a part of the API cannot be read, or answers any path, requests that match no page go to the backend.
"""

import functools
import re
from collections.abc import Iterator

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Host, Mount, Router

ANY = "(?:/.*)?"
"""A regular expression for the rest of any path."""
NOTHING = "not path *"
"""A matcher of Caddy that matches no request."""
SOME_PATHS = ("/4f1d2c", "/4f1d2c/9b")
"""Paths that no API has by chance: an expression that matches one of them would take the pages away."""
NOT_IN_GO = re.compile(r"\(\?(?!:)|\\[1-9]")
"""What a convertor's expression may have in Python and Go's syntax lacks: lookarounds and references."""


def api_patterns(asgi_app: object, prefix: str = "") -> Iterator[str]:
    """List the paths of an ASGI application and of those mounted or wrapped in it.

    Args:
        asgi_app: The application; Starlette's and FastAPI's list their routes, a middleware wraps another one.
        prefix: What stands before its paths, as a regular expression.

    Yields:
        Regular expressions for whole paths, in the syntax that Go and Python share.
    """
    listed = find_listed(asgi_app, set())
    if listed is None:
        yield prefix + ANY
        return
    for route in listed.routes:
        yield from route_patterns(route, prefix)


def route_patterns(route: BaseRoute, prefix: str) -> Iterator[str]:
    """List the paths of one route, as `api_patterns` does."""
    if isinstance(route, Host):
        return  # see `api_hosts`
    if hasattr(route, "effective_route_contexts"):  # a router that FastAPI 0.137 or later includes
        for context in route.effective_route_contexts():
            yield from route_patterns(getattr(context, "starlette_route", None) or context, prefix)
        return
    regex = getattr(route, "path_regex", None)
    if regex is None:  # a kind of route that only its framework knows
        yield prefix + ANY
        return
    pattern = re.sub(r"\(\?P<\w+>", "(?:", regex.pattern)[1:-1]
    if NOT_IN_GO.search(pattern):
        yield prefix + re.escape(route.path_format.partition("{")[0]) + ".*"
    elif isinstance(route, Mount):
        yield from api_patterns(route.app, prefix + pattern.removesuffix("/(?:.*)"))
    else:
        yield prefix + pattern


def api_hosts(asgi_app: object) -> list[str]:
    """List the hosts that the app gives to a part of its API (Starlette's `Host`), as Caddy writes them."""
    listed = find_listed(asgi_app, set())
    hosts = []
    for route in listed.routes if listed else []:
        if isinstance(route, Host):
            hosts.append(re.sub(r"\{[^}]*\}", "*", route.host))
        elif isinstance(route, Mount):
            hosts += api_hosts(route.app)
    return hosts


def find_listed(asgi_app: object, seen: set[int]) -> Starlette | Router | None:
    """Find the application that lists its routes, through any number of middlewares around it.

    Args:
        asgi_app: The outermost one.
        seen: The `id` of each object that was looked at.

    Returns:
        None if there is none, or if a middleware keeps the application in a place that cannot be read.
    """
    if isinstance(asgi_app, Starlette | Router):
        return asgi_app
    if id(asgi_app) in seen or isinstance(asgi_app, type) or not callable(asgi_app):
        return None
    seen.add(id(asgi_app))
    if isinstance(asgi_app, functools.partial):
        inner = [asgi_app.func, *asgi_app.args, *asgi_app.keywords.values()]
    else:  # a middleware keeps it in an attribute, a function in a variable around it
        inner = list(getattr(asgi_app, "__dict__", {}).values())
        inner += [getattr(asgi_app, "__self__", None), *closure_values(asgi_app)]
    return next((found for value in inner if (found := find_listed(value, seen)) is not None), None)


def closure_values(function: object) -> Iterator[object]:
    """List the values of the variables around a function that it uses."""
    for cell in getattr(function, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # it has no value yet
            continue


def caddy_api(backend_path: str, patterns: list[str], hosts: list[str]) -> str:
    """Return the part of the Caddyfile with the app's API.

    Args:
        backend_path: The app's setting: empty, or such as `/api`.
        patterns: Regular expressions of whole paths, from `api_patterns`.
        hosts: From `api_hosts`.
    """
    names = "_event|_upload|ping|_health|_all_routes|auth-codespace"
    own = re.compile(rf"{re.escape(re.escape(backend_path))}/(?:{names})(?:$|/|\(\?:/)")
    paths = [pattern for pattern in dict.fromkeys(patterns) if not own.match(pattern)]
    rest = [pattern for pattern in paths if any(re.fullmatch(pattern, path) for path in SOME_PATHS)]
    paths = [pattern for pattern in paths if pattern not in rest]
    text = "# Written by production/build at each build.\n"
    if backend_path:
        paths += [f"{re.escape(backend_path)}/(?:_event(?:/.*)?|_upload(?:/.*)?|ping|_health)"]
        text += f"""\
# start.sh and Cloud Run request these without the app's backend_path.
@short path /ping /_event /_event/*
rewrite @short {backend_path}{{uri}}
"""
    if any(pattern.endswith(ANY) for pattern in rest):
        print("production.build: a part of the app's API does not list its paths: what is no page goes to the backend.")
    api_hosts = f"host {' '.join(hosts)}" if hosts else NOTHING
    return f"{text}@api {matcher(paths)}\n@api_hosts {api_hosts}\n@rest {matcher(rest)}\n"


def matcher(patterns: list[str], end: str = "$") -> str:
    """Return a matcher of Caddy for paths.

    Args:
        patterns: Regular expressions of whole paths.
        end: What comes after each of them.
    """
    if not patterns:
        return NOTHING
    expression = f"^(?:{'|'.join(patterns)}){end}".replace("`", r"\x60")
    return f"path_regexp `{expression}`"
