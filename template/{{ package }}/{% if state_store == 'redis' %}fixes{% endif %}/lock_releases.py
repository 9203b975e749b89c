"""Reflex bug: a tab's lock in Redis may be left behind, and the tab then stands still for 10 s.

Seen in Reflex 0.10:

- A lock that was requested when Redis stopped answering may be granted late, when no event wants it any more.
- A page may be left or reloaded while an event takes the lock or gives it back.
- Redis may grant a lock on a connection that breaks before the answer: the event then waits for its own lock.
"""

import asyncio
import time

import reflex as rx
from redis.asyncio import Redis
from redis.exceptions import RedisError
from reflex.istate.manager.redis import StateManagerRedis

LATE_SECONDS = 15
"""How long after Redis answers again a lock that was requested before may be granted."""
CANCELLED_SECONDS = 1
"""The same, for an event that was cancelled while it requested the lock: its page is gone."""
COMMAND_FAILS = (RedisError, OSError, RuntimeError)
"""What a command without an answer raises; the last one is uvloop's, on a closed connection."""


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
        self.owners: dict[bytes, bytes] = {}
        """The owner of each lock in this process, also of one that has expired."""
        self.tasks: set[asyncio.Task] = set()
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
            self.later(key, owner, CANCELLED_SECONDS if isinstance(error, asyncio.CancelledError) else LATE_SECONDS)
            raise
        self.owners[key] = owner

    async def getdel(self, key: bytes) -> bytes | None:
        """Give a lock back, even if the event is cancelled meanwhile, and return its owner.

        Raises:
            RedisError, OSError: If Redis does not answer.
        """
        owner = self.owners.pop(key, None)
        try:
            return await self.delete(key)
        except (*COMMAND_FAILS, asyncio.CancelledError):
            if owner:
                self.later(key, owner, 0)
            raise

    def later(self, key: bytes, owner: bytes, late: float) -> None:
        """Give a lock back in the background; `late` as for `release`."""
        task = asyncio.create_task(release(self.redis, key, owner, late))
        self.tasks.add(task)  # a task without a reference may be collected
        task.add_done_callback(self.tasks.discard)


async def release(redis: Redis, key: bytes, owner: bytes, late: float) -> None:
    """Remove a lock whenever its owner, which has given up, has it: redis-py asks again, so it may be granted again.

    Args:
        redis: The server.
        key: The lock's key.
        owner: What the lock's value is if that owner has it.
        late: How many seconds after Redis answers again the lock may still be granted.
    """
    end = None
    pause = 0.01
    while end is None or time.monotonic() < end:
        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.25)
        try:
            if await redis.get(key) == owner:
                await redis.delete(key)
            end = end or time.monotonic() + late
        except COMMAND_FAILS:
            continue
