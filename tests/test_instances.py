"""Several instances on one Redis: a tab that comes back to another one goes on where it was."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import expect

from harness.additions import STATES, with_more_pages
from harness.caches import ROOT
from harness.client import INCREMENT, Tab, wait
from harness.commands import must_run, run
from harness.processes import until
from harness.redis_server import redis_server
from harness.serving import Served
from harness.tcp_ports import free_port, listens
from harness.visitor import open_page
from tests.variants import SERVERS

pytestmark = pytest.mark.slow


async def click(port, token):
    """Open the tab of that token, click, close it, and give the number that the page would show."""
    tab = await Tab.open(port, token)
    message = await tab.click()
    await tab.close()
    return count(message)


def count(message):
    """Read the number that the page would show."""
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


@pytest.fixture(params=SERVERS)
def two(request, project, redis_url):
    """Run two instances of an app with each server."""
    made = project({"server": request.param, "state_store": "redis", "max_instances": 2}, built=True)
    with Served(made, REFLEX_REDIS_URL=redis_url) as one, Served(made, REFLEX_REDIS_URL=redis_url) as other:
        one.ready()
        other.ready()
        yield one, other


async def click_twice_and_kill(app, processes):
    """Click twice in a new tab, kill the processes that a function lists, and give the tab's token."""
    tab = await Tab.open(app.port)
    assert [count(await tab.click()) for _ in range(2)] == [1, 2]
    # Stopped first, so that none sees another die and tidies up, and again until none was started meanwhile.
    stopped = []
    while started := [process for process in processes() if process not in stopped]:
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)
        stopped += started
    # The newest first: the kernel sends the stopped children of a shell that ends SIGHUP, and a server would reload.
    for process in reversed(stopped):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return tab.token


# An event is answered before its state is written: who is killed in between loses it. The click before that is written.
GOES_ON = (2, 3)


def test_a_killed_instance_leaves_its_open_tabs_to_another(two):
    one, other = two
    token = wait(click_twice_and_kill(one, one.members))
    until(lambda: one.members() == [], 10)
    assert wait(click(other.port, token)) in GOES_ON


def test_a_killed_worker_leaves_its_open_tabs_to_the_next(project, redis_url):
    made = project({"server": "gunicorn", "state_store": "redis"}, built=True)
    with Served(made, REFLEX_REDIS_URL=redis_url) as app:
        app.ready()
        _, worker = app.pids("gunicorn")
        token = wait(click_twice_and_kill(app, lambda: [worker]))
        assert wait(click(app.port, token)) in GOES_ON


LONG = INCREMENT | {"name": f"{STATES}long.run"}


def upload(port, token):
    """Send a file in the name of a tab, and give the seconds until the answer."""
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\nhello\r\n--x--\r\n'
    headers = {
        "Content-Type": "multipart/form-data; boundary=x",
        "Reflex-Client-Token": token,
        "Reflex-Event-Handler": "reflex___state____state.my_reflex_app___state____uploads.receive",
    }
    request = urllib.request.Request(f"http://localhost:{port}/_upload", body, headers, method="POST")
    started = time.monotonic()
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()
    return time.monotonic() - started


@pytest.fixture(params=SERVERS)
def slow_project(request, project):
    """Have a project with an event that holds the lock of its tab for a second."""
    return with_more_pages(project({"server": request.param, "state_store": "redis", "max_instances": 2}))


async def wait_for_the_other(one, other):
    """Have an instance wait for the lock of a tab that another has, and give the seconds."""
    tab = await Tab.open(one)
    await tab.socket.send("42/_event," + json.dumps(["event", LONG]))
    await asyncio.sleep(0.3)
    return await asyncio.to_thread(upload, other, tab.token)


def test_an_instance_hears_of_a_lock_only_while_it_waits_for_it(slow_project, redis_url):
    """Otherwise each hears of every event of every other, and all together can do no more than one can hear of."""
    with contextlib.ExitStack() as stack:
        apps = [stack.enter_context(Served(slow_project, REFLEX_REDIS_URL=redis_url)) for _ in range(2)]
        one, other = (app.ready().port for app in apps)
        for _ in range(3):
            assert 0.3 < wait(wait_for_the_other(one, other)) < 3  # without a notice: 10 s
        # With Reflex's own pattern for all locks a listener has two.
        listeners = run("redis-cli", "-u", redis_url, "client", "list", "type", "pubsub", cwd=slow_project).stdout
        assert " psub=1 " in listeners
        assert " psub=2 " not in listeners


@pytest.mark.parametrize("program", ["cancelled_event.py", "granted_late.py"])
def test_a_lock_that_no_event_wants_any_more_is_given_back(program, project, redis_url):
    """Otherwise its tab stands still for the 10 s that a lock lasts."""
    made = project({"state_store": "redis"})
    must_run(
        ".venv/bin/python",
        ROOT / "tests/programs" / program,
        cwd=made,
        PYTHONPATH=".",
        REFLEX_REDIS_URL=redis_url,
    )


@pytest.mark.parametrize("program", ["expired_lock.py", "kept_parts.py"])
def test_workers_that_change_a_tab_in_turn_keep_each_others_locks_and_changes(program, project, redis_url):
    """Otherwise a third event could begin while another runs, and what one of them did would be lost."""
    made = project({"state_store": "redis"})
    programs = ROOT / "tests/programs"
    must_run(".venv/bin/python", programs / program, cwd=made, PYTHONPATH=f".:{programs}", REFLEX_REDIS_URL=redis_url)


def test_without_notices_an_event_that_waits_for_another_instance_waits_longer(slow_project, tmp_path):
    """Some hosted Redis have no CONFIG and tell of no lock: such an event, which is rare, tries again after 10 s."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(redis_server(tmp_path, 0, "--rename-command", "CONFIG", ""))
        apps = [stack.enter_context(Served(slow_project, REFLEX_REDIS_URL=url)) for _ in range(2)]
        one, other = (app.ready().port for app in apps)
        token = str(uuid.uuid4())
        assert [wait(click(port, token)) for port in (one, other, one)] == [1, 2, 3]
        assert 0.3 < wait(wait_for_the_other(one, other)) < 13


def test_the_two_instances_of_compose(project, redis_url, browser, tmp_path):
    """Compose itself is not here: its balancer is, in front of two instances that run as processes."""
    made = project({"state_store": "redis", "max_instances": 2}, built=True)
    compose = yaml.safe_load((made / "compose.yaml").read_text())
    assert compose["services"]["one"] == compose["services"]["two"]
    assert compose["services"]["one"]["environment"]["REFLEX_REDIS_URL"] == "redis://redis:6379/0"
    with Served(made, REFLEX_REDIS_URL=redis_url) as one, Served(made, REFLEX_REDIS_URL=redis_url) as two:
        config, port = compose["configs"]["balancer"]["content"], free_port()
        for name, place in (("one:8080", one.ready().port), ("two:8080", two.ready().port), (":8090", port)):
            assert name in config
            config = config.replace(name, f"localhost:{place}" if name != ":8090" else f":{place}")
        (tmp_path / "Caddyfile").write_text("{\n\tadmin off\n}\n" + config)
        command = [made / ".venv/bin/caddy", "run", "--config", tmp_path / "Caddyfile", "--adapter", "caddyfile"]
        balancer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            until(lambda: listens(port), 10)
            page = browser.new_context().new_page()
            open_page(page, f"http://localhost:{port}")
            for number in ("1", "2"):
                page.click("#increment")
                expect(page.locator("#count")).to_have_text(number)
            mine = next(each for each in (one, two) if established(each.port))
            mine.process.terminate()
            assert mine.ended(10) == 0
            page.wait_for_timeout(3000)
            page.click("#increment")
            expect(page.locator("#count")).to_have_text("3")
            page.context.close()
        finally:
            balancer.terminate()
            balancer.wait(10)


def established(port):
    """Return whether somebody is connected to a port (proc_net_tcp(5): state 01)."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return any(line[1].endswith(f":{port:04X}") and line[3] == "01" for line in lines if len(line) > 3)


def test_a_copy_of_an_open_tab_has_a_state_of_its_own(two):
    """As when a browser duplicates a tab, wherever the copy connects."""

    async def copies():
        tab = await Tab.open(two[0].port)
        await tab.click()
        counts = [await click(instance.port, tab.token) for instance in two]
        return [*counts, count(await tab.click())]

    assert wait(copies()) == [1, 1, 2]


def test_a_tab_that_is_loaded_again_at_once_is_no_copy(two):
    """The new connection may be there before the worker of the old one has seen that it is closed."""

    async def load_again():
        tab = await Tab.open(two[0].port)
        assert [count(await tab.click()) for _ in range(2)] == [1, 2]
        again = asyncio.create_task(click(two[1].port, tab.token))
        await asyncio.sleep(0.1)
        await tab.close()
        return await again

    assert wait(load_again()) == 3


def test_an_open_tab_keeps_what_it_does_not_use(project, redis_url):
    """A visitor who is logged in and uses other parts of the app stays logged in: Reflex renews only what it writes."""
    made = project({"state_store": "redis"}, built=True)

    async def wait_and_click(port):
        tab = await Tab.open(port)
        counts = [count(await tab.click())]
        await asyncio.sleep(9)
        return [*counts, count(await tab.click())]

    settings = {"REFLEX_REDIS_URL": redis_url, "REFLEX_REDIS_TOKEN_EXPIRATION": "6"}
    with Served(made, **settings) as app:
        assert wait(wait_and_click(app.ready().port)) == [1, 2]


def test_instances_know_each_others_tabs_after_redis_was_away(project, tmp_path):
    made = project({"state_store": "redis", "max_instances": 2}, built=True)
    server = (tmp_path, free_port(), "--appendonly", "yes", "--appendfsync", "always")

    async def copy_and_click():
        copied = await click(other.port, tab.token)
        return copied, count(await tab.click())

    # A loop for as long as the tab is open, in a thread: this one may have a loop already.
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def do(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    with contextlib.ExitStack() as apps:
        with redis_server(*server) as url:
            one, other = (apps.enter_context(Served(made, REFLEX_REDIS_URL=url)) for _ in range(2))
            one.ready()
            other.ready()
            tab = do(Tab.open(one.port))
            assert count(do(tab.click())) == 1
        time.sleep(9)  # Reflex stops to listen after 5 errors, one a second
        with redis_server(*server):
            until(lambda: re.search(r"restarted \d listeners", one.log), 10)
            time.sleep(5)
            assert do(copy_and_click()) == (1, 2)
    loop.call_soon_threadsafe(loop.stop)
