"""Ports of the loopback."""

import contextlib
import itertools
import os
import socket
from collections.abc import Iterator


def ports() -> Iterator[int]:
    """Go round the ports of this test process.

    They are below those that Linux gives to connections, from 32768 on: one of those could be taken before it is used.
    """
    first = 12_000 + 2_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    begin = os.getpid() % 2_000
    return itertools.cycle([first + (begin + number) % 2_000 for number in range(2_000)])


PORTS = ports()


def free_port() -> int:
    """Find a port that nobody has on the loopback, and that was not given before in a while."""
    for port in PORTS:
        with socket.socket() as free, contextlib.suppress(OSError):
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))
            return port
    raise AssertionError


def listens(port: int) -> bool:
    """Return whether something takes connections on a port of the loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
