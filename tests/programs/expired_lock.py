"""Lets the lock of an event expire and another event get it; prints nothing if that one keeps it."""

import asyncio

from workers import client, manager, tab


async def main():
    states, _ = manager()
    redis, token = client(), tab("expired")
    async with states._lock(token):
        await redis.set(states._lock_key(token), b"the next event", px=10_000)
    assert await redis.get(states._lock_key(token)) == b"the next event"
    await redis.delete(states._lock_key(token))


asyncio.run(main())
