"""What production needs of Reflex beyond its settings.

After `reflex export`, by `python production.py`:

- the pages talk to the address they were loaded from, so that one image serves any address on any port;
- `.web/build/routes.caddy` tells Caddy the app's routes with parameters, so that an unknown path is a real 404;
- `robots.txt` names the sitemap.

In each worker, when it starts, by the plugin that rxconfig.py turns on:

- `THREADS` is how many blocking calls run at once;
- it waits for Redis, and ends with the reason if Redis does not answer;
- with Redis, the tabs of a worker that was killed go on where they were.
"""

import asyncio
import contextlib
import json
import os
import pickle
import re
import socket
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio.to_thread
import reflex as rx
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from reflex.config import get_config
from reflex.state import StateUpdate
from reflex.utils.token_manager import LostAndFoundRecord, RedisTokenManager, SocketRecord

REDIS_SECONDS = 5
"""How long a worker waits for one answer of Redis."""

CLOSING_SECONDS = 1
"""How long a tab that comes back waits until its old connection is known to be closed; after that it is a copy."""


class ProductionPlugin(rx.plugins.Plugin):
    """Has each worker set itself up; see the module's text."""

    def post_compile(self, **context) -> None:
        """Have each worker set itself up before its first request.

        Args:
            context: What Reflex hands to a plugin; `app` is the app.
        """
        context["app"].register_lifespan_task(worker, reflex_app=context["app"])


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


@contextlib.asynccontextmanager
async def worker(reflex_app: rx.App) -> AsyncIterator[None]:
    """Set up one worker process for as long as it runs.

    Args:
        reflex_app: The app.

    Yields:
        Nothing, once the worker is ready.

    Raises:
        RuntimeError: If the state lives in Redis and Redis does not answer, see `require_redis`.
    """
    if url := get_config().redis_url:
        await require_redis(url)
        if namespace := reflex_app.event_namespace:
            keep_tabs(namespace._token_manager)
    if threads := os.environ.get("THREADS"):
        use_threads(int(threads))
    yield


def use_threads(threads: int) -> None:
    """Let so many blocking calls run at once: `rx.run_in_thread` and synchronous API routes each.

    Args:
        threads: The number, 1 or more. asyncio's own choice is at most 32, AnyIO's is 40.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads, "blocking"))
    anyio.to_thread.current_default_thread_limiter().total_tokens = threads


async def require_redis(url: str) -> None:
    """Wait until Redis answers, for as long as a start may take (`STARTUP_SECONDS`, set by start.sh).

    On Cloud Run an instance's first connection to its network may take minutes. Only waiting counts against the limit:
    while no request is open, Cloud Run takes the CPU away, and the clock goes on.

    Args:
        url: Its address, such as redis://localhost:6379/0.

    Raises:
        RuntimeError: If it does not answer in that time, or rejects the connection or the password.
    """
    left = float(os.environ.get("STARTUP_SECONDS", "10")) - 2 * REDIS_SECONDS
    while True:
        started = time.monotonic()
        try:
            async with asyncio.timeout(REDIS_SECONDS), Redis.from_url(url) as redis:
                await redis.ping()
        except (RedisError, OSError, ValueError) as error:
            where = re.sub(r"//.*@", "//***@", url)
            msg = f"Redis does not answer at {where} (REFLEX_REDIS_URL): {str(error) or type(error).__name__}."
            left -= max(1, min(time.monotonic() - started, 2 * REDIS_SECONDS))
            if left <= 0 or not is_passing(error):
                raise RuntimeError(f"{msg} Is it running?") from None
            print(f"{msg} Trying again.", flush=True)
            await asyncio.sleep(1)
        else:
            return


def is_passing(error: BaseException | None) -> bool:
    """Tell whether a failed connection may succeed later: no answer may, an answer that says no will not.

    Args:
        error: What the attempt raised.
    """
    while error:
        if isinstance(error, (ConnectionRefusedError, socket.gaierror, AuthenticationError, ResponseError, ValueError)):
            return False
        error = error.__cause__ or error.__context__
    return True


def keep_tabs(tokens: RedisTokenManager) -> None:
    """Let a tab go on where it was when the worker that had it was killed.

    Each worker notes its tabs in Redis, and Reflex takes a tab that is noted there already for a copy of an open one,
    which gets a state of its own. A worker that is killed leaves its notes behind.

    Args:
        tokens: What the worker notes its tabs with.
    """
    link = tokens.link_token_to_sid

    async def link_token_to_sid(token: str, sid: str) -> str | None:
        with contextlib.suppress(RedisError, OSError):  # Reflex meets the same error and reports it
            await forget_closed_tab(tokens, token)
        return await link(token, sid)

    tokens.link_token_to_sid = link_token_to_sid


async def forget_closed_tab(tokens: RedisTokenManager, token: str) -> None:
    """Wait until the note of a tab is gone, for `CLOSING_SECONDS`, and remove it if the tab is open nowhere.

    Args:
        tokens: What this worker notes its tabs with.
        token: The tab's.

    Raises:
        RedisError, OSError: If Redis does not answer.
    """
    key = tokens._get_redis_key(token)
    copy_after = time.monotonic() + CLOSING_SECONDS
    while (note := await tokens.redis.get(key)) and time.monotonic() < copy_after:
        noted = pickle.loads(note)  # noqa: S301 - as Reflex writes and reads it
        if await is_open(tokens, token, noted):
            await asyncio.sleep(0.05)
        else:
            await tokens.redis.delete(key)


async def is_open(tokens: RedisTokenManager, token: str, noted: SocketRecord) -> bool:
    """Tell whether the connection that is noted for a tab may be open.

    Args:
        tokens: What this worker notes its tabs with.
        token: The tab's.
        noted: The worker and the connection.

    Raises:
        RedisError, OSError: If Redis does not answer.
    """
    if noted.instance_id == tokens.instance_id:
        return tokens.sid_to_token.get(noted.sid) == token
    # A worker with tabs listens at a channel of its own, until its process ends.
    channel = f"channel:{tokens._get_lost_and_found_key(noted.instance_id)}"
    nothing = LostAndFoundRecord(token="", update=StateUpdate())
    return await tokens.redis.publish(channel, pickle.dumps(nothing)) > 0


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
# Written by production.py at each build: the routes with a parameter.
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
