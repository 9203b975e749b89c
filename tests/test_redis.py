"""What a Redis may be and what may happen to it: TLS and a password, no notices, full, two versions of the app."""

import asyncio
import contextlib
import json
import re
import subprocess
import time

import pytest
from playwright.sync_api import expect

from harness.additions import with_more_pages
from harness.caches import ROOT
from harness.client import INCREMENT, Tab, wait
from harness.commands import must_run, run
from harness.installs import build
from harness.network import Network
from harness.processes import until
from harness.redis_server import redis_server
from harness.servers import SERVERS
from harness.serving import Served
from harness.tcp_ports import free_port

pytestmark = pytest.mark.slow

REDIS = {"state_store": "redis", "max_instances": 2}


def count(message):
    """Read the number that the page would show."""
    return int(re.search(r'"count_rx_state_":(\d+)', message)[1])


async def click(port, token, times=1):
    """Open the tab of that token, click, close it, and give the numbers that the page would show."""
    tab = await Tab.open(port, token)
    counts = [count(await tab.click()) for _ in range(times)]
    await tab.close()
    return counts, tab.token


@pytest.fixture
def certificate(tmp_path):
    """Make a certificate for the loopback that is its own authority."""
    key, made = tmp_path / "redis.key", tmp_path / "redis.crt"
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
    command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", made)
    must_run(*command, *names, cwd=tmp_path)
    return key, made


def test_tls_and_a_password(certificate, project, tmp_path):
    key, made_for = certificate
    password, port = "p@ss/word:1", free_port()
    options = ("--tls-port", str(port), "--tls-cert-file", str(key.with_suffix(".crt")), "--tls-key-file", str(key))
    options += ("--tls-ca-cert-file", str(made_for), "--tls-auth-clients", "no", "--requirepass", password)
    made = project(REDIS, built=True)
    quoted = "p%40ss%2Fword%3A1"
    address = f"rediss://default:{{}}@127.0.0.1:{port}/0?ssl_ca_certs={made_for}"
    with redis_server(tmp_path, 0, *options, password=password):
        with Served(made, REFLEX_REDIS_URL=address.format(quoted)) as app:
            assert wait(click(app.ready().port, ""))[0] == [1]
            assert quoted not in app.log
        with Served(made, REFLEX_REDIS_URL=address.format("wr%40ng")) as app:
            assert app.ended(30) != 0
            assert "REFLEX_REDIS_URL" in app.log
            assert re.search(r"WRONGPASS|invalid username-password", app.log)
            assert "wr%40ng" not in app.log
        without = address.partition("?")[0].format(quoted)
        with Served(made, REFLEX_REDIS_URL=without) as app:  # whose certificate nobody vouches for
            assert app.ended(30) != 0
            assert "certificate" in app.log.lower()
            assert quoted not in app.log


def test_a_full_redis_that_removes_states_is_noticed(project, tmp_path):
    made = project(REDIS, built=True)
    full = ("--maxmemory", "4mb", "--maxmemory-policy", "volatile-lru")
    with redis_server(tmp_path, 0, *full) as url, Served(made, REFLEX_REDIS_URL=url) as app:
        wait(click(app.ready().port, ""))
        time.sleep(3)  # the worker has looked once
        fill(url, "EX", "600")
        until(lambda: "Redis is full: it has removed" in app.log, 25)


def fill(url, *options):
    """Write to a Redis until it has no more memory."""
    sizes = [10_000] * 600 + [1_000] * 20 + [100] * 50 + [1] * 500
    commands = "".join(f"SET junk{n} {'x' * size} {' '.join(options)}\n" for n, size in enumerate(sizes))
    port = re.search(r":(\d+)/", url)[1]
    subprocess.run(["redis-cli", "-p", port], input=commands, capture_output=True, text=True, check=True)


def test_a_full_redis_that_takes_no_more_loses_no_click(project, tmp_path):
    made = project(REDIS, built=True)
    with redis_server(tmp_path, 0, "--maxmemory", "4mb", "--maxmemory-policy", "noeviction") as url:
        port = re.search(r":(\d+)/", url)[1]
        with Served(made, REFLEX_REDIS_URL=url) as app:

            async def full():
                tab = await Tab.open(app.ready().port)
                counts = [count(await tab.click())]
                fill(url)
                run("redis-cli", "-p", port, "config", "set", "maxmemory", "1mb", cwd=made)
                await tab.socket.send('42/_event,["event",' + json.dumps(INCREMENT) + "]")
                async with asyncio.timeout(20):
                    while "An error occurred" not in await tab.receive():
                        pass
                run("redis-cli", "-p", port, "config", "set", "maxmemory", "0", cwd=made)
                return [*counts, count(await tab.click())]

            assert wait(full()) == [1, 2]
            assert "OutOfMemoryError" in app.log


def test_a_command_whose_connection_is_broken_off_before_it_is_sent_fails_as_one_of_redis(project, redis_url):
    """Otherwise uvloop raises what neither Reflex nor redis-py expects, and what works in the background ends."""
    made = project(REDIS)
    printed = must_run(
        ".venv/bin/python",
        ROOT / "tests/programs/broken_connection.py",
        cwd=made,
        PYTHONPATH=".",
        REFLEX_REDIS_URL=redis_url,
    )
    assert "failed: Redis has not answered for 2 s\n" in printed
    assert "again: True\n" in printed
    assert "go on: True\n" in printed


ROUND_TRIPS = "production/fixes/event_round_trips.py"


def test_an_event_asks_redis_twice(project, redis_url):
    """Each question takes as long as the way there and back, and a part of what one Redis can do for all instances."""

    def scripts():
        said = must_run("redis-cli", "-u", redis_url, "info", "commandstats", cwd=made)
        return int(re.search(r"^cmdstat_eval:calls=(\d+)", said, re.MULTILINE)[1])

    made = project(REDIS, built=True)
    must_run("redis-cli", "-u", redis_url, "config", "resetstat", cwd=made)
    with Served(made, REFLEX_REDIS_URL=redis_url) as app:
        _, token = wait(click(app.ready().port, "", 1))
        before = scripts()
        wait(click(app.port, token, 20))
        until(lambda: scripts() >= before + 2 * 20, 5)
        assert scripts() <= before + 2 * 24  # with what a page asks when it connects


@pytest.mark.parametrize(
    "commands",
    [("'MGET'", "'PTTL'"), ("\r\nSET\r\n", "\r\nMGET\r\n", "'PTTL'", "'DEL'")],
    ids=["two", "reflexs four"],
)
def test_an_event_goes_on_at_once_if_redis_did_what_it_asked_but_the_answer_was_lost(commands, project, redis_url):
    """The client asks again. Of a lock Redis says that somebody has it, the event itself, which would wait 10 s."""

    async def clicks(app, network):
        tab = await Tab.open(app.ready().port)
        for number, command in enumerate(commands):
            network.lose_answer_to(command.encode())
            async with asyncio.timeout(5):
                # The page has its answer before the state is written and the lock is given back.
                assert [count(await tab.click()) for _ in range(2)] == [2 * number + 1, 2 * number + 2], command
        await tab.close()

    network, url = Network.to(redis_url)
    made = project(REDIS, built=True)
    if len(commands) > 2:
        (made / ROUND_TRIPS).unlink()
    with network, Served(made, REFLEX_REDIS_URL=url) as app:
        wait(clicks(app, network))


@pytest.mark.parametrize("server", SERVERS)
def test_a_tab_that_was_opened_without_redis_is_filled_once_it_is_back(server, browser, project, tmp_path):
    made = with_more_pages(project(REDIS | {"server": server}))
    with redis_server(tmp_path) as redis_url:
        network, url = Network.to(redis_url)
        with network, Served(made, REFLEX_REDIS_URL=url) as app:
            app.ready()
            network.lose()
            page = browser.new_context().new_page()
            page.goto(f"{app.url}/loading")
            page.wait_for_timeout(6000)
            assert page.inner_text("#loaded") == "nothing yet"
            network.restore()
            expect(page.locator("#loaded")).to_have_text("it is loaded", timeout=8000)
            page.context.close()


NEW = """

class Cart(rx.State):
    items: int = 5
"""


def test_two_versions_share_the_states_that_both_know(project, redis_url, tmp_path):
    """As during a deployment: a class whose variables have changed is reset, every other keeps its values."""
    old = project(REDIS, built=True)
    new = tmp_path / "new"
    must_run("cp", "-R", old, new, cwd=tmp_path)
    with (new / "my_reflex_app/state.py").open("a") as state:
        state.write(NEW)
    build(new)
    changed = tmp_path / "changed"
    must_run("cp", "-R", new, changed, cwd=tmp_path)
    state = changed / "my_reflex_app/state.py"
    state.write_text(state.read_text().replace("    count: int = 0\n", "    count: int = 0\n    clicks: int = 0\n", 1))
    build(changed)
    with contextlib.ExitStack() as apps:
        first, second, third = (
            apps.enter_context(Served(made, REFLEX_REDIS_URL=redis_url)).ready() for made in (old, new, changed)
        )
        counts, token = wait(click(first.port, "", 2))
        assert counts == [1, 2]
        assert wait(click(second.port, token))[0] == [3]  # the new version, and back
        assert wait(click(first.port, token))[0] == [4]
        assert wait(click(third.port, token))[0] == [1]  # its Counter is another one
