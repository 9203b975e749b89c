"""Reflex bug: a state expires in Redis while its tab is open, because only writing a state renews it.

A visitor who uses only one part of the app for an hour loses the others, such as a login. Seen in Reflex 0.10.
"""

import asyncio
import logging
import time

import reflex as rx
from reflex.istate.manager.redis import StateManagerRedis
from reflex.istate.manager.token import BaseStateToken
from reflex.state import BaseState

RENEWALS = 4
"""How often the state of an open tab is renewed within its lifetime."""
CHECK_SECONDS = 1

logger = logging.getLogger(__name__)


def apply(app: rx.App) -> asyncio.Task | None:
    """Renew the states of this worker's open tabs, from now on."""
    states, namespace = app.state_manager, app.event_namespace
    if not (namespace and isinstance(states, StateManagerRedis)):
        return None
    return asyncio.create_task(keep_alive(states, namespace._token_manager))


async def keep_alive(states: StateManagerRedis, tokens) -> None:
    """Renew each open tab's state when it connects, and `RENEWALS` times in its lifetime."""
    interval = states.token_expiration / RENEWALS
    renewed: dict[str, float] = {}
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        try:
            records = tokens.token_to_socket.items()
            own = [token for token, record in records if record.instance_id == tokens.instance_id]
            renewed = {token: renewed[token] for token in own if token in renewed}
            for token in own:
                if token not in renewed or time.monotonic() - renewed[token] > interval:
                    await renew(states, token)
                    renewed[token] = time.monotonic()
        except Exception as error:  # after any error the next round is needed
            logger.warning("%s: %s", type(error).__name__, error)


async def renew(states: StateManagerRedis, token: str) -> None:
    """Let all parts of a tab's state live for another `token_expiration`.

    Raises:
        RedisError, OSError: If Redis does not answer.
    """
    pipeline = states.redis.pipeline(transaction=False)
    for state in with_substates(rx.State):
        pipeline.expire(BaseStateToken(ident=token, cls=state)._state_key(state), states.token_expiration)
    await pipeline.execute()


def with_substates(state: type[BaseState]) -> list[type[BaseState]]:
    """List a state class and all classes below it."""
    return [state, *(below for child in state.get_substates() for below in with_substates(child))]
