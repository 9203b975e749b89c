"""What a visitor writes into X-Forwarded-For, X-Forwarded-Proto and Host is not believed."""

import json
import re
import socket

import pytest

from harness.additions import STATES, with_more_pages
from harness.client import INCREMENT, Tab, wait
from harness.servers import SERVERS
from harness.serving import Served

pytestmark = pytest.mark.slow

VISITOR, FORGED, BALANCER = "203.0.113.7", "198.51.100.66", "192.0.2.1"


async def seen(port, forwarded):
    """Give the address that the app sees, of a request that comes with the header from Google's front end."""
    tab = await Tab.open(port, headers={"X-Forwarded-For": forwarded})
    await tab.socket.send("42/_event," + json.dumps(["event", INCREMENT | {"name": f"{STATES}who.look"}]))
    while '"address_rx_state_"' not in (message := await tab.receive()):
        pass
    await tab.close()
    return re.search(r'"address_rx_state_":"([^"]*)"', message)[1]


@pytest.mark.parametrize("server", SERVERS)
def test_a_forged_address_is_not_the_visitors(server, project):
    """Google's front end appends the address that it sees; what stood there before, the visitor has written.

    https://cloud.google.com/load-balancing/docs/https#x-forwarded-for_header
    """
    made = with_more_pages(project({"server": server}))
    with Served(made) as app:
        port = app.ready().port
        assert wait(seen(port, VISITOR)) == VISITOR
        assert wait(seen(port, f"{FORGED}, {VISITOR}")) == VISITOR
        assert wait(seen(port, f"{FORGED},{FORGED} , {VISITOR}")) == VISITOR
    # Behind a load balancer, as the README says.
    config = made / "rxconfig.py"
    config.write_text(config.read_text().replace("trusted_proxy_hops=2", "trusted_proxy_hops=3"))
    with Served(made) as app:
        assert wait(seen(app.ready().port, f"{FORGED}, {VISITOR}, {BALANCER}")) == VISITOR


def ask(port, *lines):
    """Send a request as it is and give the answer."""
    with socket.create_connection(("localhost", port), timeout=10) as connection:
        connection.sendall("\r\n".join(["GET / HTTP/1.1", *lines, "Connection: close", "", ""]).encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer.decode(errors="replace")


HOSTS = [
    "evil.example",
    "evil.example;script-src",
    "evil.example;script-src'none'",
    "a,b",
    "[::1]",
    "evil.example:99999",
]


def test_a_forged_host_opens_nothing(project):
    with Served(project(built=True)) as app:
        port = app.ready().port
        for host in HOSTS:
            answer = ask(port, f"Host: {host}", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https")
            head, _, body = answer.partition("\r\n\r\n")
            assert "evil.example" not in body
            assert "location:" not in head.lower()
            if " 400 " in head.split("\r\n")[0]:
                continue
            assert " 200 " in head.split("\r\n")[0]
            policy = re.search(r"(?i)^content-security-policy: (.*)$", head, re.MULTILINE)[1]
            # Of two directives with the same name a browser takes the first: https://www.w3.org/TR/CSP3/#parse-serialized-policy
            scripts = next(part for part in policy.split(";") if part.strip().startswith("script-src"))
            assert re.fullmatch(r" script-src 'self' 'unsafe-eval'( 'sha256-[^']+')+ ?", scripts), host
