"""The locks of tabs in Redis: whoever waits for one gets it, also where nobody could tell that it was given back."""

import os
import re

import pytest

from harness.caches import ROOT
from harness.commands import must_run

pytestmark = pytest.mark.slow

PROGRAMS = ROOT / "tests/programs"
FIRST_SEED = int(os.environ.get("FIRST_SEED", "0"))


def test_a_lock_that_was_given_back_while_nobody_listened_is_taken(run_here):
    """Otherwise each event takes another for the one that has it, and all wait until the lock would have expired."""
    printed = run_here("locks_without_listeners.py")
    waited = {
        case: float(seconds) for case, seconds in re.findall(r"^(began|lost|none): ([\d.]+)$", printed, re.MULTILINE)
    }
    assert waited.keys() == {"began", "lost", "none"}, printed
    assert max(waited.values()) < 5, printed


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + 2))
def test_no_event_stands_still_however_many_ask_for_few_locks(run_here, seed):
    """Three workers, whose listeners lose their connections and whose events are cancelled at any moment."""
    printed = run_here("lock_contention.py", str(seed))
    found = re.search(r"^(\d+) locks, ([\d.]+) s at most, failures: \[\]$", printed, re.MULTILINE)
    assert found, printed
    assert int(found[1]) > 500, printed
    assert float(found[2]) < 5, printed


@pytest.fixture
def run_here(project, redis_url):
    """Run a program of tests/programs in a project with a Redis, and return what it prints."""
    made = project({"state_store": "redis", "max_instances": 2})
    python = made / ".venv/bin/python"
    return lambda program, *arguments: must_run(
        python, PROGRAMS / program, *arguments, cwd=made, PYTHONPATH=".", REFLEX_REDIS_URL=redis_url
    )
