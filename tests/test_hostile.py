"""Visitors who mean harm: whatever they send, the next visitor is served within a second, by the same processes."""

import contextlib
import itertools
import socket
import time

import pytest
from websockets.exceptions import WebSocketException

from harness.client import Tab, wait
from harness.hostile import AMBIGUOUS, FRAMES, SECRET_PATHS, ask, bomb, foreign_origins, note, open_socket
from harness.installs import build
from harness.projects import copy_files
from harness.servers import SERVERS
from harness.serving import Served
from harness.visitor import click_to_three

pytestmark = pytest.mark.slow

TRANSPORTS = ["websocket", "polling"]
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
UPLOAD = (
    "POST /_upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
    "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
)
STATUSES = {None, 200, 400, 404, 405, 408, 411, 413, 414, 431, 501, 502, 505}


@pytest.fixture(scope="module", params=SERVERS)
def app(request, render, tmp_path_factory):
    """Serve the default project with a server, to all visitors of this file."""
    made = tmp_path_factory.mktemp("hostile") / "project"
    copy_files(render({"server": request.param}), made)
    build(made)
    with Served(made) as served:
        served.server = request.param
        served.ready()
        wait(visit(served.port))
        yield served


@pytest.fixture(autouse=True)
def unharmed(app):
    """Serve another visitor within a second afterwards, by the same processes, with hardly more memory."""
    processes, memory = app.members(), app.mebibytes()
    yield
    with app.within(1):
        assert app.get("/")[0] == 200
        assert wait(visit(app.port)) == 1
    assert app.members() == processes
    assert app.mebibytes() - memory < 100


async def visit(port):
    """Open a tab, click, and give the number on the page."""
    tab = await Tab.open(port)
    message = await tab.click()
    await tab.close()
    return int(message.partition('"count_rx_state_":')[2].partition("}")[0])


def status(answer):
    """Read the status of an answer; nothing if there is none."""
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.") else None


def test_no_page_of_another_site_reaches_the_events(app):
    tries = list(itertools.product(foreign_origins(app.port), SECRET_PATHS, TRANSPORTS))
    for origin, path, transport in tries:
        query = f"{'&' if '?' in path else '?'}EIO=4&transport={transport}"
        upgrade = UPGRADE if transport == "websocket" else ""
        request = (
            f"GET {path}{query} HTTP/1.1\r\nHost: localhost:{app.port}\r\nOrigin: {origin}\r\n{upgrade}"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nConnection: close\r\n\r\n"
        )
        answer = ask(app.port, request.encode())
        assert status(answer) != 101, (origin, path, transport)
        assert b'"sid"' not in answer, (origin, path, transport)
    note(app.server, "requests from foreign pages", len(tries))


def test_its_own_pages_reach_them_however_they_write_the_address(app):
    path = "/_event/?EIO=4&transport=polling"
    for host, origin in (
        (f"localhost:{app.port}", f"http://LOCALHOST:{app.port}"),
        ("shop.example", "https://shop.example"),
        ("Shop.Example", "https://shop.example:443"),
        ("shop.example", "http://SHOP.example:80"),
        ("shop.example:443", "https://shop.example"),
        ("shop.example:80", "http://shop.example"),
    ):
        # Reflex takes no polling: 400 is its own answer.
        assert app.get(path, Host=host, Origin=origin)[0] == 400, (host, origin)


def test_a_browser_with_many_cookies_reaches_them(app):
    """Reflex's docs have an app keep what it likes in cookies; a browser sends up to 4 KB of each."""
    cookies = "; ".join(f"cookie{number}={'a' * 4000}" for number in range(6))
    tab = wait(Tab.open(app.port, headers={"Cookie": cookies}))
    assert tab.token


def test_an_address_in_capitals_works_in_a_browser(app, page):
    click_to_three(page, f"http://LOCALHOST:{app.port}/")


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_no_page_of_another_site_uploads_files(origin, app):
    body = b"--x\r\nContent-Disposition: form-data; name=files; filename=a.txt\r\n\r\nhello\r\n--x--\r\n"
    request = (
        f"POST /_upload HTTP/1.1\r\nHost: localhost:{app.port}\r\nOrigin: {origin}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nConnection: close\r\n\r\n"
    )
    assert status(ask(app.port, request.encode() + body)) == 403


def test_what_two_servers_could_read_differently_is_read_once(app):
    for request in AMBIGUOUS:
        answer = ask(app.port, request, 1)
        assert answer.count(b"HTTP/1.") <= 1, (request[:200], answer)
        assert status(answer) in STATUSES, (request[:200], answer[:200])
    note(app.server, "ambiguous requests", len(AMBIGUOUS))


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_above_the_limit_is_rejected(announced, app):
    length = "Content-Length: 50000000" if announced else "Transfer-Encoding: chunked"
    head = (
        f"POST /_upload HTTP/1.1\r\nHost: localhost:{app.port}\r\n{length}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    part = b"a" * 65536
    chunk = part if announced else b"10000\r\n" + part + b"\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", app.port), timeout=10) as connection:
        connection.sendall(head.encode())
        with contextlib.suppress(OSError):
            while sent < 50_000_000:
                connection.sendall(chunk)
                sent += len(part)
        answer = b""
        with contextlib.suppress(OSError):
            answer = connection.recv(65536)
    assert sent < 25_000_000  # some buffers of the kernel
    assert status(answer) == (413 if announced else 411)
    assert answer.count(b"HTTP/1.") == 1
    note(app.server, "bodies above the limit", 1)


@pytest.mark.parametrize("path", ["/ping", "/_upload", "/_event/", "/", "/nope", "/_health"])
def test_no_part_of_a_body_is_read_as_a_request(path, app):
    """Each of these answers before it has read a body of 3 MB, which contains further requests."""
    inner = f"\r\nGET /favicon.svg HTTP/1.1\r\nHost: localhost:{app.port}\r\n\r\n".encode()
    body = inner * (3_000_000 // len(inner))
    framed = {
        f"Content-Length: {len(body)}": body,
        "Transfer-Encoding: chunked": f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n",
    }
    for (frame, sent), method in itertools.product(framed.items(), ["POST", "GET"]):
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost:{app.port}\r\n{frame}\r\n\r\n"
        answer = ask(app.port, head.encode() + sent)
        assert answer.count(b"HTTP/1.") <= 1, answer  # none if the end of the connection overtakes it
    note(app.server, "bodies with requests in them", 4)


def test_no_frame_harms(app):
    async def send(frame):
        tab = await Tab.open(app.port)
        with contextlib.suppress(WebSocketException, OSError, TimeoutError):
            await tab.socket.send(frame)
            await tab.socket.send(frame)
            await tab.close()

    async def send_all():
        for frame in FRAMES:
            await send(frame)

    wait(send_all())
    note(app.server, "frames", len(FRAMES))


def test_no_compressed_bomb_harms(app):
    for size in (2_000_000, 20_000_000, 200_000_000):
        with contextlib.suppress(OSError), open_socket(app.port) as connection:
            connection.sendall(bomb(size))
            connection.settimeout(2)
            while connection.recv(65536):
                pass
    note(app.server, "compressed bombs", 3)


def test_slow_visitors_do_not_keep_others_waiting(app):
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", app.port))) for _ in range(500)]
        heads = [
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
            UPLOAD.encode(),
        ]
        for number, connection in enumerate(slow):
            connection.sendall(heads[number % 2])
        for _ in range(3):
            for connection in slow:
                with contextlib.suppress(OSError):
                    connection.sendall(b"a")
            with app.within(1):
                assert app.get("/")[0] == 200
                assert wait(visit(app.port)) == 1
            time.sleep(0.5)
    note(app.server, "slow connections", len(slow))


def test_nothing_names_the_servers(app):
    for path in ("/", "/ping", "/nope", "/_upload/nope", "/_event/?EIO=4&transport=polling"):
        headers = app.get(path)[1]
        assert not {"server", "via", "x-powered-by"} & headers.keys(), path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
    assert app.get("/", X_Forwarded_Proto="https")[1]["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in app.get("/")[1]
