"""Reflex bug: a full Redis removes the states of open tabs, by its `maxmemory-policy`, and nothing reports it.

Seen in Reflex 0.10.
"""

import asyncio
import logging

import reflex as rx
from redis.asyncio import Redis
from reflex.istate.manager.redis import StateManagerRedis

CHECK_SECONDS = 10

logger = logging.getLogger(__name__)


def apply(app: rx.App) -> asyncio.Task | None:
    """Log when Redis has removed keys, from now on."""
    states = app.state_manager
    return asyncio.create_task(watch(states.redis)) if isinstance(states, StateManagerRedis) else None


async def watch(redis: Redis) -> None:
    """Ask Redis every `CHECK_SECONDS` how many keys it has removed."""
    before: int | None = None
    while True:
        try:
            removed = int((await redis.info("stats"))["evicted_keys"])
        except Exception as error:  # Redis may be away, or forbid the question
            logger.warning("%s: %s", type(error).__name__, error)
        else:
            if before is not None and removed > before:
                logger.error(
                    "Redis is full: it has removed %d keys, the states of open tabs among them. Give it more memory.",
                    removed - before,
                )
            before = removed
        await asyncio.sleep(CHECK_SECONDS)
