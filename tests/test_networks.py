"""A network that loses what is sent: a visitor's tabs and Redis are back without a reload, with what they had."""

import asyncio
import time

import pytest
from playwright.sync_api import expect

from harness.client import Tab, wait
from harness.network import Network
from harness.redis_server import redis_server
from harness.servers import SERVERS
from harness.serving import Served
from harness.visitor import open_page
from tests.variants import STORES

pytestmark = pytest.mark.slow

BACK = 5_000
"""Milliseconds within which a tab works again."""


def count(page):
    """Press the button and give the number that the page then shows."""
    before = page.inner_text("#count")
    page.click("#increment")
    expect(page.locator("#count")).not_to_have_text(before, timeout=BACK)
    return int(page.inner_text("#count"))


@pytest.fixture
def store(redis_url):
    """Give the environment variables of a store."""
    return {"disk": {}, "redis": {"REFLEX_REDIS_URL": redis_url}}


def open_tab(browser, url):
    page = browser.new_context().new_page()
    open_page(page, url)
    expect(page.locator("#count")).to_have_text("0")
    return page


@pytest.mark.parametrize("kept", STORES)
def test_a_tab_that_loses_its_network_comes_back_with_its_state(kept, browser, project, store):
    made = project({"state_store": kept}, built=True)
    with Served(made, **store[kept]) as app, Network(app.ready().port) as network:
        page = open_tab(browser, network.url)
        assert [count(page) for _ in range(3)] == [1, 2, 3]
        token = page.evaluate("sessionStorage.getItem('token')")
        for comeback in range(3):
            network.lose_open_connections()
            page.evaluate("dispatchEvent(new Event('offline'))")  # as when a computer changes its network
            expect(page.locator("#count")).to_have_text(str(3 + comeback), timeout=BACK)
            assert count(page) == 4 + comeback
        assert page.evaluate("sessionStorage.getItem('token')") == token
        # The connections that nobody closed end now, long after the tab is back.
        network.restore()
        time.sleep(0.5)
        assert count(page) == 7
        page.context.close()


@pytest.mark.parametrize("kept", STORES)
def test_a_duplicated_tab_still_has_a_state_of_its_own(kept, browser, project, store):
    made = project({"state_store": kept}, built=True)
    with Served(made, **store[kept]) as app:
        page = open_tab(browser, app.ready().url)
        assert count(page) == 1
        token = page.evaluate("sessionStorage.getItem('token')")
        copy = page.context.new_page()
        copy.add_init_script(f"sessionStorage.setItem('token', {token!r})")  # a browser copies it
        open_page(copy, app.url)
        expect(copy.locator("#count")).to_have_text("0")
        assert count(copy) == 1
        assert count(page) == 2
        page.context.close()


@pytest.mark.parametrize("kept", STORES)
def test_a_tab_that_is_loaded_again_while_it_loads_goes_on_at_once(kept, project, store):
    """At every moment, also while an event takes the tab's lock or gives it back: Reflex cancels what a page loads.

    On a busy worker the connection of the page that was left may end, or even begin, when the next one's does.
    """

    async def load_again(port, number):
        tab = await Tab.open(port)
        token = tab.token
        for turn in range(60):
            tab.socket.transport.abort()
            left = await Tab.load(port, token, "/about")
            await asyncio.sleep((turn * 20 + number) % 100 / 2000)
            left.socket.transport.abort()
            async with asyncio.timeout(BACK / 1000):
                tab = await Tab.open(port, token)
            assert tab.token == token, "it is a copy of itself"
        await tab.close()

    async def everybody(port):
        await asyncio.gather(*(load_again(port, number) for number in range(8)))

    with Served(project({"state_store": kept}, built=True), **store[kept]) as app:
        wait(everybody(app.ready().port))


@pytest.mark.parametrize("server", SERVERS)
def test_tabs_work_after_redis_was_silent(server, browser, project, tmp_path):
    made = project({"server": server, "state_store": "redis"}, built=True)
    with redis_server(tmp_path) as redis_url:
        network, url = Network.to(redis_url)
        with network, Served(made, REFLEX_REDIS_URL=url) as app:
            pages = [open_tab(browser, app.ready().url) for _ in range(3)]
            assert [count(page) for page in pages] == [1, 1, 1]
            network.lose()
            lost = time.monotonic()
            for page in pages:
                page.click("#increment")
            for page in pages:
                expect(page.get_by_text("An error occurred")).to_be_visible(timeout=8000)
            time.sleep(max(0, lost + 12 - time.monotonic()))
            network.restore()
            time.sleep(BACK / 1000)
            before = [int(page.inner_text("#count")) for page in pages]
            assert all(number in {1, 2} for number in before)
            assert [count(page) for page in pages] == [number + 1 for number in before]
            for page in pages:
                page.context.close()
        assert "Task exception was never retrieved" not in app.log
