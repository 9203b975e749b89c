"""Grants a lock to an event that has given up, twice, as each of its requests arrives; prints nothing if none stays."""

import asyncio
import os

from production.redis_locks import release
from redis.asyncio import Redis


async def main():
    redis = Redis.from_url(os.environ["REFLEX_REDIS_URL"])
    releasing = asyncio.create_task(release(redis, b"a_lock", b"gone", 3))
    for pause in (0.2, 0.8):
        await asyncio.sleep(pause)
        assert await redis.set("a_lock", "gone", px=10_000, nx=True), "nobody gave the lock back"
    await releasing
    assert await redis.get("a_lock") is None, "nobody has the lock, and nobody gets it"


asyncio.run(main())
