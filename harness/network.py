"""A network that loses what is sent, between a client and a server of this machine."""

import contextlib
import random
import re
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self


class Relay(ABC):
    """An address of this machine that serves each connection in a separate thread."""

    def __init__(self) -> None:
        """Listen on a free port."""
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]

    def __enter__(self) -> Self:
        """Start to take connections."""
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take no more, and end the thread that waits: once closed, its number may be that of another listener."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self) -> None:
        """Take connections until it is closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    @abstractmethod
    def serve(self, client: socket.socket) -> None:
        """Serve one connection."""


class Balancer(Relay):
    """An address that passes each connection on to any of several ports, as a front end without affinity."""

    def __init__(self, ports: list[int]) -> None:
        """Listen for connections that are meant for one of some ports, which may be changed later."""
        super().__init__()
        self.ports = ports

    def serve(self, client: socket.socket) -> None:
        """Pass a connection on until either side ends it."""
        try:
            server = socket.create_connection(("127.0.0.1", random.choice(self.ports)), timeout=10)  # noqa: S311
        except (OSError, IndexError):
            client.close()
            return
        server.settimeout(None)
        threading.Thread(target=self.copy, args=(server, client), daemon=True).start()
        self.copy(client, server)

    @staticmethod
    def copy(source: socket.socket, target: socket.socket) -> None:
        """Pass on what comes from one side; when it ends, end both."""
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Network(Relay):
    """An address that passes connections on to a port, until it loses what is sent over them.

    Connections stay open meanwhile, as on a real network: nobody is told. What was lost arrives after `restore`, as TCP
    sends it again.
    """

    def __init__(self, port: int) -> None:
        """Listen for connections that are meant for a port."""
        super().__init__()
        self.target = port
        self.url = f"http://127.0.0.1:{self.port}"  # a page from localhost does not notice that it is offline
        self.working = threading.Event()
        self.working.set()
        self.pipes: list[Pipe] = []

    @classmethod
    def to(cls, url: str) -> tuple[Self, str]:
        """Stand between an app and a Redis; also give the address of the Redis that leads through it."""
        network = cls(int(re.search(r":(\d+)/", url)[1]))
        return network, url.replace(f":{network.target}/", f":{network.port}/")

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        super().__exit__()
        self.restore()
        self.cut()

    def serve(self, client: socket.socket) -> None:
        """Pass on what the two ends of a connection say, until both are done."""
        self.working.wait()
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self.target)) as server:
            pipe = Pipe(client, server, self.working)
            self.pipes.append(pipe)
            back = threading.Thread(target=pipe.copy, args=(server, client), daemon=True)
            back.start()
            pipe.copy(client, server)
            back.join()

    def lose(self) -> None:
        """Lose everything from now on, new connections too."""
        self.working = threading.Event()
        for pipe in self.pipes:
            pipe.working = self.working

    def lose_open_connections(self) -> None:
        """Lose what is sent over the connections that are open now, and their ends; new ones work."""
        for pipe in self.pipes:
            pipe.working = threading.Event()

    def lose_answer_to(self, command: bytes | None) -> None:
        """Deliver the next command that has these bytes, on each connection, but end that instead of answering.

        Args:
            command: A part of it; None to lose no answers any more.
        """
        for pipe in self.pipes:
            pipe.unanswered = command

    def cut(self) -> None:
        """End all connections, as a restart of what stands in between does."""
        for pipe in self.pipes:
            for end in pipe.ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """Deliver what was lost, and lose nothing more."""
        self.working.set()
        for pipe in self.pipes:
            pipe.working.set()


class Pipe:
    """One connection through the network."""

    def __init__(self, client: socket.socket, server: socket.socket, working: threading.Event) -> None:
        """Take its two ends, and what says whether the network works."""
        self.ends = (client, server)
        self.working = working
        self.unanswered: bytes | None = None
        self.answers = True

    def copy(self, source: socket.socket, target: socket.socket) -> None:
        """Pass on what comes from one end, and its end, when the network works."""
        with contextlib.suppress(OSError):
            while (data := source.recv(65536)) and (self.answers or source is self.ends[0]):
                if source is self.ends[0] and self.unanswered and self.unanswered in data:
                    self.answers = False
                self.pass_on(target.sendall, data)
            self.pass_on(target.shutdown, socket.SHUT_WR)

    def pass_on(self, action: Callable[..., object], *arguments: object) -> None:
        """Do it when the network works."""
        while not (working := self.working).wait(0.5):
            if working is not self.working:
                continue
        action(*arguments)
