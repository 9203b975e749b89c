"""Counts an event's instructions: `scripts/bench --instructions`; with `--against REVISION` it compares two revisions.

The clock of a busy machine is wrong by several percent. A count differs by less than 0.5 % from one run to the next:
it shows a change of 1 %. It has nothing of waiting, of the kernel's work and of what memory costs. The servers run
as plain processes, one tab clicks, and valgrind counts: https://valgrind.org/docs/manual/cg-manual.html
"""

import argparse
import re
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.against import commit_of
from bench.contenders import DEFAULT, REDIS, Contender, project
from harness.client import Tab, wait
from harness.installs import build
from harness.redis_server import redis_server
from harness.serving import Served

COMPARED = [DEFAULT, REDIS]
FEW, MANY = 50, 450
"""How many events a server answers in the two runs; the rest of what it does is the same in both."""
PATIENCE = {"STARTUP_SECONDS": "240", "BLOCKED_SECONDS": "240", "PYTHONHASHSEED": "0"}
"""A server is some thirty times slower while it is counted. With another seed dictionaries have another order."""


def main() -> None:
    """Count the instructions of an event for each contender and print them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--instructions", action="store_true", help="this program")
    options.add_argument("--against", metavar="REVISION", help="a commit or a tag of this repository")
    chosen = options.parse_args()
    commit = commit_of(chosen.against, options) if chosen.against else ""
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as redis_url:
        for contender in COMPARED:
            now = per_event(contender, Path(folder), redis_url)
            line = f"{contender.name}: {now:,.0f} instructions per event"
            if commit:
                before = per_event(replace(contender, revision=commit), Path(folder), redis_url)
                line += f", {now / before:.3f} of the {before:,.0f} at {chosen.against}"
            print(line, flush=True)


def per_event(contender: Contender, folder: Path, redis_url: str) -> float:
    """Count the instructions of the server's process for one event.

    Args:
        contender: What is counted; gunicorn, whose worker is the process with the most instructions.
        folder: Where its project is rendered, under a name for each revision.
        redis_url: A Redis, if it needs one.
    """
    made = folder / f"{contender.image.partition(':')[0]}-{contender.revision}"
    project(contender, made)
    build(made)
    environment = PATIENCE | ({"REFLEX_REDIS_URL": redis_url} if contender.redis else {})
    with Served(made, **environment) as app:
        app.ready()  # the first start writes the bytecode
    few, many = (count(made, clicks, environment) for clicks in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def count(made: Path, clicks: int, environment: dict[str, str]) -> int:
    """Start a project, click, stop it, and return how many instructions its largest process has run."""

    async def click(port: int) -> None:
        tab = await Tab.open(port)
        for _ in range(clicks):
            await tab.click()
        await tab.close()

    with tempfile.TemporaryDirectory() as folder:
        commands = made / ".venv/bin"
        counting = Path(folder, "gunicorn")  # start.sh finds it first
        valgrind = f"valgrind --quiet --tool=cachegrind --cache-sim=no --cachegrind-out-file={folder}/%p.count"
        counting.write_text(f'#!/bin/sh\nexec {valgrind} {commands}/python {commands}/gunicorn "$@"\n')
        counting.chmod(0o755)
        path = f"{folder}:{commands}:/usr/local/bin:/usr/bin:/bin"
        with Served(made, PATH=path, **environment) as app:
            wait(click(app.ready(240).port))
            app.process.terminate()
            app.ended(60)
        counts = [file.read_text() for file in Path(folder).glob("*.count")]
        return max(int(re.search(r"^summary: (\d+)", text, re.MULTILINE)[1]) for text in counts)


if __name__ == "__main__":
    main()
