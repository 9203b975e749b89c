"""Tells Caddy the paths of the app's API and the routes with a parameter."""

import re
from collections.abc import Iterator

from starlette.routing import Host, Mount


def api_patterns(asgi_app: object, prefix: str = "") -> Iterator[str]:
    """List the paths of an ASGI application and of those mounted or wrapped in it.

    Args:
        asgi_app: The application; Starlette's and FastAPI's list their routes, others have no list.
        prefix: What stands before its paths, as a regular expression.

    Yields:
        Regular expressions for whole paths, in the syntax that Go and Python share.
    """
    routes = getattr(asgi_app, "routes", None)
    if routes is None and hasattr(asgi_app, "app"):  # a middleware
        yield from api_patterns(asgi_app.app, prefix)
    for route in routes or []:
        if isinstance(route, Host):
            yield from api_patterns(route.app, prefix)
            continue
        pattern = re.sub(r"\(\?P<\w+>", "(?:", route.path_regex.pattern)[1:-1]
        if not isinstance(route, Mount):
            yield prefix + pattern
            continue
        below = prefix + pattern.removesuffix("/(?:.*)")
        found = list(api_patterns(route.app, below))
        yield from found or ([f"{below}(?:/.*)?"] if below else [])


def caddy_api(backend_path: str, patterns: list[str]) -> str:
    """Return the part of the Caddyfile with the app's API.

    Args:
        backend_path: The app's setting: empty, or such as `/api`.
        patterns: Regular expressions of whole paths, from `api_patterns`.
    """
    names = "_event|_upload|ping|_health|_all_routes|auth-codespace"
    own = re.compile(rf"{re.escape(re.escape(backend_path))}/(?:{names})(?:$|/|\(\?:/)")
    paths = [pattern for pattern in dict.fromkeys(patterns) if not own.match(pattern)]
    text = "# Written by production/build at each build.\n"
    if backend_path:
        paths += [f"{re.escape(backend_path)}/(?:_event(?:/.*)?|_upload(?:/.*)?|ping|_health)"]
        text += f"""\
# start.sh and Cloud Run request these without the app's backend_path.
@short path /ping /_event /_event/*
rewrite @short {backend_path}{{uri}}
"""
    matcher = f"path_regexp ^(?:{'|'.join(paths)})$" if paths else "not path *"
    return f"{text}@api {matcher}\n"


def caddy_pages(frontend_path: str, routes: list[str]) -> str:
    """Return the part of the Caddyfile with the files that are not pages, and the routes with a parameter.

    Args:
        frontend_path: The app's setting: empty, or such as `/shop`.
        routes: All routes as Reflex lists them, such as `["index", "item/[slug]", "404"]`.
    """
    patterns = [re.escape(frontend_path) + route_pattern(route) for route in routes if "[" in route]
    matcher = f"path_regexp ^(?:{'|'.join(patterns)})/?$" if patterns else "not path *"
    files = ("/index", "/404", "/404.html", "/404/*", "/__spa-fallback.html")
    hidden = " ".join(frontend_path + file for file in files)
    start = f"redir / {frontend_path}/\n" if frontend_path else ""
    return f"@hidden path {hidden}\n@parameter {matcher}\n{start}"


def route_pattern(route: str) -> str:
    """Return a regular expression for a route, in the syntax that Go and Python share.

    Args:
        route: Such as `item/[slug]`, `docs/[[page]]` (may be missing) or `files/[[...splat]]` (any depth).

    Returns:
        The expression for the path, with a leading slash and without a slash at the end.
    """
    parts = []
    for part in route.strip("/").split("/"):
        if part.startswith(("[[...", "[...")):
            parts.append("(?:/.*)?")
        elif part.startswith("[["):
            parts.append("(?:/[^/]+)?")
        elif part.startswith("["):
            parts.append("/[^/]+")
        else:
            parts.append("/" + re.escape(part))
    return "".join(parts)
