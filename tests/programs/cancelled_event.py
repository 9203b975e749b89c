"""Cancels an event just as it gets the lock of a tab, and prints how long the lock stays."""

import asyncio
import os
import types

import reflex as rx
from production.fixes import event_round_trips, lock_releases, lock_waiters
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from reflex.istate.manager.redis import StateManagerRedis
from reflex.istate.manager.token import BaseStateToken


def instance():
    states = StateManagerRedis(redis=Redis.from_url(os.environ["REFLEX_REDIS_URL"]))
    for fix in (event_round_trips, lock_waiters, lock_releases):
        fix.apply(types.SimpleNamespace(state_manager=states))
    return states


async def main():
    holds, waits = instance(), instance()
    token = BaseStateToken(ident="cancelled", cls=rx.State)
    has_it = asyncio.Event()

    async def unsubscribe(*_):
        has_it.set()
        await asyncio.sleep(60)

    async def event():
        async with waits.modify_state(token):
            raise AssertionError("it was cancelled before")

    PubSub.unsubscribe = unsubscribe
    async with holds.modify_state(token):
        waiting = asyncio.create_task(event())
        await asyncio.sleep(0.5)
    await asyncio.wait_for(has_it.wait(), 5)
    lock = holds._lock_key(token)
    assert await holds.redis.get(lock)
    waiting.cancel()
    await asyncio.sleep(2)
    assert await holds.redis.get(lock) is None, "nobody has the lock, and nobody gets it"


asyncio.run(main())
