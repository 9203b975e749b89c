"""A contender that runs: its processes, what they hold and have used, and how one of them is killed."""

import datetime as dt
import os
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from harness import commands, engine, serving

ANONYMOUS = 'for pid; do sed -n "/^Pss_Anon/p; /^Private_Dirty/p" "/proc/$pid/smaps_rollup" | xargs echo "$pid"; done'
"""Prints of each process its number, its part of the anonymous memory and what it has alone (proc_pid_smaps(5))."""


@dataclass(frozen=True)
class Process:
    """One process of a running contender, by the numbers of this machine; its resident memory is in KiB."""

    pid: int
    parent: int
    resident: int
    command: str


@dataclass(frozen=True)
class Held:
    """The anonymous memory of a process, in MiB: its part of all, and what it shares with no other process."""

    part: float
    own: float


class Running(ABC):
    """A contender that runs."""

    def __init__(self, port: int, started: float) -> None:
        """Take where it listens, and when its first process started, by the clock."""
        self.port, self.started = port, started
        self.url = f"http://localhost:{port}"

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether its first process still runs."""

    @abstractmethod
    def listed(self) -> str:
        """List its processes as `ps -o pid,ppid,rss,args` does."""

    @abstractmethod
    def shell(self, command: str, *arguments: str) -> str:
        """Run a shell's command as its processes' user, who may look at them and stop them."""

    def processes(self) -> list[Process]:
        """List its processes."""
        lines = [line.split(maxsplit=3) for line in self.listed().splitlines()[1:]]
        return [Process(int(pid), int(parent), int(rss), command) for pid, parent, rss, command in lines]

    def kill(self, process: Process) -> None:
        """End a process with SIGKILL."""
        self.shell('kill -KILL "$1"', inside(process.pid))

    def cpu_seconds(self) -> float:
        """Return the CPU time that its processes and those that they have waited for have used."""
        ticks = 0
        for process in self.processes():
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime (proc_pid_stat(5))
        return ticks / os.sysconf("SC_CLK_TCK")

    def held(self) -> dict[Process, Held]:
        """Return what its processes hold: anonymous memory, not the page cache."""
        by_number = {inside(process.pid): process for process in self.processes()}
        lines = [line.split() for line in self.shell(ANONYMOUS, *by_number).splitlines()]
        named = [(pid, dict(zip(rest[::3], rest[1::3], strict=True))) for pid, *rest in lines]
        return {
            by_number[pid]: Held(int(values["Pss_Anon:"]) / 1024, int(values["Private_Dirty:"]) / 1024)
            for pid, values in named
        }

    def mebibytes(self) -> float:
        """Return what its processes hold together, in MiB: what several share counts once."""
        return sum(held.part for held in self.held().values())


class RunningContainer(Running):
    """A contender's container."""

    def __init__(self, container: engine.Container) -> None:
        """Take it as it has been started."""
        super().__init__(container.port, moment(container.state("StartedAt")))
        self.container = container

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.container.state("Running") == "true"

    def listed(self) -> str:
        """List its processes by the Engine, outside it."""
        return engine.docker("top", self.container.id, "-eo", "pid,ppid,rss,args")

    def shell(self, command: str, *arguments: str) -> str:
        """Run a shell in it, as its own user."""
        return engine.docker("exec", self.container.id, "sh", "-c", command, "sh", *arguments)


class RunningProcesses(Running):
    """A contender's processes: the session of its start.sh."""

    def __init__(self, served: serving.Served, port: int, started: float) -> None:
        """Take them as they have been started."""
        super().__init__(port, started)
        self.served = served

    @property
    def alive(self) -> bool:
        """Whether start.sh runs."""
        return self.served.process.poll() is None

    def listed(self) -> str:
        """List the session."""
        pids = ",".join(map(str, self.served.members()))
        return commands.must_run("ps", "-ww", "-o", "pid,ppid,rss,args", "--pid", pids, cwd=Path("/"))

    def shell(self, command: str, *arguments: str) -> str:
        """Run a shell."""
        return commands.must_run("sh", "-c", command, "sh", *arguments, cwd=Path("/"))


def running_seconds(processes: list[Process]) -> float:
    """Return the CPU time that the threads of some processes have used: to the nanosecond, not in ticks of 10 ms.

    Args:
        processes: All must run; those that have ended between two calls would be missed.
    """
    spent = 0
    for process in processes:
        for thread in Path(f"/proc/{process.pid}/task").iterdir():
            # The first number is the time on a CPU: https://docs.kernel.org/scheduler/sched-stats.html
            spent += int((thread / "schedstat").read_text().split()[0])
    return spent / 1e9


def inside(pid: int) -> str:
    """Return a process's number where it runs itself: in a container it is another one than outside."""
    return re.search(r"^NSpid:.*\b(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1]


def moment(text: str) -> float:
    """Turn the Engine's way to write a moment into seconds of the clock."""
    return dt.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z$", r"\1+00:00", text.strip())).timestamp()
