"""Reflex bug: a tab's lock in Redis may be left behind, and the tab then stands still for 10 s.

Seen in Reflex 0.10:

- A lock that was requested when Redis stopped answering may be granted late, when no event wants it any more.
- A page may be left or reloaded while an event takes the lock or gives it back.
- Redis may grant a lock on a connection that breaks before the answer: the event then waits for its own lock.
- An event whose lock has expired gives back the lock of the next event.
"""

import asyncio
import contextvars

import reflex as rx
from reflex.istate.manager.redis import StateManagerRedis

from ..redis_locks import COMMAND_FAILS, UNLOCK, give_back_later, give_up

owned: contextvars.ContextVar[dict[bytes, bytes] | None] = contextvars.ContextVar("owned", default=None)
"""The locks that this event has got, each with its owner, also one that has expired."""


def apply(app: rx.App) -> None:
    """Give back the locks that Reflex would leave behind."""
    if isinstance(app.state_manager, StateManagerRedis):
        LockReleases(app.state_manager)


class LockReleases:
    """Gives back locks that were granted after the event gave up, or whose return Redis may not have received."""

    def __init__(self, states: StateManagerRedis) -> None:
        """Replace how `states` requests a lock, waits for it and gives it back."""
        self.redis = states.redis
        self.take, self.wait, self.delete = states._try_get_lock, states._wait_lock, self.redis.getdel
        states._try_get_lock = self.try_get_lock
        states._wait_lock = self.wait_lock
        self.redis.getdel = self.getdel  # Reflex uses it only to give locks back

    async def try_get_lock(self, key: bytes, owner: bytes) -> bool:
        """Request a lock. redis-py may have to ask twice, and then the owner has had the lock since the first time.

        Raises:
            RedisError, OSError: If Redis does not answer.
        """
        return bool(await self.take(key, owner)) or await self.redis.get(key) == owner

    async def wait_lock(self, key: bytes, owner: bytes) -> None:
        """Wait for the lock of a tab, and give it back if it is granted too late.

        Raises:
            RedisError, OSError: If Redis does not answer.
        """
        try:
            await self.wait(key, owner)
        except (*COMMAND_FAILS, asyncio.CancelledError) as error:
            give_up(self.redis, key, owner, error)
            raise
        owned.set({**(owned.get() or {}), key: owner})

    async def getdel(self, key: bytes) -> bytes | None:
        """Give a lock back if its owner still has it, even if the event is cancelled meanwhile, and return its owner.

        Raises:
            RedisError, OSError: If Redis does not answer.
        """
        owner = (owned.get() or {}).get(key)
        if owner is None:
            return await self.delete(key)
        try:
            return await self.redis.eval(UNLOCK, 1, key, owner)
        except (*COMMAND_FAILS, asyncio.CancelledError):
            give_back_later(self.redis, key, owner)
            raise
