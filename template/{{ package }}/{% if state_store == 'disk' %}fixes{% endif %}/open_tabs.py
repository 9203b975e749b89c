"""Reflex bug: a tab that reconnects comes back as an empty copy of itself.

Reflex takes a tab whose connection is registered as open for a duplicate, and a duplicate gets a separate state. Seen
in Reflex 0.8.5 to 0.10; https://github.com/reflex-dev/reflex/issues/6345 is one case:

- A tab that loses its network leaves a connection behind that nobody closes: it looks open for 30 to 160 s. A tab that
  reconnects can be recognized by its first event, which has no `hashes`: only a page that was just loaded sends those.
- A reloaded page may be faster than the end of its old connection, and be taken for a duplicate. Or it may be faster
than
  the start of the old connection, whose end then cancels what the new page loads.
"""

import asyncio
import contextvars
import logging
import weakref

import reflex as rx
from reflex.utils.token_manager import LocalTokenManager, SocketRecord

reconnecting = contextvars.ContextVar("reconnecting", default=False)
"""Whether the page that connects was open before."""

CLOSING_SECONDS = 1
"""How long a loaded page waits for its old connection to close; after that it is a duplicate."""
POLL_COUNT = 20
"""How often to check within that time."""
PRIVATE = ["instance_id", "sid_to_token", "token_to_socket"]
"""Undocumented names of Reflex that this uses."""


def apply(app: rx.App) -> None:
    """Let tabs that reconnect keep their state."""
    namespace = app.event_namespace
    if not namespace:
        return
    tokens = namespace._token_manager
    if type(tokens) is not LocalTokenManager:  # with REFLEX_REDIS_URL set, Reflex registers tabs in Redis
        return
    for name in PRIVATE:
        getattr(tokens, name)
    connect, link = namespace.on_connect, tokens.link_token_to_sid
    linking: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def on_connect(sid: str, environ: dict, *auth: object) -> None:  # Reflex 0.9 has no `auth`
        reconnecting.set(is_reconnecting(*auth))
        await connect(sid, environ, *auth)

    async def link_token_to_sid(token: str, sid: str) -> str | None:
        async with linking.setdefault(token, asyncio.Lock()):  # one connection of a tab after the other
            try:
                if reconnecting.get():
                    take_over(tokens, token, sid)
                    return None
                await wait_until_closed(tokens, token)
            except Exception as error:  # after any error Reflex's own way remains
                logging.getLogger(__name__).warning("%s: %s", type(error).__name__, error)
            return await link(token, sid)

    namespace.on_connect = on_connect
    tokens.link_token_to_sid = link_token_to_sid


def is_reconnecting(auth: object = None) -> bool:
    """Return whether a page that connects was open before.

    Args:
        auth: What it sends with its connection, such as `{"event": {"payload": {"hashes": [...]}}}`; a page that was
            open before sends no hashes.
    """
    event = auth.get("event") if isinstance(auth, dict) else None
    return isinstance(event, dict) and "hashes" not in (event.get("payload") or {})


def take_over(tokens: LocalTokenManager, token: str, sid: str) -> None:
    """Register a tab's new connection in place of its old one."""
    if old := tokens.token_to_socket.get(token):
        tokens.sid_to_token.pop(old.sid, None)
    tokens.token_to_socket[token] = SocketRecord(instance_id=tokens.instance_id, sid=sid)
    tokens.sid_to_token[sid] = token


async def wait_until_closed(tokens: LocalTokenManager, token: str) -> None:
    """Wait until a tab's old connection has closed, at most `CLOSING_SECONDS`."""
    for _ in range(POLL_COUNT):
        if token not in tokens.token_to_socket:
            return
        await asyncio.sleep(CLOSING_SECONDS / POLL_COUNT)
