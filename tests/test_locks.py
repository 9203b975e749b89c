"""The locks of tabs in Redis: whoever waits for one gets it, also where nobody could tell that it was given back."""

import os
import re

import pytest
from house import must_run

pytestmark = pytest.mark.slow

FIRST_SEED = int(os.environ.get("FIRST_SEED", "0"))

SET_UP = """
import asyncio, os, random, time

import reflex as rx
import uvloop
from redis.asyncio import Redis
from reflex.istate.manager.redis import StateManagerRedis
from reflex.istate.manager.token import BaseStateToken

import redis_connections, redis_locks


def client():
    return Redis.from_url(os.environ["REFLEX_REDIS_URL"])


def manager():
    states = StateManagerRedis(redis=client())
    redis_connections.bound(states.redis)
    redis_locks.Releases(states)
    return states, redis_locks.Locks(states)


def tab(name):
    return BaseStateToken(ident=name, cls=rx.State)
"""

NOBODY_LISTENS = """
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
"""


def test_a_lock_that_was_given_back_while_nobody_listened_is_taken(run_here):
    """Otherwise each event takes another for the one that has it, and all wait until the lock would have expired."""
    printed = run_here(NOBODY_LISTENS)
    waited = {
        case: float(seconds) for case, seconds in re.findall(r"^(began|lost|none): ([\d.]+)$", printed, re.MULTILINE)
    }
    assert waited.keys() == {"began", "lost", "none"}, printed
    assert max(waited.values()) < 5, printed


CONTENTION = """
SECONDS = 8


async def main():
    chance = random.Random(SEED)
    end = time.monotonic() + SECONDS
    waits, failures = [], []

    async def event(states, name, asked):
        async with states._lock(tab(name)):
            waits.append(time.monotonic() - asked)
            await asyncio.sleep(chance.choice([0, 0, 0.002, 0.01]))

    async def visitor(states):
        while time.monotonic() < end:
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
        while time.monotonic() < end:
            await asyncio.sleep(chance.random())
            await redis.client_kill_filter(_type="pubsub")
            for states in workers:  # as redis_connections.py does
                if redis_connections.is_done(states._lock_task):
                    states._ensure_lock_task()

    workers = [manager()[0] for _ in range(3)]
    await asyncio.gather(break_listeners(), *(visitor(states) for states in workers for _ in range(4)))
    print(f"{len(waits)} locks, {max(waits):.3f} s at most, failures: {failures}")


uvloop.run(main())
"""


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + 2))
def test_no_event_stands_still_however_many_ask_for_few_locks(run_here, seed):
    """Three workers, whose listeners lose their connections and whose events are cancelled at any moment."""
    printed = run_here(f"SEED = {seed}\n{CONTENTION}")
    found = re.search(r"^(\d+) locks, ([\d.]+) s at most, failures: \[\]$", printed, re.MULTILINE)
    assert found, printed
    assert int(found[1]) > 500, printed
    assert float(found[2]) < 5, printed


@pytest.fixture
def run_here(project, redis_url):
    """Run code in a project with a Redis, and give what it prints."""
    made = project({"state_store": "redis", "max_instances": 2})
    python = made / ".venv/bin/python"
    return lambda code: must_run(python, "-c", SET_UP + code, cwd=made, PYTHONPATH=".", REFLEX_REDIS_URL=redis_url)
