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
from playwright.sync_api import Page, sync_playwright

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


@contextlib.contextmanager
def running(contender: Contender, redis_url: str) -> Iterator[Container]:
    """Run a contender's container."""
    options = ["--cpuset-cpus=0"] if TWO_CORES else []
    environment = {"PORT": str(PORT), "REDIS_PORT": str(free_port())} | (
        {"REFLEX_REDIS_URL": redis_url} if contender.redis else {}
    )
    with Container(contender.image, *options, **environment) as container:
        yield container


@contextlib.contextmanager
def tab() -> Iterator[Page]:
    """Open a tab in a real Chromium: the system's, or else Playwright's."""
    system = next((path for path in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(path).exists()), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=system, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page()
        browser.close()


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


def usable_button(contender: Contender, redis_url: str) -> Figures:
    """From the container's first process until a click in a real Chromium has changed the number."""
    with tab() as page, running(contender, redis_url) as container:
        since = started(container)
        client.first_page(container.port, since)
        page.goto(container.url)
        page.click("#increment")
        page.wait_for_function("document.querySelector('#count').innerText === '1'", polling=20)
        took = time.time() - since
    return {"button, s": took}


def load(contender: Contender, redis_url: str) -> Figures:
    """Events per second and per CPU-second at saturation, and how long they take at a fixed rate."""
    with running(contender, redis_url) as container:
        client.first_event(container.port, time.time())
        client.wait(client.saturate(container.port, TABS, 1))  # warm
        before = cpu_seconds(container)
        took = client.wait(client.saturate(container.port, TABS, SECONDS))
        used = cpu_seconds(container) - before
        steady = sorted(client.wait(client.click_steadily(container.port, TABS, RATE, SECONDS)))
    return {
        "events per s": len(took) / SECONDS,
        "events per CPU-s": len(took) / used,
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


def page_load(contender: Contender, redis_url: str) -> Figures:
    """What a real Chromium receives for the first page of an empty cache."""
    with running(contender, redis_url) as container:
        client.first_event(container.port, time.time())
        sizes: list[float] = []
        with tab() as page:
            session = page.context.new_cdp_session(page)
            session.send("Network.enable")
            session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
            page.goto(container.url, wait_until="networkidle")
    return {"first page load, kB": sum(sizes) / 1000, "requests": len(sizes)}


def crash(contender: Contender, redis_url: str) -> Figures:
    """How long an open tab gets no answer after a worker was killed; the instance may have to start anew for that."""
    with running(contender, redis_url) as container:
        client.first_event(container.port, time.time())
        children = docker("top", container.id, "-eo", "pid,ppid,args").splitlines()[1:]
        workers = [int(line.split()[0]) for line in children if re.search(r"gunicorn|uvicorn|granian|reflex", line)]
        killed = time.time()
        os.kill(workers[-1], 9)
        time.sleep(0.1)
        if container.state("Running") != "true":
            return {"answers after a crash, s": None}
        with contextlib.suppress(TimeoutError):
            client.first_event(container.port, killed, seconds=20)
            return {"answers after a crash, s": time.time() - killed}
    return {"answers after a crash, s": None}


def floor(contender: Contender) -> Figures:
    """How long the bare import of the app takes in the same image, from the container's first process to its end."""
    code = "from my_reflex_app.my_reflex_app import app; app()"
    container = docker(
        *(
            "run",
            "--detach",
            "--user=0",
            "--network=host",
            "--memory=512m",
            "--cpus=1",
            "--env=__REFLEX_SKIP_COMPILE=1",
        ),
        *(
            "--env=REFLEX_ENV_MODE=prod",
            *(["--cpuset-cpus=0"] if TWO_CORES else []),
            "--entrypoint=python",
            contender.image,
            "-c",
            code,
        ),
    ).split()[-1]
    docker("wait", container)
    begin = moment(docker("inspect", "--format", "{{.State.StartedAt}}", container))
    end = moment(docker("inspect", "--format", "{{.State.FinishedAt}}", container))
    status = docker("inspect", "--format", "{{.State.ExitCode}}", container).strip()
    docker("rm", container)
    if status != "0":
        msg = f"the bare import ended with {status}"
        raise RuntimeError(msg)
    return {"import alone, s": end - begin}


def moment(text: str) -> float:
    """Turn the Engine's way to write a moment into seconds of the clock."""
    return dt.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z$", r"\1+00:00", text.strip())).timestamp()


def client_alone() -> float:
    """How many events a second the client itself could do at most: against a server that answers at once."""
    port = free_port()
    server = subprocess.Popen(["taskset", "-c", "0", "python", Path(__file__).with_name("echo.py"), str(port)])
    try:
        until(lambda: ready(port), 20)
        return len(client.wait(client.saturate(port, TABS, SECONDS))) / SECONDS
    finally:
        server.terminate()
        server.wait(10)


def ready(port: int) -> bool:
    """Tell whether a tab can be opened."""
    with contextlib.suppress(OSError):
        client.wait(client.saturate(port, 1, 0))
        return True
    return False
