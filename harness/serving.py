"""Projects that are served by their start.sh."""

import contextlib
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from harness.commands import clean_environment
from harness.processes import end_session, session, until, waits
from harness.tcp_ports import free_port


class Served:
    """A project that its start.sh serves, on a free port of the loopback."""

    def __init__(self, project: Path, *, start: str = "start.sh", **environment: str) -> None:
        """Start it; `environment` is added to what start.sh sees, which may be in a folder."""
        self.project = project
        self.port, self.backend_port = free_port(), free_port()
        self.url = f"http://localhost:{self.port}"
        self.log_file = project / f"served-{self.port}.log"
        ports = {"PORT": str(self.port), "BACKEND_PORT": str(self.backend_port)}
        path = f"{project / '.venv/bin'}:{os.environ['PATH']}"
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen(
                [f"./{start}"],
                cwd=project,
                env=clean_environment(**({"PATH": path} | ports | environment)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        """Be a context that ends the servers."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Stop everything, by force if need be; an error gets the log."""
        for error in raised:
            if isinstance(error, BaseException):
                error.add_note(self.log)
        end_session(self.process)

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return self.log_file.read_text(errors="replace")

    def ready(self, seconds: float = 60) -> "Served":
        """Wait until start.sh says that it is ready."""
        until(lambda: "ready on port" in self.log or self.process.poll() is not None, seconds)
        assert "ready on port" in self.log, self.log
        return self

    def ended(self, seconds: float) -> int:
        """Wait for its end and return its exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"start.sh did not end within {seconds} s:\n{self.log}")

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Ask for a path and return status, headers (lower case) and body."""
        return get(self.url + path, **headers)

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Fail if something takes longer, without the time for which it waited for a CPU that other tests had."""
        processes = [os.getpid(), *self.members()]
        started, before = time.monotonic(), waits(processes)
        yield
        taken = time.monotonic() - started
        waited = sum(now - before.get(thread, 0) for thread, now in waits(processes).items())
        assert taken - waited < seconds, f"took {taken:.2f} s, and waited {waited:.2f} s for a CPU"

    def members(self) -> list[int]:
        """List the processes of its session that still live, start.sh included."""
        return session(self.process.pid)

    def mebibytes(self) -> float:
        """Sum up the memory of those processes; what several share counts for each."""
        pages = 0
        for pid in self.members():
            with contextlib.suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def pids(self, what: str) -> list[int]:
        """List the processes of its session whose command line has `what`, the oldest first."""
        found = []
        for pid in self.members():
            with contextlib.suppress(OSError):
                if what in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode():
                    found.append(pid)
        return found


def get(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Ask for an address and return status, headers (lower case) and body."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
