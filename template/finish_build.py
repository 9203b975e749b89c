"""Finishes what `reflex export` has built, and checks it; scripts/build and the Dockerfile run it.

- The pages talk to the address that they were loaded from, so that one image serves any address on any port.
- A worker that starts without compiling, as in production, knows every state and event of the pages.
- `.web/build/routes.caddy` tells Caddy the paths of the app's own API, the routes with a parameter and the scripts that
  are written into the pages.
- `robots.txt` names the sitemap.
"""

import base64
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import reflex as rx
from reflex.config import get_config
from reflex.utils.prerequisites import get_app
from starlette.routing import Host, Mount


def finish_build(web: Path) -> None:
    """Finish what `reflex export` has built.

    Args:
        web: The folder that Reflex builds in.

    Raises:
        RuntimeError: If this version of Reflex builds pages in a way that is not known here, or a worker would not know
            what the pages ask for.
    """
    config = get_config()
    static_dir = web / "build" / "client"
    pages = static_dir / config.frontend_path.strip("/")
    use_the_pages_own_address(pages, config.api_url)
    # As environment.sh has it for the workers.
    os.environ |= {"__REFLEX_SKIP_COMPILE": "1", "REFLEX_ENV_MODE": "prod"}
    app = get_app().app
    asgi_app = app()
    check_events(app, web)
    routes = json.loads((web / "routes.json").read_text())
    (web / "build" / "routes.caddy").write_text(
        caddy_api(config.backend_path.rstrip("/"), list(api_patterns(asgi_app)))
        + caddy_pages(config.frontend_path.rstrip("/"), routes)
        + caddy_scripts(static_dir)
    )
    if pages != static_dir:
        for file in pages.glob("404.html*"):
            shutil.copy(file, static_dir)
    robots = static_dir / "robots.txt"
    if not robots.exists():
        has_sitemap = (pages / "sitemap.xml").exists()
        robots.write_text(robots_txt(config.deploy_url if has_sitemap else None))


def use_the_pages_own_address(pages: Path, api_url: str) -> None:
    """Make the built pages look for the backend at the address that they were loaded from.

    Reflex writes `api_url` into them, and a page on plain http keeps its port.

    Args:
        pages: The folder of the built pages.
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
    for script in (pages / "assets").glob("reflex-env-*.js"):
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


def check_events(app: rx.App, web: Path) -> None:
    """Have each worker know the states and events of the built pages, or fail.

    A worker compiles nothing: it evaluates only the pages that Reflex lists in `backend/stateful_pages.json`, those
    that make a state. What another page registers when it is evaluated would be missing: that page joins the list.

    Args:
        app: The app, started as a worker starts it.
        web: The folder that Reflex builds in.

    Raises:
        RuntimeError: If a worker still differs from what the pages were built with.
    """
    context = web / "utils" / "context.jsx"
    built = re.search(r'stateSchema = "(\w+)"', context.read_text()) if context.exists() else None
    if not built:
        return  # an app without a state
    try:
        from reflex_base.registry import RegistrationContext

        handlers = RegistrationContext.get().event_handlers
        missing = sorted(events(web) - handlers.keys())
        if not missing and schema(app) == built[1]:
            return
        listed = web / "backend" / "stateful_pages.json"
        needed = json.loads(listed.read_text())
        for route in list(app._unevaluated_pages):
            before = schema(app)
            app._compile_page(route, save_page=False)
            if schema(app) != before and route not in needed:
                needed.append(route)
        if schema(app) == built[1] and not events(web) - handlers.keys():
            listed.write_text(json.dumps(needed))
            return
    except (AttributeError, ImportError, OSError) as error:
        print(f"finish_build.py: the events of the pages are not checked, Reflex has changed: {error}.")
        return
    names = f", for example {', '.join(missing[:5])}" if missing else ""
    msg = (
        f"The pages were built with states or events that a worker does not have when it starts{names}. Does"
        " something in the app depend on an environment variable, a file or the time when it defines its states?"
    )
    raise RuntimeError(msg)


def schema(app: rx.App) -> str:
    """Sum up the names and types of an app's states, variables and events, as Reflex writes it into the pages.

    Args:
        app: The app, with a state.

    Returns:
        A checksum.
    """
    from reflex.state import _frontend_schema

    _frontend_schema.cache_clear()  # Reflex forgets to when an event is added
    return app._state._to_frontend_schema()


def events(web: Path) -> set[str]:
    """Read the events that the built pages send to the app, such as `reflex___state____state.counter.increment`.

    Args:
        web: The folder that Reflex builds in.
    """
    return {
        name
        for folder in ("app", "app_components", "utils")
        for script in (web / folder).rglob("*.js*")
        for name in re.findall(r'ReflexEvent\("(reflex___state____state\.[\w.]+)"', script.read_text())
    }


def api_patterns(asgi_app: object, prefix: str = "") -> Iterator[str]:
    """List the paths that an ASGI application serves, and those that are mounted or wrapped in it.

    Args:
        asgi_app: The application; Starlette's and FastAPI's know their routes, others have none to list.
        prefix: What stands before its paths, as a regular expression.

    Yields:
        Regular expressions for whole paths, which Go and Python read alike.
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
    """Write for the Caddyfile what the backend serves besides Reflex's usual paths.

    Args:
        backend_path: The app's setting: empty, or such as `/api`.
        patterns: What `api_patterns` lists.

    Returns:
        A part of a Caddyfile.
    """
    names = "_event|_upload|ping|_health|_all_routes|auth-codespace"
    own = re.compile(rf"{re.escape(re.escape(backend_path))}/(?:{names})(?:$|/|\(\?:/)")
    paths = [pattern for pattern in dict.fromkeys(patterns) if not own.match(pattern)]
    text = "# Written by finish_build.py at each build.\n"
    if backend_path:
        paths += [f"{re.escape(backend_path)}/(?:_event(?:/.*)?|_upload(?:/.*)?|ping|_health)"]
        text += f"""\
# start.sh and Cloud Run ask for these without the app's backend_path.
@short path /ping /_event /_event/*
rewrite @short {backend_path}{{uri}}
"""
    matcher = f"path_regexp ^(?:{'|'.join(paths)})$" if paths else "not path *"
    return f"{text}@api {matcher}\n"


def caddy_pages(frontend_path: str, routes: list[str]) -> str:
    """Write for the Caddyfile which files are no pages by themselves, and which pages have a parameter in their route.

    Args:
        frontend_path: The app's setting: empty, or such as `/shop`.
        routes: All of the app's routes as Reflex lists them, such as `["index", "item/[slug]", "404"]`.

    Returns:
        A part of a Caddyfile.
    """
    patterns = [re.escape(frontend_path) + route_pattern(route) for route in routes if "[" in route]
    matcher = f"path_regexp ^(?:{'|'.join(patterns)})/?$" if patterns else "not path *"
    files = ("/index", "/404", "/404.html", "/404/*", "/__spa-fallback.html")
    hidden = " ".join(frontend_path + file for file in files)
    start = f"redir / {frontend_path}/\n" if frontend_path else ""
    return f"@hidden path {hidden}\n@parameter {matcher}\n{start}"


def caddy_scripts(static_dir: Path) -> str:
    """Write for the Caddyfile which inline scripts each page has, as a Content-Security-Policy names them.

    Args:
        static_dir: The folder that Caddy serves.

    Returns:
        A part of a Caddyfile. A path that is not listed gets the page 404.html.
    """
    sources: dict[str, dict[str, None]] = {"default": {}}
    for page in sorted(static_dir.rglob("*.html")):
        path = "/" + page.relative_to(static_dir).as_posix().removesuffix(".html").removesuffix("index").strip("/")
        scripts = re.findall(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", page.read_text(), re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
        addresses = ["default"] if path == "/404" else [path, f"{path}/" if path != "/" else path]
        for address in addresses:
            sources.setdefault(address, {}).update(dict.fromkeys(f"'sha256-{value}'" for value in hashes))
    lines = [f'\t{address} "{" ".join(hashes)}"\n' for address, hashes in sources.items()]
    return f"map {{http.request.orig_uri.path}} {{inline_scripts}} {{\n{''.join(lines)}}}\n"


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
