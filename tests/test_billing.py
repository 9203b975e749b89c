"""Cloud Run gives an instance CPU only while a request is open: nothing healthy is killed for having stood still."""

import asyncio
import re
import time
from contextlib import ExitStack
from itertools import product

import pytest

from harness.client import Tab, wait
from harness.engine import Container, built
from harness.front_end import FrontEnd
from harness.processes import until
from harness.serving import get
from harness.tcp_ports import listens
from tests.variants import SERVERS, STARTUPS

pytestmark = pytest.mark.slow

PAUSE = 75
"""Seconds without CPU: more than every limit that counts them, of which gunicorn's time-out and a start's are 60."""


def visit(front, token=""):
    """Open a tab, count one up, leave; how long the first answer took, what it was counted to, and the tab's token."""

    async def use() -> tuple[float, int, str]:
        started = time.monotonic()
        tab = await Tab.open(front.port, token)
        message = await tab.click()
        took = time.monotonic() - started
        count = int(re.search(r'"count_rx_state_":(\d+)', message)[1])
        await tab.close()
        return took, count, tab.token

    return wait(use())


@pytest.mark.long
def test_an_instance_that_stood_still_goes_on(project):
    """All four servers in both orders at the same time, since nothing happens most of the time."""
    with ExitStack() as stack:
        apps, fronts = {}, {}
        for server, startup in product(SERVERS, STARTUPS):
            image = built(project({"server": server, "startup": startup}, name=f"{server}-{startup}"))
            app = apps[server, startup] = stack.enter_context(Container(image))
            until(lambda app=app: listens(app.port) or app.state("Running") != "true", 60, every=0.3)
            fronts[server, startup] = stack.enter_context(FrontEnd(app))
            # A crawler takes the first page of the cold instance and leaves.
            assert get(f"{fronts[server, startup].url}/", connection="close")[0] == 200, app.log
            until(lambda front=fronts[server, startup]: front.paused, 60)

        time.sleep(PAUSE)
        tokens = {}
        for which, front in fronts.items():
            took, count, tokens[which] = visit(front)
            assert count == 1, which
            assert took < 15, f"{which}: the first event took {took:.1f} s"
            until(lambda front=front: front.paused, 60)

        time.sleep(PAUSE)
        for which, front in fronts.items():
            # Somebody who comes back finds the tab as it was: it is the same process.
            took, count, _ = visit(front, tokens[which])
            assert count == 2, which
            assert took < 5, f"{which}: {took:.1f} s"

        # A tab that stays open keeps the CPU.
        front = fronts[SERVERS[0], STARTUPS[0]]
        wait(stay(front))

        for which, app in apps.items():
            fronts[which].__exit__()
            assert app.state("Running") == "true", f"{which}:\n{app.log}"
            assert "TIMEOUT" not in app.log, app.log
            assert "start.sh: the" not in app.log, app.log
            assert app.log.count("ready on port") == 1, app.log


async def stay(front):
    """Keep a tab open without a click for a while, then click."""
    tab = await Tab.open(front.port)
    await asyncio.sleep(3)
    assert not front.paused
    assert '"count_rx_state_":1' in await tab.click()
    await tab.close()
