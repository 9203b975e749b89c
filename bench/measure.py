"""The measurements, each of one contender that runs."""

import asyncio
import contextlib
import re
import statistics
import subprocess
import time
from pathlib import Path

from bench.places import CORES, Figures, Place, on_cores
from bench.running import Running, running_seconds
from harness import client
from harness.commands import must_run
from harness.processes import until
from harness.tcp_ports import free_port

SECONDS = 5
"""How long a load lasts; `scripts/bench --seconds` sets it."""
TABS = 20
"""How many tabs click at once."""
TURN = 0.2
"""How many seconds one of two is loaded while the other waits: what slows the machine down often lasts for a second."""
TURNS = 40
"""How often each of the two is loaded."""
RATE = 200
"""Events per second of the steady load."""
IMPORT = "from my_reflex_app.my_reflex_app import app; app()"
"""The least that a server does before it can answer an event."""


def cold_start(place: Place) -> Figures:
    """From the container's first process to the first page and to the first event that is answered."""
    with place.running() as app:
        since = app.started
        page, page_errors = client.first_page(app.port, since)
        event, event_errors = client.first_event(app.port, since, place.contender.path)
        used = app.cpu_seconds()
    return {
        "first page, s": page,
        "first event, s": event,
        "5xx while starting": page_errors + event_errors,
        "CPU until the first event, s": used,
    }


def load(place: Place) -> Figures:
    """Events per second and per CPU-second at saturation, and how long they take at a fixed rate."""
    with place.running() as app:
        client.first_event(app.port, time.time())
        client.wait(client.saturate(app.port, TABS, 1))  # warm
        before = app.cpu_seconds()
        took, received = client.wait(client.saturate(app.port, TABS, SECONDS))
        used = app.cpu_seconds() - before
        steady = sorted(client.wait(client.click_steadily(app.port, TABS, RATE, SECONDS)))
    return {
        "events per s": len(took) / SECONDS,
        "events per CPU-s": len(took) / used,
        "bytes per event": received / len(took),
        "p50 at saturation, ms": statistics.median(took) * 1000,
        "p99 at saturation, ms": sorted(took)[len(took) * 99 // 100] * 1000,
        f"p50 at {RATE}/s, ms": steady[len(steady) // 2] * 1000,
        f"p99 at {RATE}/s, ms": steady[len(steady) * 99 // 100] * 1000,
    }


def load_in_turn(pair: list[Place]) -> list[list[float]]:
    """Compare what an event costs two contenders that run at the same time: each is loaded while the other waits.

    What else the machine does, and how fast it just is, meets both alike: each turn is short.

    Args:
        pair: The two.

    Returns:
        CPU-seconds per event, of each in each turn.
    """

    async def clicked(apps: tuple[Running, Running]) -> list[list[float]]:
        tabs = [await asyncio.gather(*(client.Tab.open(app.port) for _ in range(TABS))) for app in apps]
        for opened in tabs:
            await client.click_in(opened, 1)  # warm
        processes = [app.processes() for app in apps]
        costs: list[list[float]] = [[], []]
        for number in range(TURNS):
            for which in (0, 1) if number % 2 else (1, 0):
                before = running_seconds(processes[which])
                took = await client.click_in(tabs[which], TURN)
                costs[which].append((running_seconds(processes[which]) - before) / len(took))
        return costs

    with pair[0].running() as one, pair[1].running(port=str(free_port())) as other:
        for app in (one, other):
            client.first_event(app.port, time.time())
        return client.wait(clicked((one, other)))


def memory(place: Place) -> Figures:
    """What it holds with no tab, after the first event, and with 1, 100 and 1,000 tabs open."""

    async def tabs() -> list[float]:
        held = []
        opened: list[client.Tab] = []
        for wanted in (1, 100, 1000):
            while len(opened) < wanted:
                more = min(50, wanted - len(opened))
                opened += await asyncio.gather(*(client.Tab.open(app.port) for _ in range(more)))
            held.append(app.mebibytes())
        return held

    with place.running() as app:
        idle = settled(app).mebibytes()
        one, hundred, thousand = client.wait(tabs())
    return {
        "idle, MiB": idle,
        "1 tab, MiB": one,
        "100 tabs, MiB": hundred,
        "1000 tabs, MiB": thousand,
        "KiB per tab": (thousand - one) * 1024 / 999,
    }


def settled(app: Running) -> Running:
    """Wait until nothing happens any more after the first event."""
    client.first_event(app.port, time.time())
    time.sleep(2)
    return app


def static_files(place: Place) -> Figures:
    """How many times a second the first page's largest script is sent, by wrk."""
    with place.running() as app:
        client.first_event(app.port, time.time())
        path = must_run("curl", "-s", app.url, cwd=Path("/"))
        script = re.search(r"/assets/entry\.client-[^\"]+\.js", path)[0]
        said = must_run(
            *("wrk", "--threads=1", "--connections=16", f"--duration={SECONDS}s", "--header=Accept-Encoding: gzip, br"),
            f"{app.url}{script}",
            cwd=Path("/"),
        )
    return {"static files per s": float(re.search(r"Requests/sec: +([\d.]+)", said)[1])}


def two_cores(place: Place) -> Figures:
    """Events per second with two cores for everybody, the client and Redis too, and the client's share of the cores."""
    with on_cores(CORES), place.running(cores=2) as app:
        client.first_event(app.port, time.time())
        client.wait(client.saturate(app.port, TABS, 1))
        before, began = time.process_time(), time.monotonic()
        took, _ = client.wait(client.saturate(app.port, TABS, SECONDS))
        share = (time.process_time() - before) / (time.monotonic() - began) / 2
    return {"events per s on two cores": len(took) / SECONDS, "the client's share of them": share}


def floor(place: Place) -> Figures:
    """How long the bare import of the app takes, from the first process's start to its end."""
    return {"import alone, s": place.seconds(IMPORT)}


def client_alone() -> float:
    """How many events a second the client itself could do at most: against a server that answers at once."""
    port = free_port()
    server = subprocess.Popen(["taskset", "-c", "0", "python", Path(__file__).with_name("echo.py"), str(port)])
    try:
        until(lambda: ready(port), 20)
        return len(client.wait(client.saturate(port, TABS, SECONDS))[0]) / SECONDS
    finally:
        server.terminate()
        server.wait(10)


def ready(port: int) -> bool:
    """Return whether a tab can be opened."""
    with contextlib.suppress(OSError):
        client.wait(client.saturate(port, 1, 0))
        return True
    return False
