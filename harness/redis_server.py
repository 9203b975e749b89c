"""A real Redis on the loopback."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from harness.commands import run
from harness.processes import until
from harness.tcp_ports import free_port


@contextlib.contextmanager
def redis_server(folder: Path, port: int = 0, *options: str, password: str = "") -> Iterator[str]:
    """Run a Redis on a port, or on a free one, in a folder, and give its address.

    Args:
        folder: Where it runs.
        port: Its port; 0 for a free one.
        options: More for its command line.
        password: What it asks for.
    """
    port = port or free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        ping = ("redis-cli", "-p", str(port), "ping")
        login = {"REDISCLI_AUTH": password} if password else {}
        until(lambda: run(*ping, cwd=folder, **login).stdout.strip() == "PONG", 30)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(30)
