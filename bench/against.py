"""Compares the template as it is with an earlier revision of it: `scripts/bench --against REVISION`.

Each pair of contenders differs in the revision only. The two run one after the other in each round, so that what
else the machine does meets both alike: each round gives a ratio, and the rounds say how sure their mean is.
"""

import argparse
import random
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from bench import measure
from bench.contenders import BENCH, DEFAULT, GRANIAN, IMAGES, POSTGRES, REDIS, REFLEX, UVICORN
from bench.places import InContainers, Place, choose, on_cores_of_the_client
from harness import engine
from harness.commands import run
from harness.postgres_server import postgres_server
from harness.redis_server import redis_server

T = TypeVar("T")
COMPARED = [DEFAULT, UVICORN, GRANIAN, REFLEX, REDIS, POSTGRES]
COLD_START = {
    "first page, s": "first page",
    "first event, s": "first event",
    "CPU until the first event, s": "CPU until the first event",
}
"""The measurements of a cold start, and what they are called."""
STARTS_PER_LOAD = 3
"""How many cold starts there are for each load of both."""
DRAWS = 2000


def main() -> None:
    """Build both revisions of each contender, measure them in turn and print the ratios."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--against", required=True, metavar="REVISION", help="a commit or a tag of this repository")
    options.add_argument("--rounds", type=int, default=60, help="cold starts of each; a third as many loads")
    options.add_argument("--only", nargs="*", default=[each.name for each in COMPARED], help="names of contenders")
    options.add_argument("--processes", action="store_true", help="no containers, even where there is a Docker Engine")
    chosen = options.parse_args()
    if unknown := set(chosen.only) - {each.name for each in COMPARED}:
        options.error(
            f"--only: there is no {', '.join(sorted(unknown))}; there are {', '.join(each.name for each in COMPARED)}"
        )
    if chosen.rounds < 1:
        options.error(f"--rounds: {chosen.rounds} is less than 1")
    commit = commit_of(chosen.against, options)
    kind, started_here = choose(processes=chosen.processes)
    on_cores_of_the_client()
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            redis_server(Path(folder)) as redis_url,
            postgres_server() as postgres,
        ):
            for contender in COMPARED:
                if contender.name in chosen.only:
                    before = replace(contender, name=f"{contender.name} before", revision=commit)
                    pair = [
                        kind(each, Path(folder, each.image.partition(":")[0]), redis_url, postgres)
                        for each in (before, contender)
                    ]
                    for line in compare(pair, chosen.rounds):
                        print(f"{contender.name}: {line}", flush=True)
    finally:
        if kind is InContainers:
            engine.tidy(IMAGES)
        if started_here:
            engine.stop()


def commit_of(revision: str, options: argparse.ArgumentParser) -> str:
    """Return the commit that `--against` names, or end with what is wrong with it."""
    found = run("git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", cwd=BENCH)
    if found.returncode:
        options.error(f"--against: {revision} is no commit of this repository; name one that `git log` shows")
    return found.stdout.strip()


def compare(pair: list[Place], rounds: int) -> list[str]:
    """Measure an earlier revision of a contender and the one of now, in turn.

    Args:
        pair: The earlier one, then the one of now.
        rounds: How many cold starts of each.

    Returns:
        A line for each measurement.
    """
    for place in pair:
        place.prepare()
        place.migrate()
    ratios: dict[str, list[float]] = {name: [] for name in COLD_START.values()}
    for number in range(rounds):
        before, now = in_turn(pair, number, lambda both: [measure.cold_start(place) for place in both])
        for name, shown in COLD_START.items():
            ratios[shown].append(now[name] / before[name])
    ratios["CPU per event"] = []
    for number in range(-(-rounds // STARTS_PER_LOAD)):
        before, now = in_turn(pair, number, measure.load_in_turn)
        # Between two starts of the same code there may be a percent or two, so that a start counts once.
        ratios["CPU per event"].append(middle([after / earlier for earlier, after in zip(before, now, strict=True)]))
    return [line(name, each) for name, each in ratios.items()]


def in_turn(pair: list[Place], number: int, measured: Callable[[list[Place]], list[T]]) -> list[T]:
    """Measure both, every other time the second one first.

    Args:
        pair: The earlier one, then the one of now.
        number: Of the round.
        measured: Measures two.

    Returns:
        What it gave for each of the pair.
    """
    return measured(pair) if number % 2 else measured(pair[::-1])[::-1]


def line(name: str, ratios: list[float]) -> str:
    """Say how a measurement has changed, with the interval that the ratio is in with a probability of 95 %.

    Args:
        name: What was measured.
        ratios: What this revision took of what the earlier one took, in each round.
    """
    low, high = interval(ratios)
    return f"{name} {middle(ratios):.3f} of what it was ({low:.3f} to {high:.3f}), {len(ratios)} rounds"


def middle(ratios: list[float]) -> float:
    """Give the mean of the middle half: a round in which the machine did something else counts for nothing.

    Args:
        ratios: One of each round.
    """
    quarter = len(ratios) // 4
    return statistics.mean(sorted(ratios)[quarter : len(ratios) - quarter])


def interval(ratios: list[float]) -> tuple[float, float]:
    """Bound that mean by drawing the rounds again and again (bootstrap, 95 %).

    Args:
        ratios: One of each round.

    Returns:
        The lower and the upper bound.
    """
    chance = random.Random(0)  # noqa: S311 - no secret, and the same figures give the same bounds
    means = sorted(middle(chance.choices(ratios, k=len(ratios))) for _ in range(DRAWS))
    return means[DRAWS // 40], means[-DRAWS // 40]


if __name__ == "__main__":
    main()
