"""Visitors come and go without a login, and leave no memory behind that an instance of 512 MiB could not spare."""

import asyncio
import re
import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.client import Tab, wait
from harness.servers import SERVERS
from harness.serving import Served

pytestmark = pytest.mark.slow

HANDLER = 8
"""Seconds that a slow event handler takes."""
EACH_SERVER = pytest.mark.parametrize("server", SERVERS)


async def visit(port, times):
    """Open so many tabs, 20 at a time, and leave."""
    turns = asyncio.Semaphore(20)

    async def once():
        async with turns:
            tab = await Tab.open(port)
            await tab.close()

    await asyncio.gather(*(once() for _ in range(times)))


async def click(port, token=""):
    """Open a tab, click, leave, and give its token and the number that it showed."""
    tab = await Tab.open(port, token)
    message = await tab.click()
    await tab.close()
    return tab.token, int(re.search(r'"count_rx_state_":(\d+)', message)[1])


@EACH_SERVER
def test_tabs_that_come_and_go_take_no_more_memory(server, project):
    """Without a bound each visit takes some 24 KiB, and two files, for an hour."""
    made = project({"server": server}, built=True)
    with Served(made, CLOSED_TABS="100") as app:
        wait(visit(app.ready().port, 2000))  # those of the last seconds are there in any case
        before = app.mebibytes()
        wait(visit(app.port, 4000))
        assert app.mebibytes() - before < 4000 * 24 / 1024 / 2
        assert re.search(r"removed the state of \d+ closed tabs; 100 are kept", app.log)


def test_a_visitor_who_has_clicked_is_the_last_to_be_forgotten(project):
    made = project(built=True)
    with Served(made, CLOSED_TABS="20") as app:
        token, count = wait(click(app.ready().port))
        assert count == 1
        wait(visit(app.port, 200))
        time.sleep(5)
        assert wait(click(app.port, token)) == (token, 2)
        time.sleep(12)  # Reflex may write a file late
        assert len(list((made / ".states").iterdir())) < 200


@EACH_SERVER
def test_large_uploads_at_once_take_turns(server, project):
    """20 at once of 30 MB would be more than the instance has: a few are taken at a time, the others wait."""
    made = project({"server": server}, built=True)
    with Served(made, MAX_BODY_MB="32") as app:
        tab = wait(opened(app.ready().port))

        def upload(_):
            return send(app, tab, 30_000_000)

        most, done = [app.mebibytes()], threading.Event()

        def watch():
            while not done.wait(0.05):
                most.append(app.mebibytes())

        watching = threading.Thread(target=watch)
        watching.start()
        with ThreadPoolExecutor(20) as pool:
            assert list(pool.map(upload, range(20))) == [200] * 20
        done.set()
        watching.join()
        assert max(most) - most[0] < 350, most
        with app.within(1):
            assert wait(click(app.port))[1] == 1


@EACH_SERVER
def test_uploads_whose_handlers_take_long_keep_nobody_away(server, project):
    made = project({"server": server}, built=True)
    state = made / "my_reflex_app/state.py"
    slow = state.read_text().replace(
        'self.problem = ""', f'self.problem = ""\n        await asyncio.sleep({HANDLER})', 1
    )
    state.write_text(slow)
    with Served(made) as app:
        tabs = [wait(opened(app.ready().port)) for _ in range(5)]
        started = time.monotonic()
        with ThreadPoolExecutor(len(tabs)) as pool:
            assert list(pool.map(lambda tab: send(app, tab, 1_000), tabs)) == [200] * len(tabs)
        assert HANDLER <= time.monotonic() - started < 2 * HANDLER


def send(app, tab, size):
    """Upload a file of so many bytes as a tab does; returns the status when its event handler has ended."""
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'
    headers = {
        "Content-Type": "multipart/form-data; boundary=x",
        "Reflex-Client-Token": tab,
        "Reflex-Event-Handler": "reflex___state____state.my_reflex_app___state____uploads.receive",
    }
    body = head + b"a" * size + b"\r\n--x--\r\n"
    request = urllib.request.Request(f"{app.url}/_upload", body, headers, method="POST")
    with urllib.request.urlopen(request, timeout=90) as answer:
        answer.read()
        return answer.status


@pytest.mark.parametrize("megabytes", [1, 4, 9, 32, 198, 1000])
def test_the_limit_of_a_body_is_exact(megabytes, project):
    limit = megabytes * 1_000_000
    lengths = [0, limit - 1, limit, limit + 1, limit + 1_000_000, limit * 10 - 1, limit * 10 + 1, 10**18]
    with Served(project(built=True), MAX_BODY_MB=str(megabytes)) as app:
        app.ready()
        for length in lengths:
            head = f"POST /ping HTTP/1.1\r\nHost: localhost:{app.port}\r\nContent-Length: {length}\r\n\r\n"
            with socket.create_connection(("127.0.0.1", app.port), timeout=10) as connection:
                connection.sendall(head.encode())  # the backend answers before it has the body
                status = int(connection.recv(65536).split()[1])
            assert (status == 413) == (length > limit), length


async def opened(port):
    """Open a tab and give its token."""
    tab = await Tab.open(port)
    await tab.close()
    return tab.token
