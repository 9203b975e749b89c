"""A visitor's tab without a browser: the event socket of Reflex, as its own JavaScript speaks it."""

import asyncio
import contextlib
import json
import socket
import struct
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

T = TypeVar("T")

ROUTER = {"pathname": "/", "query": {}, "asPath": "/"}
HYDRATE = {"name": "reflex___state____state.hydrate_and_load", "payload": {}, "router_data": ROUTER}
INCREMENT = {
    "name": "reflex___state____state.my_reflex_app___state____counter.increment",
    "payload": {},
    "router_data": ROUTER,
}


class Tab:
    """One open tab; Engine.IO 4 and Socket.IO 5 (https://socket.io/docs/v4/socket-io-protocol/)."""

    def __init__(self, socket: ClientConnection, token: str) -> None:
        """Take an open socket, and the token that was asked for."""
        self.socket = socket
        self.token = token

    @classmethod
    async def open(
        cls, port: int, token: str = "", path: str = "/", *, loaded: bool = True, headers: dict[str, str] | None = None
    ) -> Self:
        """Connect as `load` does, and wait until the page can be used.

        Args:
            port: Where the app listens.
            token: The tab's, if it was there before.
            path: The page's.
            loaded: Whether the page was just loaded; otherwise it comes back after it has lost its connection.
            headers: What the connection's request has in addition.

        Raises:
            OSError, WebSocketException, TimeoutError: If the server is not ready.
        """
        tab = await cls.load(port, token, path, loaded=loaded, headers=headers)
        while '"is_hydrated_rx_state_":true' not in (message := await tab.receive()):
            if message.startswith('42/_event,["new_token"'):
                tab.token = json.loads(message.partition(",")[2])[1]
        return tab

    @classmethod
    async def load(
        cls, port: int, token: str = "", path: str = "/", *, loaded: bool = True, headers: dict[str, str] | None = None
    ) -> Self:
        """Connect, and ask for the state: of a new tab, or of the one that has the token, and what its page loads.

        Args:
            port: Where the app listens.
            token: The tab's, if it was there before.
            path: The page's.
            loaded: Whether the page was just loaded; otherwise it comes back after it has lost its connection.
            headers: What the connection's request has in addition.

        Raises:
            OSError, WebSocketException, TimeoutError: If the server is not ready.
        """
        token = token or str(uuid.uuid4())
        address = f"ws://localhost:{port}/_event/?token={token}&EIO=4&transport=websocket"
        # It offers compression, as a browser does; whether it is used is the server's choice.
        options = {"max_size": None, "compression": "deflate", "ping_interval": None, "open_timeout": 60}
        opened = await connect(address, additional_headers=headers, **options)
        event = HYDRATE | {"router_data": {"pathname": path, "query": {}, "asPath": path}}
        if loaded:
            event["payload"] = {"hashes": []}
        await opened.send("40/_event," + json.dumps({"event": event}))
        return cls(opened, token)

    async def receive(self) -> str:
        """Wait for a message, answering the server's pings."""
        while True:
            async with asyncio.timeout(60):  # wait_for may lose a cancellation in Python 3.11
                message = await self.socket.recv(decode=True)
            if message != "2":
                return message
            await self.socket.send("3")

    async def click(self) -> str:
        """Press the button, wait until the new number is there, and give the message that has it."""
        await self.socket.send("42/_event," + json.dumps(["event", INCREMENT]))
        while '"count_rx_state_"' not in (message := await self.receive()):
            pass
        return message

    def received(self) -> int:
        """Return how many bytes have come over the connection, as the kernel counts (linux/tcp.h)."""
        info = self.socket.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        return struct.unpack_from("Q", info, 128)[0]

    async def close(self) -> None:
        """Close it."""
        await self.socket.close()


def wait(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, in a separate thread: whoever calls may have an event loop already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def ask(port: int, path: str) -> None:
    """Send a request, whatever becomes of it."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://localhost:{port}{path}", timeout=5) as answer:
        answer.read()


def first_page(port: int, since: float, seconds: float = 60) -> tuple[float, int]:
    """Ask for the first page until it comes.

    Args:
        port: Where the app listens.
        since: When the container's first process started, by the clock.
        seconds: When to give up.

    Returns:
        Seconds until the page was there, and how many answers were 5xx.
    """
    errors = 0
    while time.time() - since < seconds:
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/", timeout=seconds) as answer:
                answer.read()
                return time.time() - since, errors
        except urllib.error.HTTPError as error:
            errors += error.code >= 500  # noqa: PLR2004
        except OSError:
            pass
        time.sleep(0.001)  # a page takes some 50 ms, and a change of 3 % is to be seen
    msg = f"no page within {seconds} s"
    raise TimeoutError(msg)


def first_event(port: int, since: float, path: str = "/", seconds: float = 60) -> tuple[float, int]:
    """Open tabs of a page until one is answered.

    Returns:
        Seconds until the first event was answered, and how many connections were refused with 5xx.
    """

    async def attempt() -> None:
        tab = await Tab.open(port, path=path)
        await tab.click()
        await tab.close()

    errors = 0
    while time.time() - since < seconds:
        try:
            wait(attempt())
        except WebSocketException as error:
            errors += "HTTP 5" in str(error)
        except OSError:
            pass
        else:
            return time.time() - since, errors
        time.sleep(0.02)
    msg = f"no event within {seconds} s"
    raise TimeoutError(msg)


async def saturate(port: int, tabs: int, seconds: float) -> tuple[list[float], int]:
    """Click in so many tabs as fast as the answers come.

    Returns:
        How long each event took, in seconds, and how many bytes came for all of them.
    """
    open_tabs = await asyncio.gather(*(Tab.open(port) for _ in range(tabs)))
    before = sum(tab.received() for tab in open_tabs)
    took = await click_in(open_tabs, seconds)
    received = sum(tab.received() for tab in open_tabs) - before
    await asyncio.gather(*(tab.close() for tab in open_tabs))
    return took, received


async def click_in(tabs: list[Tab], seconds: float) -> list[float]:
    """Click in open tabs as fast as the answers come.

    Returns:
        How long each event took, in seconds.
    """
    end = time.monotonic() + seconds
    took: list[float] = []

    async def click(tab: Tab) -> None:
        while (started := time.monotonic()) < end:
            await tab.click()
            took.append(time.monotonic() - started)

    await asyncio.gather(*map(click, tabs))
    return took


async def click_steadily(port: int, tabs: int, rate: float, seconds: float) -> list[float]:
    """Click so many times a second, spread over some tabs, whatever the answers do.

    Returns:
        How long each event took from the moment it was due, in seconds.
    """
    open_tabs = await asyncio.gather(*(Tab.open(port) for _ in range(tabs)))
    start = time.monotonic() + 0.2
    took: list[float] = []

    async def click(number: int, tab: Tab) -> None:
        due = start + number / rate
        while due < start + seconds:
            await asyncio.sleep(max(0, due - time.monotonic()))
            await tab.click()
            took.append(time.monotonic() - due)
            due += tabs / rate

    await asyncio.gather(*(click(number, tab) for number, tab in enumerate(open_tabs)))
    await asyncio.gather(*(tab.close() for tab in open_tabs))
    return took
