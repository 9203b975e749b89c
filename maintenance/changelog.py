"""Prints a version's part of CHANGELOG.md: `python -m maintenance.changelog 0.2.0`.

`--version` prints the version of this commit.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def version() -> str:
    """Read the version that this commit is or will be: pyproject.toml is its one place."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def notes(wanted: str) -> str:
    """Find a version's part of CHANGELOG.md.

    Args:
        wanted: Such as 0.2.0.

    Returns:
        The part without its heading.

    Raises:
        SystemExit: If there is no such part, or nothing in it.
    """
    parts = re.split(r"^## (\S+)(?: - [0-9-]+)?$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True)).get(wanted, "").strip()
    if not found:
        sys.exit(f"CHANGELOG.md has no part about {wanted}. Write its part under '## {wanted}'.")
    return found


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--version"]:
            print(version())
        case [wanted]:
            print(notes(wanted))
        case _:
            sys.exit("Usage: python -m maintenance.changelog VERSION, or --version")
