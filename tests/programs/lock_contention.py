"""Lets three workers with random failures compete for three locks, and prints the longest wait.

Its argument is the seed.
"""

import asyncio
import random
import sys
import time

import uvloop
from production.fixes import redis_listeners
from workers import client, manager, tab

SECONDS = 8
LOCKS = 600
"""It goes on until so many were taken, which takes longer on a busy machine."""


async def main():
    chance = random.Random(int(sys.argv[1]))
    end = time.monotonic() + SECONDS
    waits, failures = [], []

    def goes_on():
        return time.monotonic() < end or len(waits) < LOCKS

    async def event(states, name, asked):
        async with states.modify_state(tab(name)):
            waits.append(time.monotonic() - asked)
            await asyncio.sleep(chance.choice([0, 0, 0.002, 0.01]))

    async def visitor(states):
        while goes_on():
            task = asyncio.create_task(event(states, chance.choice("abc"), time.monotonic()))
            if chance.random() < 0.15:  # its page is left
                await asyncio.sleep(chance.random() / 100)
                task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            except Exception as error:
                failures.append(repr(error))
            await asyncio.sleep(chance.choice([0, 0.001, 0.02, 0.1]))

    async def break_listeners():
        redis = client()
        while goes_on():
            await asyncio.sleep(chance.random())
            await redis.client_kill_filter(_type="pubsub")
            for states in workers:  # as redis_listeners.py does
                if redis_listeners.has_ended(states._lock_task):
                    states._ensure_lock_task()

    workers = [manager()[0] for _ in range(3)]
    work = asyncio.gather(break_listeners(), *(visitor(states) for states in workers for _ in range(4)))
    try:
        await asyncio.wait_for(work, 3 * SECONDS)
    except TimeoutError:
        left = {key: await client().get(key) for key in await client().keys("*lock*")}
        print(f"locks: {left}, waiters: {[states._lock_waiters for states in workers]}")
        raise
    for states in workers:  # until it ends: in Python 3.11, redis-py may lose a cancellation while it connects again
        while not states._lock_task.done():
            states._lock_task.cancel()
            await asyncio.wait([states._lock_task], timeout=1)
    print(f"{len(waits)} locks, {max(waits):.3f} s at most, failures: {failures}")


uvloop.run(main())
