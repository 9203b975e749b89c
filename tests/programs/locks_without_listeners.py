"""Gives a lock back while no listener hears of it, in three ways, and prints how long two events wait for it."""

import asyncio
import time

import uvloop
from workers import client, manager, tab


async def event(states):
    async with states._lock(tab("a")):
        pass


async def took(*events):
    started = time.monotonic()
    await asyncio.wait_for(asyncio.gather(*events), 20)
    return time.monotonic() - started


async def main():
    redis = client()
    states, locks = manager()
    key = states._lock_key(tab("a"))

    # A worker begins to listen while two events wait, and the lock is given back meanwhile.
    subscribe, begin = states._ensure_lock_task_subscribed, asyncio.Event()

    async def subscribe_late():
        await begin.wait()
        await subscribe()

    states._ensure_lock_task_subscribed = subscribe_late
    await redis.set(key, "another event's", px=60_000)
    events = [asyncio.create_task(event(states)) for _ in range(2)]
    await asyncio.sleep(0.2)
    await redis.delete(key)
    begin.set()
    print(f"began: {await took(*events):.3f}")

    # Another worker gives it back while this one's listener has lost its connection.
    await redis.set(key, "another worker's", px=60_000)
    events = [asyncio.create_task(event(states)) for _ in range(2)]
    while not all(known.is_set() for known in locks.heard.values()) or not locks.heard:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    await redis.pipeline().client_kill_filter(_type="pubsub").delete(key).execute()
    print(f"lost: {await took(*events):.3f}")

    # Nobody listens any more, and the lock is given back while two events begin to wait.
    states._ensure_lock_task_subscribed = begin.wait
    locks.pubsub = None
    await redis.set(key, "another worker's", px=60_000)
    events = [asyncio.create_task(event(states)) for _ in range(2)]
    await asyncio.sleep(0.2)
    await redis.delete(key)
    print(f"none: {await took(*events):.3f}")


uvloop.run(main())
