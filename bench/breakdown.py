"""Where the time and the bytes go that no setting saves: the import of the app, and the first page's scripts."""

import json
import re
import statistics
import sys
from collections import Counter
from pathlib import Path

import engine
import measure
from contenders import DEFAULT, Contender

EXPLORER = "source-map-explorer@2.5.3"
"""Tells which package each byte of a built script comes from, by its source map."""
ROUNDS = 5
SHOWN = 12

Shares = dict[str, float]


def imports(contender: Contender = DEFAULT) -> Shares:
    """Import the app in its image and sum up the time by package.

    Returns:
        Milliseconds of each package by itself, without what it imports; the standard library's modules count as one.
    """
    rounds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        said = engine.docker(*measure.in_image(contender, "--rm"), "-X", "importtime", "-c", measure.IMPORT)
        took: Counter[str] = Counter()
        for own, name in re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", said):
            package = name.partition(".")[0]
            took["Python's own library" if package in sys.stdlib_module_names else package] += int(own) / 1000
        for package, value in took.items():
            rounds.setdefault(package, []).append(value)
    return largest({package: statistics.median(values) for package, values in rounds.items()})


def scripts(folder: Path, loaded: list[str], contender: Contender = DEFAULT) -> Shares:
    """Build the pages once more with source maps, and sum up the first page's scripts by package.

    Args:
        folder: The contender's project.
        loaded: The names of the scripts that the first page loads, without the hash in each.
        contender: Whose pages.

    Returns:
        Kilobytes of each package, minified and not compressed.
    """
    image = contender.image.replace(":bench", ":pages")
    engine.docker("build", *engine.network(), "--target=pages", "--tag", image, ".", cwd=folder)
    command = (
        "VITE_SOURCEMAP=true reflex export --frontend-only --no-zip >/dev/null"
        f" && bun x --silent {EXPLORER} '.web/build/client/assets/*.js' --json --no-border-checks"
    )
    said = engine.docker("run", "--rm", "--network=host", "--entrypoint=sh", image, "-c", command)
    bytes_of: Counter[str] = Counter()
    for script in json.loads(said[said.index('{\n  "results"') :])["results"]:
        if without_hash(Path(script["bundleName"]).name) not in loaded:
            continue
        for source, content in script["files"].items():
            package = re.search(r".*node_modules/((?:@[^/]+/)?[^/]+)", source)
            bytes_of[package[1] if package else "Reflex and the app"] += content["size"]
    return largest({package: size / 1000 for package, size in bytes_of.items()})


def without_hash(script: str) -> str:
    """Take the hash out of a built script's name: it is another one in each build."""
    return re.sub(r"-[\w-]{8}\.js$", ".js", script)


def largest(shares: Shares) -> Shares:
    """Keep the largest, and sum up the rest."""
    ordered = sorted(shares.items(), key=lambda share: -share[1])
    kept = dict(ordered[:SHOWN]) | {"everything else": sum(share for _, share in ordered[SHOWN:])}
    return {package: round(share, 1) for package, share in kept.items()}
