"""Tells Caddy which files are no pages, and the routes with a parameter."""

import re
from pathlib import Path

from .api import matcher


def caddy_pages(static_dir: Path, frontend_path: str, routes: list[str]) -> str:
    """Return the part of the Caddyfile with the files that are not pages, and the routes with a parameter.

    Args:
        static_dir: The folder that Caddy serves.
        frontend_path: The app's setting: empty, or such as `/shop`.
        routes: All routes as Reflex lists them, such as `["index", "item/[slug]", "404"]`.
    """
    patterns = [re.escape(frontend_path) + route_pattern(route) for route in routes if "[" in route]
    files = ("/index", "/404", "/404.html", "/404/*", "/__spa-fallback.html")
    hidden = " ".join(frontend_path + file for file in files)
    start = f"redir / {frontend_path}/\n" if frontend_path else ""
    # A folder of the app's assets with an index.html gets its slash, on which its relative links depend.
    pages = {frontend_path, f"{frontend_path}/404", *(f"{frontend_path}/{route.strip('/')}" for route in routes)}
    folders = {"/" + file.parent.relative_to(static_dir).as_posix() for file in static_dir.rglob("*/index.html")}
    folder = matcher([re.escape(path) for path in sorted(folders - pages)])
    start += f"@folder {folder}\nredir @folder {{path}}/\n"
    return f"@hidden path {hidden}\n@parameter {matcher(patterns, '/?$')}\n{start}"


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
