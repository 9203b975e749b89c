"""Several instances on one Redis: a tab that comes back to another one goes on where it was."""

import os
import re
import signal
import uuid

import pytest
from client import Tab, wait
from house import Served

pytestmark = pytest.mark.slow


async def click(port, token):
    """Open the tab of that token, click, close it, and give the number that the page would show."""
    tab = await Tab.open(port, token)
    message = await tab.click()
    await tab.close()
    return int(re.search(r'"count_rx_state_":(\d+)', message)[1])


@pytest.mark.parametrize("opportunistic", ["false", "true"])
def test_a_tab_goes_on_at_another_instance(opportunistic, project, redis_url):
    made = project({"state_store": "redis", "max_instances": 2}, built=True)
    settings = {"REFLEX_REDIS_URL": redis_url, "REFLEX_OPLOCK_ENABLED": opportunistic}
    with Served(made, **settings) as one, Served(made, **settings) as other:
        one.ready()
        other.ready()
        token = str(uuid.uuid4())
        places = [one.port, one.port, other.port, one.port, other.port, other.port]
        assert [wait(click(port, token)) for port in places] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("opportunistic", ["false", "true"])
def test_a_stopped_instance_leaves_its_tabs_to_another(opportunistic, project, redis_url):
    """As at a deployment; with opportunistic locks the state may not have been written yet."""
    made = project({"state_store": "redis", "max_instances": 2}, built=True)
    settings = {"REFLEX_REDIS_URL": redis_url, "REFLEX_OPLOCK_ENABLED": opportunistic}
    token = str(uuid.uuid4())
    with Served(made, **settings) as one, Served(made, **settings) as other:
        one.ready()
        other.ready()
        assert [wait(click(one.port, token)) for _ in range(3)] == [1, 2, 3]
        one.process.terminate()
        assert one.ended(10) == 0
        assert wait(click(other.port, token)) == 4


async def comes_back_as(port, token):
    """Open the tab of that token again, and give the token that it has then."""
    tab = await Tab.open(port, token)
    await tab.close()
    return tab.token


def test_a_killed_instance_takes_the_state_of_its_open_tabs_along(project, redis_url):
    """Reflex takes the tab for a copy, since the dead instance's record of it is still there. The README says so."""
    made = project({"state_store": "redis", "max_instances": 2}, built=True)
    token = str(uuid.uuid4())

    async def kill_and_come_back():
        await Tab.open(one.port, token)
        for process in one.pids("gunicorn"):
            os.kill(process, signal.SIGKILL)
        return await comes_back_as(other.port, token)

    with Served(made, REFLEX_REDIS_URL=redis_url) as one, Served(made, REFLEX_REDIS_URL=redis_url) as other:
        one.ready()
        other.ready()
        assert wait(comes_back_as(one.port, token)) == token
        assert wait(kill_and_come_back()) != token
