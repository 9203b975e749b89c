"""Faults of the network between an app and its Redis, drawn at random, while visitors click all the time."""

import asyncio
import json
import os
import random
import re
import time

import pytest
from client import INCREMENT, Tab, wait
from house import Served
from network import Network
from redis_server import redis_server
from servers import SERVERS

pytestmark = pytest.mark.slow

FIRST_SEED = int(os.environ.get("FIRST_SEED", "0"))
SECONDS = 25
"""For how long faults begin."""
VISITORS = 6
BACK = 8
"""Seconds after a fault within which a click is answered, on a busy machine too; less than a forgotten lock lasts."""
COMMANDS = ("SET", "MGET", "EVAL", "GETDEL", "PEXPIRE")
"""What an event sends to Redis."""


class Visitor:
    """A tab that clicks, one click after the other."""

    def __init__(self, tab: Tab) -> None:
        """Take an open tab with a new counter."""
        self.tab = tab
        self.sent = self.seen = 0
        self.told = False
        """Whether the page showed an error since the last number."""

    async def click(self) -> None:
        """Press the button, and wait until the page shows a number or an error."""
        await self.tab.socket.send("42/_event," + json.dumps(["event", INCREMENT]))
        self.sent += 1
        while not self.answers(await self.tab.receive()):
            pass

    def answers(self, message: str) -> bool:
        """Tell whether a message is an answer. A number may be forgotten only if the page showed an error."""
        if "An error occurred" in message:
            self.told = True
            return True
        if not (found := re.search(r'"count_rx_state_":(\d+)', message)):
            return False
        number = int(found[1])
        assert self.seen - self.told < number <= self.sent, f"{number} after {self.seen}, of {self.sent} clicks"
        self.seen, self.told = number, False
        return True


class Faults:
    """What happens to a network, by a seed; in between there may be time to recover."""

    def __init__(self, network: Network, seed: int) -> None:
        """Take a network that works."""
        self.network = network
        self.chance = random.Random(seed)  # noqa: S311
        self.mended: float | None = time.monotonic()
        """Since when it works, by `time.monotonic`; None while it does not."""
        self.over = False
        self.seen: list[str] = []

    async def happen(self) -> None:
        """Let them happen for `SECONDS`."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            await asyncio.sleep(2 * self.chance.random())
            kind = self.chance.choice(["long silence", "short silence", "end", *COMMANDS])
            self.seen.append(kind)
            self.mended = None
            await self.one(kind)
            self.mended = time.monotonic()
            if self.chance.random() < 1 / 2:
                await asyncio.sleep(BACK)
        await asyncio.sleep(BACK)
        self.over = True

    async def one(self, kind: str) -> None:
        """Break it in some way, and mend it."""
        if "silence" in kind:
            self.network.lose()
            await asyncio.sleep(self.chance.uniform(2, 12) if kind == "long silence" else self.chance.uniform(0.01, 2))
            self.network.mend()
        elif kind == "end":
            self.network.cut()
        else:
            self.network.lose_answer_to(b"\r\n%s\r\n" % kind.encode())
            await asyncio.sleep(0.5)
            self.network.lose_answer_to(None)


async def visit(visitor: Visitor, faults: Faults) -> None:
    """Click until the faults are over. Each click is answered within `BACK` seconds in which nothing was broken."""
    while not faults.over:
        asked = time.monotonic()
        click = asyncio.create_task(visitor.click())
        while not click.done():
            await asyncio.wait([click], timeout=0.2)
            waited = time.monotonic() - max(asked, faults.mended or time.monotonic())
            assert click.done() or waited < BACK, f"no answer {waited:.1f} s after {faults.seen}"
        await click
        await asyncio.sleep(faults.chance.random() / 5)


@pytest.mark.parametrize(("seed", "server"), list(enumerate(SERVERS, FIRST_SEED)))
def test_no_visitor_stands_still_and_none_loses_a_click_unless_told(seed, server, project, tmp_path):
    async def everybody(port, network):
        visitors = [Visitor(await Tab.open(port)) for _ in range(VISITORS)]
        faults = Faults(network, seed)
        async with asyncio.TaskGroup() as group:
            group.create_task(faults.happen())
            for visitor in visitors:
                group.create_task(visit(visitor, faults))
        return [visitor.sent for visitor in visitors]

    made = project({"server": server, "state_store": "redis"}, built=True)
    with redis_server(tmp_path) as redis_url:
        network, url = Network.to(redis_url)
        with network, Served(made, REFLEX_REDIS_URL=url) as app:
            clicks = wait(everybody(app.ready().port, network))
    assert min(clicks) > SECONDS
    assert "Task exception was never retrieved" not in app.log
