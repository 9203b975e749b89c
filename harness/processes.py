"""Sessions of processes: what is left of them, and how they end."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path


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


def until(true: object, seconds: float, every: float = 0.02) -> None:
    """Wait until a function, called `every` so many seconds, returns something true; fail after so many `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"did not happen within {seconds} s"
        time.sleep(every)


def waits(pids: list[int]) -> dict[Path, float]:
    """Return for how many seconds each thread of some processes could have run, and others had the CPU.

    The figure is the kernel's: https://docs.kernel.org/scheduler/sched-stats.html, /proc/<pid>/schedstat.
    """
    seconds = {}
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                seconds[thread] = int(thread.read_text().split()[1]) / 1e9
    return seconds


def session(leader: int) -> list[int]:
    """List the processes of a session that still live, the oldest first; a number may be lower than an older one's."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):  # noqa: PTH208 - many tests wait for what it returns
        with contextlib.suppress(OSError):
            if os.getsid(pid) == leader:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    found.append((int(fields[19]), pid))  # the moment it started: proc(5), field 22
    return [pid for _, pid in sorted(found)]
