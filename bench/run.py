"""Runs the benchmark: `scripts/bench`. Writes bench/results.json; bench/report.py makes tables and charts of it."""

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import breakdown
import browser
import engine
import measure
from contenders import ARTICLE, BENCH, CONTENDERS, DEFAULT, EXAMPLE, REDIS, TWO_WORKERS, Contender, build, project
from house import free_port, install, must_run
from ideas import IDEAS

RESULTS = BENCH / "results.json"
Results = dict[str, dict[str, list[float | None]]]
Measurements = list[tuple[int, Callable[[Contender, str], measure.Figures]]]


def main() -> None:
    """Build everything, measure it round by round, side by side, and write the results."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--rounds", type=int, default=5, help="of the cold start; the other measurements take 3 at most"
    )
    options.add_argument("--only", nargs="*", default=[], help="names of contenders and ideas")
    options.add_argument("--results", type=Path, default=RESULTS, help="the file to write")
    chosen = options.parse_args()
    contenders = [contender for contender in CONTENDERS if not chosen.only or contender.name in chosen.only]
    ideas = [idea for idea in IDEAS if not chosen.only or idea.change.name in chosen.only]
    bases = list({idea.base.name: idea.base for idea in ideas}.values())
    tried = bases + [idea.change for idea in ideas]
    if measure.TWO_CORES:
        os.sched_setaffinity(0, range(1, os.cpu_count() or 2))  # the containers have the first core
    started_here = engine.start()
    try:
        with tempfile.TemporaryDirectory() as folder, redis() as redis_url:
            results = images(contenders, Path(folder))
            for contender in tried:
                if contender not in contenders:
                    image(contender, Path(folder))
            measure_all(rounds_of_contenders(chosen.rounds), contenders, redis_url, results)
            tried_results: Results = {contender.name: {} for contender in tried}
            measure_all(rounds_of_ideas(chosen.rounds), tried, redis_url, tried_results)
            shares = breakdowns(Path(folder)) if DEFAULT in contenders else {}
        about = surroundings() | {"client alone, events per s": measure.client_alone()}
    finally:
        if started_here:
            engine.stop()
    everything = {"about": about, "results": results, "ideas": tried_results, "breakdowns": shares}
    chosen.results.write_text(json.dumps(everything, indent=1) + "\n")
    print(f"Wrote {chosen.results}")


def rounds_of_contenders(rounds: int) -> Measurements:
    """Tell how often each contender is measured, and by what."""
    return [
        (rounds, measure.cold_start),
        (min(rounds, 3), browser.usable_button),
        (min(rounds, 3), measure.load),
        (1, measure.memory),
        (1, measure.static_files),
        (1, browser.page_load),
        (min(rounds, 2), browser.crash),
        (min(rounds, 2), browser.recycle),
        (rounds, lambda contender, _: measure.floor(contender) if contender == DEFAULT else {}),
        (
            min(rounds, 3),
            lambda contender, url: measure.two_cores(contender, url) if contender in (REDIS, TWO_WORKERS) else {},
        ),
    ]


def rounds_of_ideas(rounds: int) -> Measurements:
    """Tell how often each idea and what it is a change of are measured, and by what."""
    return [(2 * rounds - 1, measure.cold_start), (min(rounds, 2), measure.load), (1, measure.memory)]


def note(results: Results, contender: Contender, figures: measure.Figures) -> None:
    """Keep what one measurement gave; what never happened is None."""
    for name, value in figures.items():
        results[contender.name].setdefault(name, []).append(None if value is None else round(value, 4))


def image(contender: Contender, folder: Path, *options: str) -> tuple[Path, float]:
    """Build the image of a contender, with those options of `docker build`.

    Returns:
        The project that it was made from, and how many seconds the build took.
    """
    made = project(contender, folder / contender.image.partition(":")[0])
    if not contender.folder:
        install(made)
        engine.bases(made)
    print(f"building {contender.name}", flush=True)
    started = time.monotonic()
    build(made, contender, *options)
    return made, time.monotonic() - started


def images(contenders: list[Contender], folder: Path) -> Results:
    """Build each image, without any cache and after a change of one line, and look at its size."""
    results: Results = {contender.name: {} for contender in contenders}
    for contender in contenders:
        made, clean = image(contender, folder, "--no-cache")
        index = made / "my_reflex_app/pages/index.py"
        index.write_text(f"{index.read_text()}\nCHANGED = {time.time()}\n")  # nothing that an Engine has built before
        started = time.monotonic()
        said = build(made, contender)
        rebuild = time.monotonic() - started
        steps = set(re.findall(r"^#(\d+) \[.*\] (?:RUN|COPY)", said, re.MULTILINE))
        size = int(engine.docker("image", "inspect", "--format", "{{.Size}}", contender.image))
        python = next(
            name for name in re.findall(r"^FROM (python:\S+)", (made / "Dockerfile").read_text(), re.MULTILINE)
        )
        base = int(engine.docker("image", "inspect", "--format", "{{.Size}}", python))
        figures = {
            "image over its base, MB": (size - base) / 1e6,
            "clean build, s": clean,
            "rebuild, s": rebuild,
            "steps of a rebuild": sum(f"#{step} CACHED" not in said for step in steps),
        }
        note(results, contender, figures)
    return results


def measure_all(measurements: Measurements, contenders: list[Contender], redis_url: str, results: Results) -> None:
    """Measure in rounds, each contender once in each, so that what else the machine does meets all of them alike."""
    for times, measurement in measurements:
        for number in range(times):
            for contender in contenders:
                if figures := measurement(contender, redis_url):
                    note(results, contender, figures)
                    print(f"round {number + 1}: {contender.name}: {figures}", flush=True)


def breakdowns(folder: Path) -> dict[str, breakdown.Shares]:
    """Look where the default project's time and bytes go."""
    made = folder / DEFAULT.image.partition(":")[0]
    return {
        "import, ms": breakdown.imports(),
        "scripts of the first page, kB": breakdown.scripts(made, browser.scripts(DEFAULT)),
    }


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """Run a Redis for those that need one, beside the client, and give its address."""
    port = free_port()
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""], stdout=subprocess.DEVNULL
    )
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(30)


def surroundings() -> dict[str, str | int]:
    """Tell what was measured where, and when."""
    commit = must_run("git", "rev-parse", "--short", "HEAD", cwd=BENCH).strip()
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    python = ("run", "--rm", "--network=host", "--entrypoint=python", DEFAULT.image, "-c", VERSIONS)
    versions = engine.docker(*python)
    return {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "commit": commit,
        "machine": f"{os.cpu_count()} cores, {cpu[1] if cpu else platform.machine()}",
        "engine": engine.docker("version", "--format", "{{.Server.Version}}").strip(),
        "limits": "containers of 1 CPU and 512 MiB",
        "cores": "server and client on a core each" if measure.TWO_CORES else "server and client on one core",
        "bases": "made here from Debian's Python" if engine.stand_ins() else "the official images",
        "versions": versions.strip(),
        "references": f"{ARTICLE.name}, {EXAMPLE.name}",
    }


VERSIONS = """
from importlib.metadata import version
from platform import python_version
names = ("reflex", "gunicorn", "uvicorn", "granian")
print(", ".join([f"Python {python_version()}", *(f"{name} {version(name)}" for name in names)]))
"""


if __name__ == "__main__":
    main()
