"""Lets the lock of an event expire and another event get it; prints nothing if that one keeps it."""

import asyncio

from workers import client, manager, tab


async def main():
    states, _ = manager()
    redis, token = client(), tab("expired")
    lock = states._lock_key(token)
    for way in (states.modify_state, states._lock):  # an event that does not wait, and one that does
        async with way(token):
            await redis.set(lock, b"the next event", px=10_000)
        assert await redis.get(lock) == b"the next event", way
        await redis.delete(lock)


asyncio.run(main())
