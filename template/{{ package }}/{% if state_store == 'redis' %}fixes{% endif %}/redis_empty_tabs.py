"""Reflex bug: a tab that was opened while Redis was away stays empty after Redis is back, until its first click.

Seen in Reflex 0.10.
"""

import asyncio
import logging

import reflex as rx
from reflex.istate.manager.redis import StateManagerRedis
from reflex.istate.manager.token import BaseStateToken

CHECK_SECONDS = 1
SETTLE_SECONDS = 2  # after an outage: an event that still waits for Redis fills its tab by itself

logger = logging.getLogger(__name__)


def apply(app: rx.App) -> asyncio.Task | None:
    """Have empty tabs reconnect when Redis is back, from now on."""
    states, namespace = app.state_manager, app.event_namespace
    if not (namespace and isinstance(states, StateManagerRedis)):
        return None
    return asyncio.create_task(watch(states, namespace))


async def watch(states: StateManagerRedis, namespace) -> None:
    """Ping Redis once a second, and reconnect empty tabs after an outage."""
    away = False
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        try:
            await states.redis.ping()
            if away:
                await asyncio.sleep(SETTLE_SECONDS)
                await reconnect_empty(states, namespace)
            away = False
        except Exception as error:  # after any error the next check is needed
            away = True
            logger.warning("%s: %s", type(error).__name__, error)


async def reconnect_empty(states: StateManagerRedis, namespace) -> None:
    """Close the connections of this worker's tabs without a state in Redis: they reconnect and get one.

    Raises:
        RedisError, OSError: If Redis does not answer.
    """
    tokens = namespace._token_manager
    for token, record in list(tokens.token_to_socket.items()):
        if record.instance_id != tokens.instance_id:
            continue
        key = BaseStateToken(ident=token, cls=rx.State)._state_key(rx.State)
        if not await states.redis.exists(key):
            connection = namespace.server.manager.eio_sid_from_sid(record.sid, namespace.namespace)
            if connection:
                await namespace.server.eio.disconnect(connection)
