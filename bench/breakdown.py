"""Where time, bytes and memory go that no setting saves: the app's import, the first page's scripts, the processes."""

import json
import re
import statistics
import sys
from collections import Counter
from pathlib import Path

from bench import measure
from bench.places import Place
from bench.running import Process

EXPLORER = "source-map-explorer@2.5.3"
"""Finds which package each byte of a built script comes from, by its source map."""
ROUNDS = 5
SHOWN = 12

Shares = dict[str, float]


def imports(place: Place) -> Shares:
    """Import the app and sum up the time by package.

    Returns:
        Milliseconds of each package by itself, without what it imports; the standard library's modules count as one.
    """
    rounds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        said = place.python("-X", "importtime", "-c", measure.IMPORT)
        took: Counter[str] = Counter()
        for own, name in re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", said):
            package = name.partition(".")[0]
            took["Python's own library" if package in sys.stdlib_module_names else package] += int(own) / 1000
        for package, value in took.items():
            rounds.setdefault(package, []).append(value)
    return largest({package: statistics.median(values) for package, values in rounds.items()})


def scripts(place: Place, loaded: list[str]) -> Shares:
    """Build the pages once more with source maps, and sum up the first page's scripts by package.

    Args:
        place: The contender whose pages.
        loaded: The names of the scripts that the first page loads, without the hash in each.

    Returns:
        Kilobytes of each package, minified and not compressed.
    """
    said = place.with_source_maps(
        f"bun x --silent {EXPLORER} '.web/build/client/assets/*.js' --json --no-border-checks"
    )
    bytes_of: Counter[str] = Counter()
    for script in json.loads(said[said.index('{\n  "results"') :])["results"]:
        if without_hash(Path(script["bundleName"]).name) not in loaded:
            continue
        for source, content in script["files"].items():
            package = re.search(r".*node_modules/((?:@[^/]+/)?[^/]+)", source)
            bytes_of[package[1] if package else "Reflex and the app"] += content["size"]
    return largest({package: size / 1000 for package, size in bytes_of.items()})


def memory(place: Place) -> Shares:
    """Look what each process holds for itself when no tab is open, and what several share.

    Returns:
        MiB of anonymous memory.
    """
    with place.running() as app:
        held = measure.settled(app).held()
    named = {process.pid: process for process in held}
    own: Counter[str] = Counter()
    for process, memory in held.items():
        own[title(process, named)] += memory.own
    together = sum(memory.part for memory in held.values())
    return largest(own | {"shared by several": together - sum(own.values())})


def title(process: Process, others: dict[int, Process]) -> str:
    """Name a process by its program, or as the child of one that runs the same."""
    parent = others.get(process.parent)
    if parent and "python" in process.command and "python" in parent.command:
        return f"{title(parent, others)}'s child"
    words = [word.rpartition("/")[2] for word in process.command.split()]
    return next(word for word in words if not re.fullmatch(r"(ba|da)?sh|python[\d.]*|-.*", word))


def without_hash(script: str) -> str:
    """Take the hash out of a built script's name: it is another one in each build."""
    return re.sub(r"-[\w-]{8}\.js$", ".js", script)


def largest(shares: Shares) -> Shares:
    """Keep the largest, and sum up the rest."""
    ordered = sorted(shares.items(), key=lambda share: -share[1])
    rest = {"everything else": sum(share for _, share in ordered[SHOWN:])} if ordered[SHOWN:] else {}
    kept = dict(ordered[:SHOWN]) | rest
    rounded = {name: round(share, 1) for name, share in kept.items()}
    return {name: share for name, share in rounded.items() if share}
