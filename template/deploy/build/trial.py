"""The third step of cloudbuild.yaml: tries the candidate as a visitor would, before it gets traffic.

Requests the first page, /ping and, over the event socket, the state of a new tab. Runs in the app's own image. The
build goes on when this fails, so that deploy/build/traffic can remove the candidate's address; the file
.candidate/passed is the result.
"""

import json
import os
import re
import socket
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path

import simple_websocket

SECONDS = int(os.environ.get("TRIAL_SECONDS", "120"))
"""How long the whole trial may take. The instance that is started for it has to import the app first."""

PUBLIC = r"https?://(?!localhost|127\.|0\.0\.0\.0|\[::1\])[^/]+"
"""An origin that a visitor's browser may send: not that of a page on a developer's machine."""


class TrialError(Exception):
    """The candidate answered, and not as it should."""


def fetch(url: str, headers: dict[str, str], seconds: float) -> str:
    """Request an address and return the content type; a status that is not a success raises urllib's error."""
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - deploy/build/candidate wrote the address
    with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
        return answer.headers.get_content_type()


def page(url: str, headers: dict[str, str], seconds: float) -> None:
    """Request the first page.

    Raises:
        TrialError: If the answer is not a page.
    """
    kind = fetch(f"{url}/", headers, seconds)
    if kind != "text/html":
        msg = f"the answer is {kind}, not a page"
        raise TrialError(msg)


def ping(url: str, headers: dict[str, str], seconds: float) -> None:
    """Check that the backend responds."""
    fetch(f"{url}/ping", headers, seconds)


def app_settings() -> dict:
    """Read what the app's build wrote about its event socket, in this folder or in the image."""
    for folder in (Path(), Path("/app")):
        written = folder / ".web/build/events.json"
        if written.exists():
            return json.loads(written.read_text())
    return {"backend_path": "", "transport": "websocket", "has_state": True}


def as_a_page(app: dict, url: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return the address that the built pages connect to, and the headers that a browser sends there.

    Raises:
        TrialError: If `cors_allowed_origins` rejects every page.
    """
    address, origins, deployed = url, app.get("origins"), app.get("deploy_url")
    if backend := app.get("backend"):
        print(f"trial: event: the pages connect to {backend}, the api_url of rxconfig.py", flush=True)
        address, headers = backend, {}
    if origins is None or url in origins:
        return address, headers | {"Origin": url}
    others = [origin for origin in origins if re.fullmatch(PUBLIC, origin)]
    if deployed in others if deployed else others:
        print(f"trial: event: tried without an origin; cors_allowed_origins allows {', '.join(others)}", flush=True)
        return address, headers
    msg = f"cors_allowed_origins of rxconfig.py rejects the pages of {deployed or url}: it is {origins}"
    raise TrialError(msg)


def event(url: str, headers: dict[str, str], seconds: float) -> None:
    """Open the event socket and request the state of a new tab, as the browser does when a page opens.

    The messages are those of Engine.IO 4 and Socket.IO 5: https://socket.io/docs/v4/socket-io-protocol/.

    Raises:
        TrialError: If no state arrives, or a page may not request it.
    """
    app = app_settings()
    transport = Polling if app["transport"] == "polling" else WebSocket
    url, headers = as_a_page(app, url, headers)
    address = f"{url}/_event/?token={uuid.uuid4()}&EIO=4&transport={app['transport']}"
    space = f"{app['backend_path']}/_event"
    hydrate = {
        "name": "reflex___state____state.hydrate_and_load",
        "payload": {},
        "router_data": {"pathname": "/", "query": {}, "asPath": "/"},
    }
    tab = transport(address, headers)
    try:
        tab.send(f"40{space}," + json.dumps({"event": hydrate}))
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for message in tab.receive(left):
                if message.startswith(f'42{space},["event"') and '"delta"' in message:
                    return
                if message.startswith(f"40{space},"):
                    tab.send(f"42{space}," + json.dumps(["event", hydrate]))
                elif message == "2":
                    tab.send("3")
    finally:
        tab.close()
    msg = f"the state of a new tab did not arrive within {seconds:.0f} s"
    raise TrialError(msg)


class Client(simple_websocket.Client):
    """Names the port in `Host`, as a browser does: it has to be that of `Origin`."""

    def handshake(self) -> None:
        """Request the connection."""
        if self.port not in {80, 443}:
            self.host = f"{self.host}:{self.port}"
        super().handshake()


class WebSocket:
    """The usual connection of a tab."""

    def __init__(self, address: str, headers: dict[str, str]) -> None:
        """Connect to an http address."""
        self.client = Client(address.replace("http", "ws", 1), headers=headers)
        self.send, self.close = self.client.send, self.client.close

    def receive(self, seconds: float) -> list[str]:
        """Wait for a message."""
        return [self.client.receive(timeout=seconds) or ""]


class Polling:
    """The connection of a tab where rxconfig.py has `transport="polling"`: requests that wait for messages."""

    def __init__(self, address: str, headers: dict[str, str]) -> None:
        """Request an ID for the connection."""
        self.address, self.headers = address, headers
        opened = self.request(None, 30).removeprefix("0")
        self.address += f"&sid={json.loads(opened)['sid']}"

    def request(self, data: bytes | None, seconds: float) -> str:
        """Send data, or wait for some."""
        request = urllib.request.Request(self.address, data, self.headers)  # noqa: S310 - see `fetch`
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
            return answer.read().decode()

    def send(self, message: str) -> None:
        """Send a message."""
        self.request(message.encode(), 30)

    def receive(self, seconds: float) -> list[str]:
        """Wait for messages."""
        return self.request(None, seconds).split("\x1e")

    def close(self) -> None:
        """End the connection."""
        self.send("1")


def attempt(
    what: Callable[[str, dict[str, str], float], None], url: str, headers: dict[str, str], deadline: float
) -> None:
    """Try one thing until it works or the time is over, and say how it went.

    Raises:
        TrialError: With the last reason, if it did not work before `deadline`, a time of `time.monotonic()`.
    """
    while True:
        started = time.monotonic()
        try:
            # One try may take half a minute: Caddy holds it while the backend starts.
            what(url, headers, min(max(deadline - started, 1), 30))
        except (OSError, TrialError, simple_websocket.ConnectionClosed, simple_websocket.ConnectionError) as error:
            # Cloud Run's front end answers in its own name while an instance starts: not the last word.
            reason = f"{type(error).__name__}: {error}"
            print(f"trial: {what.__name__}: {reason}", flush=True)
            if time.monotonic() + 2 > deadline:
                raise TrialError(reason) from None
            time.sleep(2)
        else:
            print(f"trial: {what.__name__}: passed, after {time.monotonic() - started:.2f} s", flush=True)
            return


def main() -> int:
    """Try an address, or the candidate whose address and token are in .candidate/; return the status for the shell."""
    candidate = Path(".candidate")
    given = sys.argv[1] if len(sys.argv) > 1 else ""
    url = (given or (candidate / "url").read_text().strip()).rstrip("/")
    token = "" if given else (candidate / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    print(f"trial: {url}", flush=True)
    socket.setdefaulttimeout(30)  # the WebSocket client would wait for its connection without end
    deadline = time.monotonic() + SECONDS
    for what in (page, ping, event) if app_settings()["has_state"] else (page, ping):
        try:
            attempt(what, url, headers, deadline)
        except TrialError as error:
            kept = "" if given else " The current revision keeps serving."
            print(f"trial: {what.__name__} failed, {error}.{kept}", file=sys.stderr)
            return 1
    if not given:
        (candidate / "passed").touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
