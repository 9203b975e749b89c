"""Runs commands as a person would: in an environment without what this process adds."""

import os
import subprocess
from pathlib import Path


def clean_environment(**more: str) -> dict[str, str]:
    """Return this process's environment without what an activated Python or Reflex would add, plus `more`."""
    left_out = ("REFLEX_", "PYTHON", "VIRTUAL_ENV", "PORT", "WORKERS", "THREADS", "MAX_REQUESTS", "WEB_CONCURRENCY")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)} | more


def run(*command: str | Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, within five minutes; its output, both streams together, is in `stdout`."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=clean_environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def must_run(*command: str | Path, cwd: Path, **more: str) -> str:
    """Run a command that must succeed and return its output."""
    done = run(*command, cwd=cwd, **more)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout
