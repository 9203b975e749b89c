"""Lets visitors come, click, upload and leave, in one container of 512 MiB, and measures what stays of them.

The promises, in the second half of the run: memory and open files are flat, no answer is wrong, and at the end a new
visitor is served within a second.
"""

import argparse
import asyncio
import contextlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.caches import ROOT
from harness.client import Tab
from harness.commands import must_run
from harness.engine import Container, built, docker, start, stop
from harness.installs import install
from harness.servers import SERVERS

RESULT = Path(__file__).with_name("soak.json")
DOCUMENT = ROOT / "docs/scale.md"
START, END = "<!-- soak -->\n", "<!-- /soak -->"
SHOWN = {
    "clicks": "{:,}",
    "visits": "{:,}",
    "uploads of 30 MB": "{}",
    "wrong answers": "{}",
    "most memory, MiB": "{:.0f}",
    "memory in the second half, MiB more": "{:.0f}",
    "of that in the processes": "{:.0f}",
    "open files in the second half, more": "{:.0f}",
    "a new visitor at the end, s": "{:.3f}",
}
"""The columns of the table in docs/scale.md, and how their figures are written."""
REGULARS = 40
"""Tabs that stay open and click once a second."""
UPLOAD = b"".join(
    [
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n',
        b"a" * 30_000_000,
        b"\r\n--x--\r\n",
    ]
)
"""The body of an upload's request."""
MORE_MIB = {"memory in the second half, MiB more": 20, "of that in the processes": 5}
"""How much more the second half may end with than it began. What the kernel keeps of files it can take back."""
STAT = "cat /sys/fs/cgroup/memory.stat 2>/dev/null || cat /sys/fs/cgroup/memory/memory.stat"
"""Prints what the container's memory is: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory, or version 1."""
MORE_FILES = 40
"""The same of open files: one more or less for each connection that is being closed."""


@dataclass
class Sample:
    """What the container had at a moment."""

    seconds: float
    mebibytes: float
    anonymous: float
    """Of that, what no file and no cache of the kernel is: the processes, and files in memory."""
    files: int


@dataclass
class Soak:
    """One run."""

    container: Container
    seconds: float
    visits: int
    uploads: int
    clicks: int = 0
    wrong: int = 0
    visited: int = 0
    uploaded: int = 0

    async def go(self) -> list[Sample]:
        """Let everybody do their part, and measure every few seconds."""
        self.started = time.monotonic()
        samples: list[Sample] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(REGULARS):
                group.create_task(self.regular())
            group.create_task(self.spread(self.visits, self.visit))
            group.create_task(self.spread(self.uploads, self.upload))
            while self.left() > 0:
                samples.append(await asyncio.to_thread(self.measure))
                await asyncio.sleep(min(10, max(1, self.seconds / 60)))
        return samples

    def left(self) -> float:
        """Return how many seconds are left."""
        return self.started + self.seconds - time.monotonic()

    async def regular(self) -> None:
        """Click once a second; each answer has the next number."""
        tab, expected = await Tab.open(self.container.port), 0
        while self.left() > 0:
            number = int(re.search(r'"count_rx_state_":(\d+)', await tab.click())[1])
            expected += 1
            self.wrong += number != expected
            self.clicks += 1
            await asyncio.sleep(1)
        await tab.close()

    async def spread(self, times: int, work) -> None:  # noqa: ANN001 - a method of this class
        """Do something so many times, evenly, in nine tenths of the time; what is late is made up for, 8 at a time."""
        turns, pause = asyncio.Semaphore(8), self.seconds * 0.9 / max(1, times)

        async def once() -> None:
            async with turns:
                await work()

        async with asyncio.TaskGroup() as group:
            for number in range(times):
                await asyncio.sleep(max(0, self.started + number * pause - time.monotonic()))
                group.create_task(once())

    async def visit(self) -> None:
        """Open a tab and leave."""
        tab = await Tab.open(self.container.port)
        await tab.close()
        self.visited += 1

    async def upload(self) -> None:
        """Send a file in a separate tab, and leave."""
        tab = await Tab.open(self.container.port)
        headers = {
            "Content-Type": "multipart/form-data; boundary=x",
            "Reflex-Client-Token": tab.token,
            "Reflex-Event-Handler": "reflex___state____state.my_reflex_app___state____uploads.receive",
        }
        request = urllib.request.Request(  # noqa: S310 - of this machine
            f"{self.container.url}/_upload", UPLOAD, headers, method="POST"
        )
        self.wrong += not await asyncio.to_thread(is_taken, request)
        await tab.close()
        self.uploaded += 1

    def measure(self) -> Sample:
        """Ask the Engine for the container's memory, and the kernel for its open files."""
        used = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", self.container.id)
        number, unit = re.match(r"([\d.]+)(\w+)", used).groups()
        mebibytes = float(number) * {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}[unit]
        command = f"ls -d /proc/[0-9]*/fd/* 2>/dev/null | wc -l; {STAT}"
        files, *stat = docker("exec", self.container.id, "bash", "-c", command).splitlines()
        held = {name: int(value) / 2**20 for name, value in map(str.split, stat)}
        anonymous = held.get("anon", held.get("rss", 0)) + held["shmem"]
        return Sample(time.monotonic() - self.started, mebibytes, anonymous, int(files))


def is_taken(request: urllib.request.Request) -> bool:
    """Return whether a request is answered with 200 within two minutes."""
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 - of this machine
            return answer.status == 200  # noqa: PLR2004
    except (urllib.error.HTTPError, OSError):
        return False


def verdict(samples: list[Sample], soak: Soak, last: float) -> dict[str, object]:
    """Sum a run up; the middle of the second half's first and last quarter tell whether something grows."""
    half = [sample for sample in samples if sample.seconds > soak.seconds / 2]
    quarter = max(1, len(half) // 4)

    def growth(field: str) -> float:
        values = [getattr(sample, field) for sample in half]
        return statistics.median(values[-quarter:]) - statistics.median(values[:quarter])

    return {
        "minutes": soak.seconds / 60,
        "clicks": soak.clicks,
        "visits": soak.visited,
        "uploads of 30 MB": soak.uploaded,
        "wrong answers": soak.wrong,
        "most memory, MiB": max(sample.mebibytes for sample in samples),
        "memory in the second half, MiB more": round(growth("mebibytes"), 1),
        "of that in the processes": round(growth("anonymous"), 1),
        "open files in the second half, more": growth("files"),
        "a new visitor at the end, s": round(last, 3),
    }


def table() -> str:
    """Write the table of docs/scale.md: the last run of each server."""
    known = json.loads(RESULT.read_text())
    lines = [f"| server | {' | '.join(SHOWN)} |", f"| --- |{' --- |' * len(SHOWN)}"]
    for server in filter(known.get, SERVERS):
        figures = (form.format(known[server][name]) for name, form in SHOWN.items())
        lines.append(f"| {server} | {' | '.join(figures)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--visits", type=int, default=20_000)
    parser.add_argument("--uploads", type=int, default=100)
    parser.add_argument("--server", default="gunicorn")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as at_the_end:
        if start():
            at_the_end.callback(stop)
        project = Path(folder, "project")
        data = f"--data=server={asked.server}"
        must_run("copier", "copy", "--quiet", "--defaults", "--vcs-ref=HEAD", data, ROOT, project, cwd=ROOT)
        install(project)
        image = built(project)
        with Container(image, MAX_BODY_MB="32") as container:
            soak = Soak(container.ready(), asked.minutes * 60, asked.visits, asked.uploads)
            samples = asyncio.run(soak.go())
            started = time.monotonic()
            asyncio.run(soak.visit())
            result = verdict(samples, soak, time.monotonic() - started)
            killed = container.state("OOMKilled") == "true" or container.state("Running") != "true"
    result["server"] = asked.server
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    result["commit"] = commit.stdout.strip()
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    known[asked.server] = result | {"samples": [asdict(sample) for sample in samples[:: max(1, len(samples) // 60)]]}
    RESULT.write_text(json.dumps(known, indent=1) + "\n")
    before, _, rest = DOCUMENT.read_text().partition(START)
    DOCUMENT.write_text(before + START + table() + END + rest.partition(END)[2])
    print("\n".join(f"{key}: {value}" for key, value in result.items()))
    broken = [
        ("the container ended", killed),
        ("answers were wrong", soak.wrong > 0),
        ("memory grows", any(float(str(result[name])) > most for name, most in MORE_MIB.items())),
        ("open files grow", result["open files in the second half, more"] > MORE_FILES),
        ("a new visitor waits longer than a second", last_visit(result) > 1),
    ]
    if failed := [what for what, is_so in broken if is_so]:
        sys.exit("; ".join(failed))


def last_visit(result: dict[str, object]) -> float:
    """Return how long a new visitor waited at the end, in seconds."""
    return float(str(result["a new visitor at the end, s"]))


if __name__ == "__main__":
    main()
