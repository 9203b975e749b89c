"""Runs the benchmark: `scripts/bench`. Writes bench/results.json; bench/report.py makes tables and charts of it."""

import argparse
import datetime as dt
import json
import platform
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import breakdown, browser, measure
from bench.contenders import (
    ARTICLE,
    BENCH,
    COLD_STARTS,
    CONTENDERS,
    DEFAULT,
    EXAMPLE,
    IMAGES,
    REDIS,
    TWO_WORKERS,
    UVICORN,
)
from bench.ideas import IDEAS
from bench.places import CORES, Figures, InContainers, Place, choose, on_cores_of_the_client
from harness import engine
from harness.commands import must_run
from harness.postgres_server import Postgres, postgres_server
from harness.redis_server import redis_server
from harness.servers import SERVERS

RESULTS = BENCH / "results.json"
Results = dict[str, dict[str, list[float | None]]]
Measurements = list[tuple[int, Callable[[Place], Figures]]]


def main() -> None:
    """Build everything, measure it round by round, side by side, and write the results."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5, help="of the cold start; the others take 3 at most")
    options.add_argument("--seconds", type=int, default=measure.SECONDS, help="how long each load lasts")
    options.add_argument("--only", nargs="*", default=[], help="names of contenders and ideas")
    options.add_argument("--results", type=Path, default=RESULTS, help="the file to write")
    options.add_argument("--processes", action="store_true", help="no containers, even where there is a Docker Engine")
    chosen = options.parse_args()
    names = [contender.name for contender in (*CONTENDERS, *COLD_STARTS, *(idea.change for idea in IDEAS))]
    if unknown := set(chosen.only) - set(names):
        options.error(f"--only: there is no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if chosen.only and chosen.results == RESULTS:
        options.error("--only: the report needs everything; name another file for a part, such as --results=part.json")
    if chosen.rounds < 1:
        options.error(f"--rounds: {chosen.rounds} is less than 1")
    if chosen.seconds < 1:
        options.error(f"--seconds: {chosen.seconds} is less than 1")
    measure.SECONDS = chosen.seconds
    kind, started_here = choose(processes=chosen.processes)
    on_cores_of_the_client()  # not before the Engine has started: it would keep to them too
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            redis_server(Path(folder)) as redis_url,
            postgres_server() as postgres,
        ):
            everything = compare(kind, chosen, Path(folder), redis_url, postgres)
    finally:
        if kind is InContainers:
            engine.tidy(IMAGES)
        if started_here:
            engine.stop()
    chosen.results.write_text(json.dumps(everything, indent=1) + "\n")
    print(f"Wrote {chosen.results}")


def compare(
    kind: type[Place], chosen: argparse.Namespace, folder: Path, redis_url: str, postgres: Postgres
) -> dict[str, dict]:
    """Make everything ready and measure it.

    Args:
        kind: Where it runs.
        chosen: The options.
        folder: An empty one, for the projects.
        redis_url: A Redis for those that need one.
        postgres: A PostgreSQL for those that need one.

    Returns:
        What is written to the results file.
    """
    places = {
        contender.name: kind(contender, folder / contender.image.partition(":")[0], redis_url, postgres)
        for contender in [*CONTENDERS, *COLD_STARTS, *(idea.change for idea in IDEAS)]
    }
    wanted = chosen.only or list(places)
    compared = [places[contender.name] for contender in CONTENDERS if contender.name in wanted]
    started = [places[contender.name] for contender in COLD_STARTS if contender.name in wanted]
    ideas = [
        idea for idea in IDEAS if idea.change.name in wanted and (kind.builds_images or not idea.change.needs_image)
    ]
    tried = [places[name] for name in dict.fromkeys(idea.base.name for idea in ideas)]
    tried += [places[idea.change.name] for idea in ideas]
    results: Results = {place.contender.name: {} for place in [*compared, *started]}
    tried_results: Results = {place.contender.name: {} for place in tried}
    for place in compared:
        note(results, place, place.measured())
    for place in [*started, *tried]:
        if place not in compared:
            place.prepare()
            place.migrate()
    measure_all(rounds_of_contenders(chosen.rounds), compared, results)
    measure_all([(chosen.rounds, measure.cold_start)], started, results)
    measure_all(rounds_of_ideas(chosen.rounds), tried, tried_results)
    return {
        "about": surroundings([*compared, *started, *tried][0]),
        "results": results,
        "ideas": tried_results,
        "breakdowns": breakdowns(compared),
    }


def rounds_of_contenders(rounds: int) -> Measurements:
    """Return how often each contender is measured, and by what."""
    return [
        (rounds, measure.cold_start),
        (min(rounds, 3), browser.usable_button),
        (min(rounds, 3), measure.load),
        (1, measure.memory),
        (1, measure.static_files),
        (1, browser.page_load),
        (min(rounds, 2), browser.crash),
        (min(rounds, 2), browser.recycle),
        (rounds, lambda place: measure.floor(place) if place.contender == DEFAULT else {}),
        (
            min(rounds, 3),
            lambda place: measure.two_cores(place) if place.contender in (REDIS, TWO_WORKERS) else {},
        ),
    ]


def rounds_of_ideas(rounds: int) -> Measurements:
    """Return how often each idea and what it is a change of are measured, and by what."""
    return [(2 * rounds - 1, measure.cold_start), (min(rounds, 2), measure.load), (1, measure.memory)]


def note(results: Results, place: Place, figures: Figures) -> None:
    """Keep what one measurement gave; what never happened is None."""
    for name, value in figures.items():
        results[place.contender.name].setdefault(name, []).append(None if value is None else round(value, 4))


def measure_all(measurements: Measurements, places: list[Place], results: Results) -> None:
    """Measure in rounds, each contender once in each, so that what else the machine does meets all of them alike."""
    for times, measurement in measurements:
        for number in range(times):
            for place in places:
                if figures := measurement(place):
                    note(results, place, figures)
                    print(f"round {number + 1}: {place.contender.name}: {figures}", flush=True)


def breakdowns(places: list[Place]) -> dict[str, breakdown.Shares]:
    """Look where time, bytes and memory go: of the default project, and what its memory is compared with."""
    shares = {}
    for place in places:
        if place.contender == DEFAULT:
            shares["import, ms"] = breakdown.imports(place)
            shares["scripts of the first page, kB"] = breakdown.scripts(place, browser.scripts(place))
    for place in places:
        if place.contender in (DEFAULT, UVICORN, EXAMPLE):
            shares[f"idle memory of {place.contender.name}, MiB"] = breakdown.memory(place)
    return shares


def surroundings(place: Place) -> dict[str, str | float]:
    """Return what was measured where, and when; the versions are those of one of the places."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "commit": must_run("git", "rev-parse", "--short", "HEAD", cwd=BENCH).strip(),
        "machine": f"{CORES} cores, {cpu[1] if cpu else platform.machine()}",
        "run": place.name,
        **place.surroundings(),
        "cores": "server and client on a core each" if CORES > 1 else "server and client on one core",
        "versions": place.python("-c", VERSIONS, *sorted({"reflex", *SERVERS})).strip(),
        "references": f"{ARTICLE.name}, {EXAMPLE.name}",
        "client alone, events per s": measure.client_alone(),
    }


VERSIONS = """
import sys
from importlib.metadata import distributions
from platform import python_version
there = {package.name: package.version for package in distributions()}
print(", ".join([f"Python {python_version()}", *(f"{name} {there[name]}" for name in sys.argv[1:] if name in there)]))
"""


if __name__ == "__main__":
    main()
