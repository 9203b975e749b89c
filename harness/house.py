"""Rendered projects and what they need to run: shared environments, built once and kept in .cache/."""

import contextlib
import fcntl
import hashlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from requirements import versions

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
PAGE_SOURCES = ["assets", "rxconfig.py", "finish_build.py", "reflex.lock", "requirements-dev.txt"]
"""What the built pages depend on, besides the app and the parts of Reflex."""


def clean_environment(**more: str) -> dict[str, str]:
    """Return this process's environment without what an activated Python or Reflex would add, plus `more`."""
    left_out = ("REFLEX_", "PYTHON", "VIRTUAL_ENV", "PORT", "WORKERS", "THREADS", "MAX_REQUESTS", "WEB_CONCURRENCY")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)} | more


def run(*command: str | Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, within five minutes; its output, both streams together, is in `stdout`."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=clean_environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def must_run(*command: str | Path, cwd: Path, **more: str) -> str:
    """Run a command that must succeed and return its output."""
    done = run(*command, cwd=cwd, **more)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@contextlib.contextmanager
def only_once(folder: Path) -> Iterator[bool]:
    """Let one test process at a time make a folder; yields whether it is still to be made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = folder.with_name(folder.name + ".done")
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            yield False
            return
        shutil.rmtree(folder, ignore_errors=True)
        yield True
        done.touch()


def digest(project: Path, names: list[str], *more: str) -> str:
    """Sum up the content of files and folders of a project, and what else there is."""
    total = hashlib.sha256("\0".join(more).encode())
    for name in names:
        path = project / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and not {"__pycache__", ".git", ".venv", ".web"} & set(file.parts):
                total.update(f"{file.relative_to(project)}\0".encode() + file.read_bytes())
    return total.hexdigest()[:16]


def pinned_by(project: Path) -> list[str]:
    """Name the files with a project's exact versions: what production needs, then what a laptop needs."""
    starter = not (project / "requirements-tools.lock").exists()
    return ["requirements.txt", "requirements-dev.txt"] if starter else ["requirements.lock", "requirements-tools.lock"]


def install(project: Path) -> Path:
    """Give a project its .venv with exactly its pinned packages, shared with the projects that have the same ones.

    Returns:
        The folder of the commands.
    """
    files = pinned_by(project)
    venv = CACHE / "venvs" / digest(project, files)
    with only_once(venv) as needed:
        if needed:
            must_run("uv", "venv", "--quiet", "--python", "python3", venv, cwd=project)
            requirements = [option for file in files for option in ("-r", file)]
            must_run(
                *(
                    "uv",
                    "pip",
                    "install",
                    "--quiet",
                    "--compile-bytecode",
                    "--require-hashes",
                    "--python",
                    venv / "bin/python",
                ),
                *requirements,
                cwd=project,
            )
            both = b"".join((project / file).read_bytes() for file in files)
            (venv / "requirements.sha256").write_text(f"{hashlib.sha256(both).hexdigest()}\n")
    link = project / ".venv"
    if not link.exists():
        link.symlink_to(venv)
    return link / "bin"


def build(project: Path, app_name: str = "my_reflex_app") -> None:
    """Give a project its built pages by its own scripts/build, shared with the projects whose pages are the same.

    Args:
        project: The project.
        app_name: The folder of its app; "." for an app that was there before, which may be anywhere.
    """
    install(project)
    pinned = versions((project / pinned_by(project)[0]).read_text())
    reflex = [f"{name}=={version}" for name, version in pinned.items() if name.startswith("reflex")]
    pages = CACHE / "pages" / digest(project, [app_name, *PAGE_SOURCES], *reflex)
    with only_once(pages) as needed:
        if needed:
            must_run("scripts/build", cwd=project)
            keep = shutil.ignore_patterns("node_modules")
            shutil.copytree(project / ".web", pages, ignore=keep, symlinks=True)
    shutil.rmtree(project / ".web", ignore_errors=True)
    shutil.copytree(pages, project / ".web")


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


class Served:
    """A project that its start.sh serves, on a free port of the loopback."""

    def __init__(self, project: Path, **environment: str) -> None:
        """Start it; `environment` is added to what start.sh sees."""
        self.project = project
        self.port, self.backend_port = free_port(), free_port()
        self.url = f"http://localhost:{self.port}"
        self.log_file = project / f"served-{self.port}.log"
        ports = {"PORT": str(self.port), "BACKEND_PORT": str(self.backend_port)}
        path = f"{project / '.venv/bin'}:{os.environ['PATH']}"
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen(
                ["./start.sh"],
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

    def __exit__(self, *_: object) -> None:
        """Stop everything, by force if need be."""
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


def end_session(leader: subprocess.Popen) -> None:
    """Stop the first process of a session, then what is left of it; until all have ended, their ports are taken."""
    if leader.poll() is None:
        leader.terminate()
        try:
            leader.wait(15)
        except subprocess.TimeoutExpired:
            leader.kill()
    for process in session(leader.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    until(lambda: session(leader.pid) == [], 15)


def get(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Ask for an address and return status, headers (lower case) and body."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, {name.lower(): value for name, value in answer.headers.items()}, answer.read()


def until(true: object, seconds: float) -> None:
    """Wait until a function returns something true; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"did not happen within {seconds} s"
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Tell whether something takes connections on a port of the loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def session(leader: int) -> list[int]:
    """List the processes of a session that still live, the oldest first; a number may be lower than an older one's."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader and fields[0] != "Z":
                    found.append((int(fields[19]), int(entry.name)))  # the moment it started: proc(5), field 22
    return [pid for _, pid in sorted(found)]
