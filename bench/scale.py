"""Computes what so many open tabs take, from bench/results.json, and what happens when all of them come back at once.

`scripts/scale` writes the tables of docs/scale.md; with `--measure` it first has 1,000 real tabs come back, in
front of a real server, and keeps what it saw in bench/wave.json.
"""

import argparse
import asyncio
import heapq
import json
import math
import resource
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).parent
START, END = "<!-- tables -->\n", "<!-- /tables -->"
WAVE = BENCH / "wave.json"
DOCUMENT = BENCH.parent / "docs/scale.md"
CONTENDER = "gunicorn, redis"

SLOTS = 1000
"""Requests that one instance of Cloud Run may serve at once; an open tab is one.
https://cloud.google.com/run/docs/about-concurrency"""
USE = 0.7
"""The share of a CPU, and of a Redis, that is planned with."""
MEMORY_MIB = 1024
"""The memory of an instance in these tables."""
REDIS_EVENTS = 15_000
"""Events a second that one Redis core takes, two scripts each: 13,000 to 15,000 were measured."""
REDIS_KB_PER_TAB = 2.5
"""What a visitor's state takes in Redis, in kB, for the starter."""
COMMANDS = 2
"""Redis commands of an event, both EVAL: fixes/event_round_trips.py."""
LOADS = [(1_000, 1.0), (100_000, 0.1), (10_000_000, 0.1)]
"""Open tabs, and events a second of each."""

RETRY_STEP, RETRY_MOST = 0.2, 2.0
"""Seconds by which a page waits longer after each failed attempt to connect, and the most; it has no jitter."""
PATIENCE = 120
"""Seconds after which a tab that is not back ends the measurement."""


@dataclass(frozen=True)
class Need:
    """What a number of open tabs takes."""

    tabs: int
    events: float
    instances: int
    limited_by: str
    cells: int
    redis_gb: float


def figures() -> dict[str, float]:
    """Read what was measured: the median of all rounds."""
    results = json.loads((BENCH / "results.json").read_text())["results"][CONTENDER]
    known = {name: [value for value in values if value is not None] for name, values in results.items()}
    return {name: statistics.median(values) for name, values in known.items() if values}


def need(tabs: int, rate: float, measured: dict[str, float]) -> Need:
    """Compute what some open tabs take, on instances of 1 CPU.

    Args:
        tabs: How many are open.
        rate: Events a second of each.
        measured: From `figures`.
    """
    by_memory = (MEMORY_MIB * USE - measured["idle, MiB"]) * 1024 / measured["KiB per tab"]
    by_cpu = measured["events per CPU-s"] * USE / rate
    most = {"slots": SLOTS * USE, "memory": by_memory, "CPU": by_cpu}
    limit = min(most, key=most.__getitem__)
    cells = math.ceil(tabs * rate / (REDIS_EVENTS * USE))
    return Need(
        tabs=tabs,
        events=tabs * rate,
        instances=math.ceil(tabs / most[limit]),
        limited_by=limit,
        cells=cells,
        redis_gb=tabs * REDIS_KB_PER_TAB / 1e6,
    )


def wave(tabs: int, connects_per_second: float, down: float) -> list[float]:
    """Simulate that all tabs lose their connection at once, and nothing answers for a while.

    Each comes back at once, is refused while nothing answers, and then waits `RETRY_STEP` longer each time. The server
    takes them in the order in which they come.

    Args:
        tabs: How many.
        connects_per_second: How many the server can take.
        down: Seconds until somebody answers again.

    Returns:
        The seconds after which each is back, the first one first.
    """
    coming = [(0.0, 0) for _ in range(tabs)]
    back, free_at = [], down
    while coming:
        moment, failures = heapq.heappop(coming)
        if moment < down:
            wait = min(RETRY_STEP * (failures + 1), RETRY_MOST)
            heapq.heappush(coming, (moment + wait, failures + 1))
            continue
        free_at = max(free_at, moment) + 1 / connects_per_second
        back.append(free_at)
    return back


def measure(tabs: int = 1000) -> dict[str, float]:
    """Cut the connections of real tabs to a real server at once, and note when each has its state again."""
    from harness.caches import ROOT  # noqa: PLC0415 - computing needs no server
    from harness.client import Tab  # noqa: PLC0415 - computing needs no server
    from harness.commands import must_run  # noqa: PLC0415 - computing needs no server
    from harness.installs import build  # noqa: PLC0415 - computing needs no server
    from harness.redis_server import redis_server  # noqa: PLC0415 - computing needs no server
    from harness.serving import Served  # noqa: PLC0415 - computing needs no server

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file, here and in the server

    async def comes_back(tab: Tab, port: int, cut: float) -> float:
        failures = 0
        while True:
            try:
                await Tab.open(port, tab.token, loaded=False)
            except OSError:
                failures += 1
                if time.monotonic() - cut > PATIENCE:
                    raise
                await asyncio.sleep(min(RETRY_STEP * failures, RETRY_MOST))
            else:
                return time.monotonic() - cut

    async def go(port: int) -> dict[str, float]:
        open_tabs = [await Tab.open(port) for _ in range(tabs)]
        sample = open_tabs[:200]
        started = time.monotonic()
        for tab in sample:
            tab.socket.transport.abort()
            await Tab.open(port, tab.token, loaded=False)
        one_by_one = len(sample) / (time.monotonic() - started)
        open_tabs = [*open_tabs[200:], *[await Tab.open(port) for _ in range(200)]]
        for tab in open_tabs:
            tab.socket.transport.abort()
        cut = time.monotonic()
        took = sorted(await asyncio.gather(*(comes_back(tab, port, cut) for tab in open_tabs)))
        return {
            "tabs": tabs,
            "connects a second, one after the other": one_by_one,
            "half are back, s": took[tabs // 2],
            "all are back, s": took[-1],
        }

    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "project")
        data = "--data=state_store=redis"
        must_run("copier", "copy", "--quiet", "--defaults", "--vcs-ref=HEAD", data, ROOT, project, cwd=ROOT)
        build(project)
        with redis_server(Path(folder)) as url, Served(project, REFLEX_REDIS_URL=url) as app:
            return asyncio.run(go(app.ready().port))


def tables() -> str:
    """Write the tables of docs/scale.md."""
    measured = figures()
    lines = [
        "| open tabs | events a second | instances (1 CPU, 1 GiB) | limited by | Redis | commands a second | cells |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for tabs, rate in LOADS:
        row = need(tabs, rate, measured)
        lines.append(
            f"| {row.tabs:,} | {row.events:,.0f} | {row.instances:,} | {row.limited_by} | {row.redis_gb:,.2g} GB |"
            f" {row.events * COMMANDS:,.0f} | {row.cells:,} |"
        )
    seen = json.loads(WAVE.read_text())
    speed = seen["connects a second, one after the other"]
    lines += [
        "",
        "| all tabs of an instance come back at once | half are back | all are back |",
        "| --- | --- | --- |",
    ]
    simulated = wave(int(seen["tabs"]), speed, 0)
    half, last = simulated[len(simulated) // 2], simulated[-1]
    lines.append(
        f"| measured, {seen['tabs']:,.0f} tabs, on one core with the client | {seen['half are back, s']:.1f} s |"
        f" {seen['all are back, s']:.1f} s |"
    )
    lines.append(f"| simulated, at the measured {speed:,.0f} connects a second | {half:.1f} s | {last:.1f} s |")
    for down in (5, 30):
        simulated = wave(1000, speed, down)
        lines.append(
            f"| simulated, and nothing answers for {down} s | {simulated[500]:.1f} s | {simulated[-1]:.1f} s |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="scripts/scale", description="Computes what open tabs take.")
    parser.add_argument("--measure", action="store_true", help="have 1,000 real tabs come back first")
    if parser.parse_args().measure:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        WAVE.write_text(json.dumps(measure() | {"commit": commit.stdout.strip()}, indent=1) + "\n")
    before, _, rest = DOCUMENT.read_text().partition(START)
    DOCUMENT.write_text(before + START + tables() + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
