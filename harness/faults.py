"""What was broken on purpose in a test run, and what came of it; `scripts/faults` makes docs/faults.md of that."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.caches import CACHE, ROOT
from harness.serving import Served

ROWS = CACHE / "faults"
DOCUMENT = ROOT / "docs/faults.md"
FAULTS = {
    "the backend dies": ("the tab says that it has no connection, and is back at the next instance", "state on disk"),
    "Caddy dies": ("the tab says that it has no connection, and is back at the next instance", "state on disk"),
    "a mistake in the app": ("nothing: a build's trial fails before traffic; the old revision serves", "nothing"),
    "the app ends its process while it is imported": (
        "nothing: a build's trial fails before traffic; the old revision serves",
        "nothing",
    ),
    "the app crashes while it is imported": (
        "nothing: a build's trial fails before traffic; the old revision serves",
        "nothing",
    ),
    "a handler blocks the event loop for 5 s (the limit was set to that)": (
        "no answer meanwhile, then the tab is back at the next worker or instance",
        "state on disk; with gunicorn the last seconds of it",
    ),
    "the port of the backend is taken": ("nothing: it does not start", "nothing"),
    "no Redis at the start": ("nothing: it does not start", "nothing"),
    "a stop (SIGTERM)": ("the tab is back at the next instance", "state on disk"),
    "a stop while a request is open for 3 s more": (
        "its answer, then the tab is back at the next instance",
        "state on disk",
    ),
    "a stop while a request is open for 60 s more": (
        "no answer to that; the tab is back at the next instance",
        "state on disk",
    ),
    "a stop while a handler runs for 1.5 s more": ("nothing: it finishes, with nobody connected", "state on disk"),
    "a stop while a handler runs for 60 s more": ("nothing: it is cancelled after 2 s", "what it would have done"),
    "a stop while the app is imported": ("nothing", "nothing"),
}
"""What a visitor sees of each, and what is lost."""
TEXT = """# What can fail

Made by `scripts/faults`, which breaks one thing after the other around the real servers (`tests/test_supervision.py`).
In no row a container lives on without serving: it ends, and Cloud Run starts another, or its server has a new worker.
Lost with `state_store: redis`: at most the event of a tab that was answered a moment before.

What becomes of a lost network, of Redis and of several instances is in [Many visitors](scale.md#what-was-seen).

"""


@contextmanager
def fault(what: str, server: str, startup: str, app: Served, words: str = "") -> Iterator[None]:
    """Note what comes of a fault that is made in the block, which ends when it is over.

    Args:
        what: One of `FAULTS`.
        server: The app's.
        startup: Its order.
        app: What is served.
        words: A pattern of the line in the log that says it.
    """
    known = FAULTS[what]
    since = time.monotonic()
    yield
    seconds = time.monotonic() - since
    lines = [line for line in app.log.splitlines() if words and re.search(words, line)]
    code = app.process.poll()
    row = {
        "what": what,
        "server": server,
        "startup": startup,
        "sees": known[0],
        "lost": known[1],
        "seconds": round(seconds, 1),
        "code": "a new worker" if code is None else code,
        "line": re.sub(r"\b\d{4,}\b", "…", lines[-1].strip())[:110] if lines else "",
    }
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    with ROWS.open("a") as file:
        file.write(json.dumps(row) + "\n")


def seconds(row: dict) -> float:
    """Return how long a fault took."""
    return row["seconds"]


def table(rows: list[dict]) -> str:
    """Write the rows as Markdown, a table for each fault."""
    text = TEXT
    for what, (sees, lost) in FAULTS.items():
        slowest = {(row["server"], row["startup"]): row for row in sorted(rows, key=seconds) if row["what"] == what}
        if not slowest:
            continue
        text += f"## {what[0].upper()}{what[1:]}\n\nA visitor sees: {sees}. Lost: {lost}.\n\n"
        text += "| server | order | seconds | exit code | in the log |\n| --- | --- | --- | --- | --- |\n"
        for _, row in sorted(slowest.items()):
            said = f"`{row['line']}`" if row["line"] else ""
            text += f"| {row['server']} | {row['startup']} | {row['seconds']} | {row['code']} | {said} |\n"
        text += "\n"
    return text.rstrip("\n") + "\n"


def main() -> None:
    """Write docs/faults.md from what the last run noted."""
    rows = [json.loads(line) for line in Path(ROWS).read_text().splitlines()]
    DOCUMENT.write_text(table(rows))


if __name__ == "__main__":
    main()
