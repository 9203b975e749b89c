"""Four instances and 300 tabs: what happens to an instance, to Redis or to the version costs no tab what it had."""

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import time

import pytest
from websockets.exceptions import WebSocketException

from harness.client import INCREMENT, Tab, wait
from harness.commands import must_run
from harness.network import Balancer
from harness.redis_server import redis_server
from harness.serving import Served
from harness.tcp_ports import free_port

pytestmark = pytest.mark.slow

INSTANCES, TABS = 4, 300
BACK = 5
"""Seconds within which every tab works again, in addition to those that all of them take where nothing fails."""
LIMIT = 32
"""REDIS_CONNECTIONS, of which a worker has two kinds."""


class Visitor:
    """A tab that connects again when its connection breaks, as a page does, and remembers what it was shown."""

    def __init__(self, port):
        """Take the balancer's port."""
        self.port, self.tab, self.token, self.count = port, None, "", 0

    async def connect(self, end):
        while True:
            try:
                async with asyncio.timeout_at(end):
                    self.tab = await Tab.open(self.port, self.token, loaded=not self.token)
            except (OSError, WebSocketException) as error:
                if asyncio.get_running_loop().time() > end:
                    pytest.fail(f"not connected in time: {error}")
                await asyncio.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - not a secret
            else:
                assert self.token in {"", self.tab.token}, "the tab was taken for a copy"
                self.token = self.tab.token
                return

    async def click(self, seconds=60.0):
        """Press the button until the page shows a new number, which must be more than the last one."""
        end = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                async with asyncio.timeout_at(end):
                    await self.tab.socket.send("42/_event," + json.dumps(["event", INCREMENT]))
                    message = ""
                    while "count_rx_state_" not in message and "An error occurred" not in message:
                        message = await self.tab.receive()
                if shown := re.search(r'"count_rx_state_":(\d+)', message):
                    assert int(shown[1]) > self.count, f"{int(shown[1])} after {self.count}"
                    self.count = int(shown[1])
                    return
                await asyncio.sleep(0.3)
            except (OSError, WebSocketException):
                await self.connect(end)

    async def leave(self, seconds=60.0):
        """Give the connection up without a word, as when a computer changes its network, and connect again."""
        self.tab.socket.transport.abort()
        await self.connect(asyncio.get_running_loop().time() + seconds)


class Fleet:
    """The instances, what spreads the tabs over them, and the tabs."""

    def __init__(self, made, url, stack):
        """Start it, on a Redis; the stack ends it."""
        self.made, self.url, self.stack = made, url, stack
        self.instances = [self.start() for _ in range(INSTANCES)]
        for instance in self.instances:
            instance.ready()
        self.balancer = stack.enter_context(Balancer([instance.port for instance in self.instances]))
        self.visitors = [Visitor(self.balancer.port) for _ in range(TABS)]

    def start(self):
        return self.stack.enter_context(Served(self.made, REFLEX_REDIS_URL=self.url))

    def signal(self, instance, sent):
        for pid in reversed(instance.members()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sent)

    async def everybody_leaves(self, seconds=60.0):
        await asyncio.gather(*(visitor.leave(seconds) for visitor in self.visitors))

    async def everybody_clicks(self, seconds=60.0):
        await asyncio.gather(*(visitor.click(seconds) for visitor in self.visitors))
        await asyncio.sleep(1)  # an event is answered before its state is written


def test_all_tabs_of_an_instance_come_back_at_once(project, tmp_path):
    """A page has no jitter: it connects again at once, and so do all others."""
    made = project({"state_store": "redis"}, built=True)

    async def wave(port):
        visitors = [Visitor(port) for _ in range(600)]
        for visitor in visitors:
            await visitor.connect(asyncio.get_running_loop().time() + 10)
        for visitor in visitors:
            visitor.tab.socket.transport.abort()
        end = asyncio.get_running_loop().time() + 40
        await asyncio.gather(*(visitor.connect(end) for visitor in visitors))

    # What a worker also has are its listeners, and this test asks too.
    clients = ("--maxclients", str(2 * LIMIT + 10))
    with redis_server(tmp_path, 0, *clients) as url, Served(made, REFLEX_REDIS_URL=url) as app:
        wait(wave(app.ready().port))
        assert "no connection to Redis was free" not in app.log
        assert "rejected_connections:0\n" in must_run("redis-cli", "-u", url, "info", "stats", cwd=tmp_path)


def test_a_killed_a_frozen_a_restarted_and_a_new_one(project, tmp_path):
    made = project({"state_store": "redis", "max_instances": INSTANCES}, built=True)
    server = (tmp_path, free_port(), "--appendonly", "yes", "--appendfsync", "always")

    async def faults(fleet, redis):
        started = asyncio.get_running_loop().time()
        await asyncio.gather(*(visitor.connect(started + 60) for visitor in fleet.visitors))
        await fleet.everybody_clicks()
        started = asyncio.get_running_loop().time()
        await fleet.everybody_leaves()
        await fleet.everybody_clicks()
        back = BACK + asyncio.get_running_loop().time() - started

        killed, frozen = fleet.instances[:2]
        fleet.signal(killed, signal.SIGSTOP)
        fleet.signal(killed, signal.SIGKILL)
        fleet.balancer.ports.remove(killed.port)
        await fleet.everybody_clicks(back)

        # Nobody is told of a frozen instance: its tabs notice, connect again, and it wakes up with what it had of them.
        fleet.signal(frozen, signal.SIGSTOP)
        fleet.balancer.ports.remove(frozen.port)
        await fleet.everybody_leaves(back)
        await fleet.everybody_clicks(back)
        fleet.signal(frozen, signal.SIGCONT)
        await asyncio.sleep(1)
        await fleet.everybody_clicks(back)

        redis.close()
        await asyncio.sleep(2)
        with redis_server(*server):
            await fleet.everybody_clicks(back)
            # A deployment: new ones take what comes, the old ones are stopped, one after the other.
            new = [await asyncio.to_thread(lambda: fleet.start().ready()) for _ in range(2)]
            fleet.balancer.ports[:] = [instance.port for instance in new]
            for instance in fleet.instances[1:]:
                instance.process.terminate()
                assert await asyncio.to_thread(instance.ended, 10) == 0
                await fleet.everybody_clicks(back)
            assert {visitor.count for visitor in fleet.visitors} == {fleet.visitors[0].count}

    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(contextlib.ExitStack())
        url = redis.enter_context(redis_server(*server))
        started = time.monotonic()
        wait(faults(Fleet(made, url, stack), redis))
        assert time.monotonic() - started < 240
