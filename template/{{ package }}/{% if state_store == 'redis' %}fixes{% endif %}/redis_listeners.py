"""Reflex bug: after 5 errors within a minute a worker stops listening to the other workers, until a tab connects to it.

Its open tabs then look closed to the others, and a duplicated tab shares a state. Seen in Reflex 0.10.
"""

import asyncio
import functools
import logging
from collections.abc import Callable

import reflex as rx
from reflex.istate.manager.redis import StateManagerRedis

CHECK_SECONDS = 1

logger = logging.getLogger(__name__)


def apply(app: rx.App) -> asyncio.Task | None:
    """Restart the listeners of this worker when they end, from now on."""
    states, namespace = app.state_manager, app.event_namespace
    if not (namespace and isinstance(states, StateManagerRedis)):
        return None
    tokens = namespace._token_manager
    start_lost_and_found = functools.partial(tokens.ensure_lost_and_found_task, namespace.emit_update)
    listeners = [
        (states, "_lock_task", states._ensure_lock_task),
        (tokens, "_socket_record_task", tokens._ensure_socket_record_task),
        (tokens, "_lost_and_found_task", start_lost_and_found),
    ]
    return asyncio.create_task(keep_listening(tokens, listeners))


async def keep_listening(tokens, listeners: list[tuple[object, str, Callable[[], object]]]) -> None:
    """Restart listeners that have ended, and register this worker's tabs again.

    Args:
        tokens: Reflex's token manager, which knows the tabs of this worker.
        listeners: For each one the object and the attribute with its task, and the function that starts it.
    """
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        try:
            ended = [start for owner, name, start in listeners if has_ended(getattr(owner, name))]
            for start in ended:
                start()
            if ended:
                logger.warning("restarted %d listeners", len(ended))
                for token, record in list(tokens.token_to_socket.items()):
                    if record.instance_id == tokens.instance_id:
                        await tokens._store_socket_record(token, record, nx=True)
        except Exception as error:  # after any error the next check is needed
            logger.warning("%s: %s", type(error).__name__, error)


def has_ended(task: asyncio.Task | None) -> bool:
    """Return whether a listener was started and has ended."""
    return task is not None and task.done()
