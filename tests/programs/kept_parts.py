"""Has two workers change the state of a tab in turn, in each way that could leave one with an old copy of it.

Prints nothing if both always have what is in Redis, and a worker uses again what it wrote.
"""

import asyncio
import contextlib
from unittest.mock import Mock

import reflex as rx
from production.fixes import event_round_trips
from reflex.state import BaseState
from reflex.utils.exceptions import LockExpiredError, StateSerializationError
from workers import client, manager, tab


class Number(rx.State):
    number: int = 0


class Basket(rx.State):
    things: list[str] = rx.field(default_factory=list)


class Wishes(rx.State):
    things: list[str] = rx.field(default_factory=list)


TOKEN = tab("kept")


@contextlib.asynccontextmanager
async def event(states, token=TOKEN):
    async with states.modify_state(token) as root:
        yield [root.substates[part.get_name()] for part in (Number, Basket, Wishes)]
        root._clean()


async def seen(states):
    async with event(states) as (number, basket, wishes):
        return number.number, list(basket.things), list(wishes.things)


async def main():
    one, other = manager()[0], manager()[0]
    redis = client()

    read = BaseState._deserialize
    counts = []
    for states in (one, one, other, other, one, one, other):
        BaseState._deserialize = reading = Mock(wraps=read)
        async with event(states) as (number, *_):
            number.number += 1
        counts.append(reading.call_count)
    BaseState._deserialize = read
    assert await seen(one) == await seen(other) == (7, [], [])
    assert counts[1] < counts[2], "a worker reads what is in Redis as it wrote it"
    assert counts[2] == counts[4], "a worker does not read what another one has written"

    # An event that fails, and one that goes on with its state after its end.
    with contextlib.suppress(ZeroDivisionError):
        async with event(one) as (number, *_):
            number.number = 50
            number.number /= 0
    assert await seen(one) == (7, [], [])
    async with event(one) as (late, *_):
        late.number = 8
    late.number = 80
    assert await seen(one) == await seen(other) == (8, [], [])

    # A list of two parts: each one has a separate one in Redis.
    async with event(one) as (_, basket, wishes):
        basket.things = wishes.things = ["tea"]
    async with event(one) as (_, basket, _):
        basket.things.append("cake")
    assert await seen(one) == await seen(other) == (8, ["tea", "cake"], ["tea"])

    # An event whose state cannot be written.
    with contextlib.suppress(StateSerializationError):
        async with event(one) as (_, basket, _):
            basket.things = [lambda: None]
    await asyncio.sleep(0.5)
    assert await redis.get(one._lock_key(TOKEN)) is None
    assert await seen(one) == (8, ["tea", "cake"], ["tea"])

    # An event that lasts longer than its lock, while another worker changes the state.
    expired = False
    try:
        async with event(one) as (number, *_):
            await redis.delete(one._lock_key(TOKEN))
            async with event(other) as newer:
                newer[0].number = 9
            number.number = 90
    except LockExpiredError:
        expired = True
    assert expired
    assert await seen(one) == await seen(other) == (9, ["tea", "cake"], ["tea"])
    assert await redis.get(one._lock_key(TOKEN)) is None

    # More tabs than a worker keeps the parts of.
    kept = one.modify_state.__self__.kept
    event_round_trips.KEPT = len(kept) + 3
    for value in range(20):
        async with event(one, tab(f"kept {value}")) as (number, *_):
            number.number = value
    assert len(kept) == event_round_trips.KEPT
    assert await seen(one) == await seen(other) == (9, ["tea", "cake"], ["tea"])


asyncio.run(main())
