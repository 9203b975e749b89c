"""Finishes what `reflex export` has built; scripts/build and the Dockerfile run it.

- The pages talk to the address that they were loaded from, so that one image serves any address on any port.
- `.web/build/routes.caddy` tells Caddy the app's routes with parameters, so that an unknown path is a real 404.
- `robots.txt` names the sitemap.
"""

import json
import re
from pathlib import Path

from reflex.config import get_config


def finish_build(web: Path) -> None:
    """Finish what `reflex export` has built.

    Args:
        web: The folder that Reflex builds in.

    Raises:
        RuntimeError: If this version of Reflex builds pages in a way that is not known here.
    """
    config = get_config()
    pages = web / "build" / "client"
    use_the_pages_own_address(pages, config.api_url)
    routes = json.loads((web / "routes.json").read_text())
    (web / "build" / "routes.caddy").write_text(caddy_routes(routes))
    robots = pages / "robots.txt"
    if not robots.exists():
        has_sitemap = (pages / "sitemap.xml").exists()
        robots.write_text(robots_txt(config.deploy_url if has_sitemap else None))


def use_the_pages_own_address(static_dir: Path, api_url: str) -> None:
    """Make the built pages look for the backend at the address that they were loaded from.

    Reflex writes `api_url` into them, and a page on plain http keeps its port.

    Args:
        static_dir: The folder of the built pages.
        api_url: The app's setting. Any host but localhost means a backend elsewhere; then nothing is changed.

    Raises:
        RuntimeError: If no file names the backend as this version of Reflex is known to do it.
    """
    host = re.fullmatch(r"https?://(localhost(?::\d+)?)/?", api_url)
    if not host:
        return
    address = re.compile(rf"""(["'`])(http|ws)://{re.escape(host[1])}(/[^"'`]*)\1""")
    origin = {"http": "location.origin", "ws": "location.origin.replace(/^http/,'ws')"}
    changed = 0
    for script in (static_dir / "assets").glob("reflex-env-*.js"):
        # "http://localhost:8000/ping" becomes (location.origin+"/ping"), in whichever quotes it stands.
        code, count = address.subn(
            lambda found: "({}+{}{}{})".format(origin[found[2]], *found.group(1, 3, 1)), script.read_text()
        )
        script.write_text(code)
        # What Reflex has compressed says the old address; the file is too small to be worth it.
        for compressed in script.parent.glob(f"{script.name}.*"):
            compressed.unlink()
        changed += count
    if not changed:
        msg = f"No built file names {api_url} as the backend: this version of Reflex builds pages in another way."
        raise RuntimeError(msg)


def caddy_routes(routes: list[str]) -> str:
    """Write the routes with parameters for the Caddyfile.

    Args:
        routes: All of the app's routes as Reflex lists them, such as `["index", "item/[slug]", "404"]`.

    Returns:
        A part of a Caddyfile that answers those routes, and no others, with the app's fallback page.
    """
    patterns = [route_pattern(route) for route in routes if "[" in route]
    if not patterns:
        return "# No page has a parameter in its route.\n"
    return f"""\
# Written by finish_build.py at each build: the routes with a parameter.
@parameter path_regexp ^({"|".join(patterns)})/?$
handle @parameter {{
\trewrite /__spa-fallback.html
\tfile_server {{
\t\tprecompressed br zstd gzip
\t}}
}}
"""


def route_pattern(route: str) -> str:
    """Turn one route into a regular expression that Go and Python read alike.

    Args:
        route: Such as `item/[slug]`, `docs/[[page]]` (may be missing) or `files/[[...splat]]` (any depth).

    Returns:
        The expression for the path, with its leading slash and without a slash at the end.
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


def robots_txt(deploy_url: str | None) -> str:
    """Write what search engines read first.

    Args:
        deploy_url: The site's address if it has a sitemap, such as https://example.com.

    Returns:
        The text: everything may be read, and where the sitemap is.
    """
    sitemap = f"\nSitemap: {deploy_url.rstrip('/')}/sitemap.xml\n" if deploy_url else ""
    return f"User-agent: *\nAllow: /\n{sitemap}"


if __name__ == "__main__":
    finish_build(Path(".web"))
