"""Compares the template as it is with an earlier revision of it: `scripts/bench --against REVISION`.

Each pair of contenders differs in the revision only. The two run one after the other in each round, so that what
else the machine does meets both alike, and the rounds are what the ratio's uncertainty is computed from.
"""

import argparse
import random
import tempfile
from dataclasses import replace
from pathlib import Path

import engine
import measure
from contenders import BENCH, DEFAULT, GRANIAN, REDIS, REFLEX, UVICORN
from house import run
from places import InContainers, Place, choose, on_cores_of_the_client
from redis_server import redis_server

COMPARED = [DEFAULT, UVICORN, GRANIAN, REFLEX, REDIS]
SHOWN = {
    "first page, s": "first page",
    "first event, s": "first event",
    "CPU until the first event, s": "CPU until the first event",
    "events per CPU-s": "CPU per event",
}
"""The measurements, and what their ratio says: more events per CPU-second are less CPU per event. CPU time depends the
least on what else the machine does."""
DRAWS = 2000


def main() -> None:
    """Build both revisions of each contender, measure them in turn and print the ratios."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--against", required=True, metavar="REVISION", help="a commit or a tag of this repository")
    options.add_argument("--rounds", type=int, default=15, help="of the cold start; the load takes a third")
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
            engine.tidy()
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
    figures: dict[str, list[list[float]]] = {name: [[], []] for name in SHOWN}
    for measurement, times in ((measure.cold_start, rounds), (measure.load, max(1, rounds // 3))):
        for number in range(times):
            for which in (0, 1) if number % 2 else (1, 0):
                for name, value in measurement(pair[which]).items():
                    if name in figures and value is not None:
                        figures[name][which].append(value)
    return [line(name, *both) for name, both in figures.items()]


def line(name: str, before: list[float], now: list[float]) -> str:
    """Say how a measurement has changed, with the interval that the ratio is in with a probability of 95 %.

    Args:
        name: One of `SHOWN`.
        before: What the earlier revision took, each round.
        now: What this one took, in the same rounds.
    """
    if name == "events per CPU-s":
        before, now = [1 / value for value in before], [1 / value for value in now]
    low, high = interval(before, now)
    ratio = undisturbed(now) / undisturbed(before)
    return f"{SHOWN[name]} {ratio:.3f} of what it was ({low:.3f} to {high:.3f}), {len(now)} rounds"


def undisturbed(figures: list[float]) -> float:
    """Give the lower quartile: what else the machine does only ever adds to a time.

    Args:
        figures: What each round took.
    """
    return sorted(figures)[len(figures) // 4]


def interval(before: list[float], now: list[float]) -> tuple[float, float]:
    """Bound the ratio of the two quartiles by drawing the rounds again and again (bootstrap, 95 %).

    Args:
        before: What the earlier revision took, each round.
        now: What this one took, in the same rounds.

    Returns:
        The lower and the upper bound.
    """
    rounds = range(len(now))
    chance = random.Random(0)  # noqa: S311 - no secret, and the same figures give the same bounds
    ratios = sorted(
        undisturbed([now[each] for each in drawn]) / undisturbed([before[each] for each in drawn])
        for drawn in ([chance.choice(rounds) for _ in rounds] for _ in range(DRAWS))
    )
    return ratios[DRAWS // 40], ratios[-DRAWS // 40]


if __name__ == "__main__":
    main()
