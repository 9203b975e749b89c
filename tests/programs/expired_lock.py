"""Lets the lock of an event expire and another event get it; prints nothing if that one keeps it."""

import asyncio

from workers import client, manager, tab


async def main():
    states, _ = manager()
    redis, token = client(), tab("expired")
    lock = states._lock_key(token)

    async def next_event(way, has_it, end):
        async with way(token):
            has_it.set()
            await end.wait()

    for way in (states.modify_state, states._lock):  # of an event that does not wait, and of one that does
        for next_way in (states.modify_state, states._lock):
            has_it, end = asyncio.Event(), asyncio.Event()
            async with way(token):
                await redis.delete(lock)
                follows = asyncio.create_task(next_event(next_way, has_it, end))
                await asyncio.wait_for(has_it.wait(), 5)
                owner = await redis.get(lock)
            assert await redis.get(lock) == owner is not None, (way, next_way)
            end.set()
            await follows
            assert await redis.get(lock) is None, (way, next_way)


asyncio.run(main())
