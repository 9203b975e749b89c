"""Faults of the network between an app and its Redis, drawn at random, while visitors click all the time."""

import asyncio
import json
import logging
import os
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from harness.client import INCREMENT, Tab
from harness.network import Network
from harness.redis_server import redis_server
from harness.servers import SERVERS
from harness.serving import Served

pytestmark = pytest.mark.slow

FIRST_SEED = int(os.environ.get("FIRST_SEED", "0"))
SECONDS = 25
"""For how long faults begin."""
VISITORS = 4
ANSWERED = 8
"""Seconds within which a click is answered, by an error at least, on a busy machine too. A forgotten lock lasts 10."""
COMMANDS = ("'MGET'", "'PTTL'", "\r\nEVAL\r\n", "\r\nSET\r\n", "\r\nPEXPIRE\r\n")
"""What marks a command that may lose its answer: the two scripts of an event, any script, and two other commands."""


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
        async with asyncio.timeout(ANSWERED):
            while not self.answers(await self.tab.receive()):
                pass

    def answers(self, message: str) -> bool:
        """Return whether a message is an answer. A number may be forgotten only if the page showed an error."""
        if "An error occurred" in message:
            self.told = True
            return True
        if not (found := re.search(r'"count_rx_state_":(\d+)', message)):
            return False
        number = int(found[1])
        assert self.seen - self.told < number <= self.sent, f"{number} after {self.seen}, of {self.sent} clicks"
        self.seen, self.told = number, False
        return True


async def break_and_repair(network: Network, chance: random.Random) -> None:
    """Let faults happen for `SECONDS`, with time to recover in between or without."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        await asyncio.sleep(chance.choice([0, 0.5, 4]))
        kind = chance.choice(["long silence", "short silence", "end", *COMMANDS])
        logging.getLogger(__name__).warning("%s: %s", network.port, kind)  # pytest shows it when the test fails
        if "silence" in kind:
            network.lose()
            await asyncio.sleep(chance.uniform(2, 12) if kind == "long silence" else chance.uniform(0.01, 2))
            network.restore()
        elif kind == "end":
            network.cut()
        else:
            network.lose_answer_to(kind.encode())
            await asyncio.sleep(0.5)
            network.lose_answer_to(None)
    await asyncio.sleep(ANSWERED)


def test_no_visitor_stands_still_and_none_loses_a_click_unless_told(project, tmp_path):
    """All four servers at the same time, each with a separate network and seed: they wait most of the time."""
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(len(SERVERS)))
        runs, apps = {}, {}
        for seed, server in enumerate(SERVERS, FIRST_SEED):
            network, url = Network.to(stack.enter_context(redis_server(tmp_path)))
            stack.enter_context(network)
            made = project({"server": server, "state_store": "redis"}, built=True, name=server)
            app = apps[server] = stack.enter_context(Served(made, REFLEX_REDIS_URL=url))
            work = everybody(app.ready().port, network, random.Random(seed))  # noqa: S311
            runs[server, seed] = pool.submit(asyncio.run, work)
        for which, run in runs.items():
            try:
                assert min(run.result()) > SECONDS
            except BaseException as error:
                error.add_note(f"server and seed: {which}")
                raise
    for server, app in apps.items():
        assert "Task exception was never retrieved" not in app.log, server


async def everybody(port: int, network: Network, chance: random.Random) -> list[int]:
    """Let `VISITORS` click while faults happen, and tell how often each clicked."""

    async def visit(visitor: Visitor) -> None:
        while not faults.done():
            await visitor.click()
            await asyncio.sleep(random.random() / 5)  # noqa: S311

    visitors = [Visitor(await Tab.open(port)) for _ in range(VISITORS)]
    async with asyncio.TaskGroup() as group:
        faults = group.create_task(break_and_repair(network, chance))
        for visitor in visitors:
            group.create_task(visit(visitor))
    return [visitor.sent for visitor in visitors]
