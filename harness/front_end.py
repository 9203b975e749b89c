"""A stand-in for Cloud Run's front end with request-based billing: a container has CPU only while a request is open.

With no request, the CPU is "disabled or severely limited":
https://cloud.google.com/run/docs/configuring/billing-settings.
Here the container is paused: its processes stand still, and the clock goes on.
"""

import contextlib
import socket
import threading
import time

from harness.engine import Container, docker
from harness.network import Relay


class FrontEnd(Relay):
    """An address that passes connections on to a container, and pauses it while there are none."""

    def __init__(self, container: Container) -> None:
        """Take a container that has started: until its port opens, Cloud Run gives it CPU."""
        super().__init__()
        self.container = container
        self.open = 0
        self.paused = False
        self.lock = threading.Lock()
        self.url = f"http://localhost:{self.port}"

    def __exit__(self, *_: object) -> None:
        """Stop, and let the container go on, so that it can be removed."""
        super().__exit__()
        with self.lock:
            self.resume()

    def serve(self, visitor: socket.socket) -> None:
        """Pass on what one visitor and the container say to each other, until either is done."""
        with self.lock:
            self.open += 1
            self.resume()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.container.port)) as inside:
            back = threading.Thread(target=copy, args=(inside, visitor), daemon=True)
            back.start()
            copy(visitor, inside)
            back.join(60)
        visitor.close()
        with self.lock:
            self.open -= 1
            for _ in range(3):  # a busy Engine may need another try, and the test may have removed the container
                with contextlib.suppress(AssertionError):
                    if not self.open:
                        self.pause()
                    break
                time.sleep(1)

    def pause(self) -> None:
        """Take the CPU away; the caller has the lock."""
        if not self.paused and self.container.state("Running") == "true":
            docker("pause", self.container.id)
            self.paused = True

    def resume(self) -> None:
        """Give the CPU back; the caller has the lock."""
        if self.paused:
            docker("unpause", self.container.id)
            self.paused = False


def copy(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until the source has no more."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
