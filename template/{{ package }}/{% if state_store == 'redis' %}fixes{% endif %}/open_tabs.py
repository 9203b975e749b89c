"""Reflex bug: a tab that reconnects comes back as an empty copy of itself.

Reflex takes a tab whose connection is registered as open for a duplicate, and a duplicate gets a separate state. Seen
in Reflex 0.8.5 to 0.10; https://github.com/reflex-dev/reflex/issues/6345 is one case:

- A tab that loses its network leaves a connection behind that nobody closes: it looks open for 30 to 160 s. A tab that
  reconnects can be recognized by its first event, which has no `hashes`: only a page that was just loaded sends those.
- A worker that is killed leaves its records behind in Redis, so that a reloaded page looks like a duplicate.
- A reloaded page may be faster than the end of its old connection, and be taken for a duplicate. Or it may be faster
than
  the start of the old connection, whose end then cancels what the new page loads.
"""

import asyncio
import contextvars
import logging
import pickle
import time
import weakref

import reflex as rx
from reflex.state import StateUpdate
from reflex.utils.token_manager import LostAndFoundRecord, RedisTokenManager, SocketRecord

reconnecting = contextvars.ContextVar("reconnecting", default=False)
"""Whether the page that connects was open before."""

CLOSING_SECONDS = 1
"""How long a loaded page waits for its old connection to close; after that it is a duplicate."""
POLL_COUNT = 20
"""How often to check within that time."""
PRIVATE = [
    *("_get_redis_key", "_get_lost_and_found_key", "_store_socket_record", "_ensure_socket_record_task"),
    *("instance_id", "sid_to_token", "token_to_socket", "redis"),
]
"""Undocumented names of Reflex that this uses."""


def apply(app: rx.App) -> None:
    """Let tabs that reconnect keep their state."""
    namespace = app.event_namespace
    if not namespace:
        return
    tokens = namespace._token_manager
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
                    await take_over(tokens, token, sid)
                    return None
                await forget_closed_tab(tokens, token)
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


async def take_over(tokens: RedisTokenManager, token: str, sid: str) -> None:
    """Register a tab's new connection in place of its old one.

    Raises:
        RedisError, OSError: If Redis does not answer.
    """
    if old := tokens.token_to_socket.get(token):
        tokens.sid_to_token.pop(old.sid, None)
    tokens.token_to_socket[token] = SocketRecord(instance_id=tokens.instance_id, sid=sid)
    tokens.sid_to_token[sid] = token
    tokens._ensure_socket_record_task()
    await tokens._store_socket_record(token, tokens.token_to_socket[token])  # tells the worker that had the tab


async def forget_closed_tab(tokens: RedisTokenManager, token: str) -> None:
    """Wait until a tab's record is gone, at most `CLOSING_SECONDS`, and remove it if the tab is open nowhere.

    Raises:
        RedisError, OSError: If Redis does not answer.
    """
    key = tokens._get_redis_key(token)
    deadline = time.monotonic() + CLOSING_SECONDS
    while (stored := await tokens.redis.get(key)) and time.monotonic() < deadline:
        record = pickle.loads(stored)  # noqa: S301 - as Reflex writes and reads it
        if await is_open(tokens, token, record):
            await asyncio.sleep(CLOSING_SECONDS / POLL_COUNT)
        else:
            await tokens.redis.delete(key)


async def is_open(tokens: RedisTokenManager, token: str, record: SocketRecord) -> bool:
    """Return whether the connection in a tab's record may be open.

    Raises:
        RedisError, OSError: If Redis does not answer.
    """
    if record.instance_id == tokens.instance_id:
        return tokens.sid_to_token.get(record.sid) == token
    # A worker with tabs subscribes to a channel under its ID until its process ends.
    channel = f"channel:{tokens._get_lost_and_found_key(record.instance_id)}"
    nothing = LostAndFoundRecord(token="", update=StateUpdate())
    return await tokens.redis.publish(channel, pickle.dumps(nothing)) > 0
