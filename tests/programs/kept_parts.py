"""Has two workers change the state of a tab in turn, in each way that could leave one with an old copy of it.

Prints nothing if both always have what is in Redis.
"""

import asyncio
import contextlib

import reflex as rx
from reflex.utils.exceptions import LockExpiredError
from workers import client, manager, tab


class Basket(rx.State):
    number: int = 0
    things: list[str] = rx.field(default_factory=list)


class Wishes(rx.State):
    things: list[str] = rx.field(default_factory=list)


async def main():
    one, other = manager()[0], manager()[0]
    redis, token = client(), tab("kept")

    def parts(root):
        return root.substates[Basket.get_name()], root.substates[Wishes.get_name()]

    async def seen(states):
        async with states.modify_state(token) as root:
            basket, wishes = parts(root)
            return basket.number, list(basket.things), list(wishes.things)

    for states in (one, other, other, one, one, other):
        async with states.modify_state(token) as root:
            parts(root)[0].number += 1
    assert await seen(one) == await seen(other) == (6, [], [])

    # An event that fails, and one that goes on with its state after its end.
    with contextlib.suppress(ZeroDivisionError):
        async with one.modify_state(token) as root:
            parts(root)[0].number = 50
            parts(root)[0].number /= 0
    assert await seen(one) == (6, [], [])
    async with one.modify_state(token) as root:
        late = parts(root)[0]
        late.number = 7
    late.number = 70
    assert await seen(one) == await seen(other) == (7, [], [])

    # A list of two parts: each one has its own in Redis.
    async with one.modify_state(token) as root:
        basket, wishes = parts(root)
        basket.things = wishes.things = ["tea"]
    async with one.modify_state(token) as root:
        parts(root)[0].things.append("cake")
    assert await seen(one) == await seen(other) == (7, ["tea", "cake"], ["tea"])

    # An event that lasts longer than its lock, while another worker changes the state.
    expired = False
    try:
        async with one.modify_state(token) as root:
            await redis.delete(one._lock_key(token))
            async with other.modify_state(token) as newer:
                parts(newer)[0].number = 8
            parts(root)[0].number = 80
    except LockExpiredError:
        expired = True
    assert expired
    assert await seen(one) == await seen(other) == (8, ["tea", "cake"], ["tea"])
    assert await redis.get(one._lock_key(token)) is None


asyncio.run(main())
