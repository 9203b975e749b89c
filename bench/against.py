"""Compares the template as it is with an earlier revision of it: `scripts/bench --against REVISION`.

Each pair of contenders differs in the revision only. The two run one after the other in each round, so that what
else the machine does meets both alike: each round gives a ratio, and the rounds say how sure their mean is.
"""

import argparse
import random
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import engine
import measure
from contenders import BENCH, DEFAULT, GRANIAN, IMAGES, REDIS, REFLEX, UVICORN
from house import run
from places import InContainers, Place, choose, on_cores_of_the_client
from redis_server import redis_server

COMPARED = [DEFAULT, UVICORN, GRANIAN, REFLEX, REDIS]
COLD_START = {
    "first page, s": "first page",
    "first event, s": "first event",
    "CPU until the first event, s": "CPU until the first event",
}
"""The measurements of a cold start, and what they are called."""
STARTS = 5
"""How often both are started for the load: two processes of the same code may differ by a percent or two."""
DRAWS = 2000


def main() -> None:
    """Build both revisions of each contender, measure them in turn and print the ratios."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--against", required=True, metavar="REVISION", help="a commit or a tag of this repository")
    options.add_argument("--rounds", type=int, default=60, help="cold starts of each, and seconds of load")
    options.add_argument("--only", nargs="*", default=[each.name for each in COMPARED], help="names of contenders")
    options.add_argument("--processes", action="store_true", help="no containers, even where there is a Docker Engine")
    chosen = options.parse_args()
    if unknown := set(chosen.only) - {each.name for each in COMPARED}:
        options.error(
            f"--only: there is no {', '.join(sorted(unknown))}; there are {', '.join(each.name for each in COMPARED)}"
        )
    if chosen.rounds < 1:
        options.error(f"--rounds: {chosen.rounds} is less than 1")
    found = run("git", "rev-parse", "--verify", "--quiet", f"{chosen.against}^{{commit}}", cwd=BENCH)
    if found.returncode:
        options.error(f"--against: {chosen.against} is no commit of this repository; name one that `git log` shows")
    kind, started_here = choose(processes=chosen.processes)
    on_cores_of_the_client()
    try:
        with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as redis_url:
            for contender in COMPARED:
                if contender.name in chosen.only:
                    before = replace(contender, name=f"{contender.name} before", revision=found.stdout.strip())
                    pair = [
                        kind(each, Path(folder, each.image.partition(":")[0]), redis_url)
                        for each in (before, contender)
                    ]
                    for line in compare(pair, chosen.rounds):
                        print(f"{contender.name}: {line}", flush=True)
    finally:
        if kind is InContainers:
            engine.tidy(IMAGES)
        if started_here:
            engine.stop()


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
    figures: dict[str, list[list[float]]] = {name: [[], []] for name in COLD_START.values()}
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            measured = measure.cold_start(pair[which])
            for name, shown in COLD_START.items():
                figures[shown][which].append(measured[name])
    costs = figures["CPU per event"] = [[], []]
    for _ in range(min(STARTS, rounds)):
        for cost, more in zip(costs, measure.load_in_turn(pair, -(-rounds // STARTS)), strict=True):
            cost.extend(more)
    return [line(name, *both) for name, both in figures.items()]


def line(name: str, before: list[float], now: list[float]) -> str:
    """Say how a measurement has changed, with the interval that the ratio is in with a probability of 95 %.

    Args:
        name: What was measured.
        before: What the earlier revision took, each round.
        now: What this one took, in the same rounds.
    """
    ratios = [after / earlier for earlier, after in zip(before, now, strict=True)]
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
