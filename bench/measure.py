"""The measurements, each of one container of 1 CPU and 512 MiB.

Where there are two cores the container has the first one to itself and the client has the second.
"""

import asyncio
import contextlib
import datetime as dt
import os
import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import client
from contenders import Contender
from engine import Container, docker
from house import free_port, must_run, until

Figures = dict[str, float | None]

TWO_CORES = (os.cpu_count() or 1) > 1
PORT = 8080
"""Where the container listens. The references' pages have this port in them: without production.py they would look for
the backend at another."""
SECONDS = 5
"""How long a load lasts."""
TABS = 20
"""How many tabs click at once."""
RATE = 200
"""Events per second of the steady load."""
IMPORT = "from my_reflex_app.my_reflex_app import app; app()"
"""The least that a server does before it can answer an event."""


@contextlib.contextmanager
def running(contender: Contender, redis_url: str, *options: str, **environment: str) -> Iterator[Container]:
    """Run a contender's container.

    Args:
        contender: Its image must be there.
        redis_url: For those that need a Redis.
        options: More for `docker run`.
        environment: More for the app.
    """
    pinned = ["--cpuset-cpus=0"] if TWO_CORES else []
    variables = {"PORT": str(PORT), "REDIS_PORT": str(free_port())} | contender.environment | environment
    if contender.redis:
        variables["REFLEX_REDIS_URL"] = redis_url
    with Container(contender.image, *pinned, *options, **variables) as container:
        yield container


def started(container: Container) -> float:
    """Tell when the container's first process started, by the clock."""
    return moment(container.state("StartedAt"))


def cgroup(container: Container, file: str) -> str:
    """Read what the kernel counts for a container, under cgroup v1 or v2."""
    pid = container.state("Pid")
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for root in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup") / controllers):
            if (found := Path(f"{root}{path}") / file).exists():
                return found.read_text()
    msg = f"no {file} for the container"
    raise FileNotFoundError(msg)


def cpu_seconds(container: Container) -> float:
    """Tell the CPU time that the container's processes have used."""
    with contextlib.suppress(FileNotFoundError):
        return int(cgroup(container, "cpuacct.usage")) / 1e9
    return int(re.search(r"usage_usec (\d+)", cgroup(container, "cpu.stat"))[1]) / 1e6


def mebibytes(container: Container) -> float:
    """Tell the memory that the container's processes hold: anonymous memory, not the page cache."""
    stat = cgroup(container, "memory.stat")
    return int(re.search(r"^(?:total_rss|anon) (\d+)", stat, re.MULTILINE)[1]) / 2**20


def cold_start(contender: Contender, redis_url: str) -> Figures:
    """From the container's first process to the first page and to the first event that is answered."""
    with running(contender, redis_url) as container:
        since = started(container)
        page, page_errors = client.first_page(container.port, since)
        event, event_errors = client.first_event(container.port, since)
    return {"first page, s": page, "first event, s": event, "5xx while starting": page_errors + event_errors}


def load(contender: Contender, redis_url: str) -> Figures:
    """Events per second and per CPU-second at saturation, and how long they take at a fixed rate."""
    with running(contender, redis_url) as container:
        client.first_event(container.port, time.time())
        client.wait(client.saturate(container.port, TABS, 1))  # warm
        before = cpu_seconds(container)
        took, received = client.wait(client.saturate(container.port, TABS, SECONDS))
        used = cpu_seconds(container) - before
        steady = sorted(client.wait(client.click_steadily(container.port, TABS, RATE, SECONDS)))
    return {
        "events per s": len(took) / SECONDS,
        "events per CPU-s": len(took) / used,
        "bytes per event": received / len(took),
        "p50 at saturation, ms": statistics.median(took) * 1000,
        "p99 at saturation, ms": sorted(took)[len(took) * 99 // 100] * 1000,
        f"p50 at {RATE}/s, ms": steady[len(steady) // 2] * 1000,
        f"p99 at {RATE}/s, ms": steady[len(steady) * 99 // 100] * 1000,
    }


def memory(contender: Contender, redis_url: str) -> Figures:
    """What it holds with no tab, after the first event, and with 100 and 1,000 tabs open."""

    async def tabs(port: int) -> list[float]:
        held = []
        opened: list[client.Tab] = []
        for wanted in (100, 1000):
            while len(opened) < wanted:
                opened += await asyncio.gather(*(client.Tab.open(port) for _ in range(50)))
            held.append(mebibytes(container))
        return held

    with running(contender, redis_url) as container:
        client.first_event(container.port, time.time())
        time.sleep(2)
        idle = mebibytes(container)
        hundred, thousand = client.wait(tabs(container.port))
    per_tab = (thousand - idle) * 1024 / 1000
    return {"idle, MiB": idle, "100 tabs, MiB": hundred, "1000 tabs, MiB": thousand, "KiB per tab": per_tab}


def static_files(contender: Contender, redis_url: str) -> Figures:
    """How many times a second the first page's largest script is sent, by wrk."""
    with running(contender, redis_url) as container:
        client.first_event(container.port, time.time())
        path = must_run("curl", "-s", container.url, cwd=Path("/"))
        script = re.search(r"/assets/entry\.client-[^\"]+\.js", path)[0]
        said = must_run(
            *("wrk", "--threads=1", "--connections=16", f"--duration={SECONDS}s", "--header=Accept-Encoding: gzip, br"),
            f"{container.url}{script}",
            cwd=Path("/"),
        )
    return {"static files per s": float(re.search(r"Requests/sec: +([\d.]+)", said)[1])}


def two_cores(contender: Contender, redis_url: str) -> Figures:
    """Events per second with two cores for everybody, the client and Redis too, and the client's share of the cores."""
    everybody = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        with running(contender, redis_url, "--cpuset-cpus=0,1", "--cpus=2") as container:
            client.first_event(container.port, time.time())
            client.wait(client.saturate(container.port, TABS, 1))
            before, began = time.process_time(), time.monotonic()
            took, _ = client.wait(client.saturate(container.port, TABS, SECONDS))
            share = (time.process_time() - before) / (time.monotonic() - began) / 2
    finally:
        os.sched_setaffinity(0, everybody)
    return {"events per s on two cores": len(took) / SECONDS, "the client's share of them": share}


def floor(contender: Contender) -> Figures:
    """How long the bare import of the app takes in the same image, from the container's first process to its end."""
    container = docker(*in_image(contender, "--detach"), "-c", IMPORT).split()[-1]
    docker("wait", container)
    begin = moment(docker("inspect", "--format", "{{.State.StartedAt}}", container))
    end = moment(docker("inspect", "--format", "{{.State.FinishedAt}}", container))
    status = docker("inspect", "--format", "{{.State.ExitCode}}", container).strip()
    docker("rm", container)
    if status != "0":
        msg = f"the bare import ended with {status}"
        raise RuntimeError(msg)
    return {"import alone, s": end - begin}


def in_image(contender: Contender, *options: str) -> list[str]:
    """Give the docker command that runs Python in a contender's image as the app would run, all but its arguments."""
    limits = ["--user=0", "--network=host", "--memory=512m", "--cpus=1", *(["--cpuset-cpus=0"] if TWO_CORES else [])]
    environment = ["--env=__REFLEX_SKIP_COMPILE=1", "--env=REFLEX_ENV_MODE=prod"]
    return ["run", *options, *limits, *environment, "--entrypoint=python", contender.image]


def moment(text: str) -> float:
    """Turn the Engine's way to write a moment into seconds of the clock."""
    return dt.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z$", r"\1+00:00", text.strip())).timestamp()


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
    """Tell whether a tab can be opened."""
    with contextlib.suppress(OSError):
        client.wait(client.saturate(port, 1, 0))
        return True
    return False
