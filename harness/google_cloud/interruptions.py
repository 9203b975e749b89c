"""Breaks a command off at each of its requests to Google."""

import copy
import itertools
import math
import subprocess
from collections.abc import Callable, Iterator

from harness.google_cloud import GoogleCloud


def interrupted(
    cloud: GoogleCloud,
    run: Callable[[], subprocess.CompletedProcess[str]],
    state: Callable[[], object],
    reset: Callable[[], None] = lambda: None,
) -> Iterator[object]:
    """Interrupt a command at its first request, at its second, and so on; run it again each time.

    Args:
        run: Runs the command.
        state: Returns what of the project and the folder an owner would notice.
        reset: Undoes what the command changes outside the project.

    Yields:
        What `state` returned after the interruption; now it returns what it does after the second run.

    Raises:
        AssertionError: If an interruption is not reported, or if the second run does not end as one that nothing
            interrupts.
    """
    before, unchanged = copy.deepcopy([cloud.resources, cloud.policies]), state()
    whole = run()
    wanted = copy.deepcopy(state())
    assert wanted != unchanged, whole.stdout
    for requests in itertools.count():
        reset()
        cloud.resources, cloud.policies = copy.deepcopy(before)
        cloud.requests_left = requests
        cut = run()
        if cloud.requests_left >= 0:
            break
        cloud.requests_left = math.inf
        assert cut.returncode != 0, cut.stdout
        assert cut.stdout.strip()
        left = copy.deepcopy(state())
        again = run()
        assert again.returncode == whole.returncode, again.stdout
        assert state() == wanted
        yield left
    cloud.requests_left = math.inf
    assert requests > 1, "it has hardly asked anything"
