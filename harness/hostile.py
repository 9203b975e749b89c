"""What a visitor who means harm sends: requests as bytes, and frames as no page of Reflex sends them."""

import contextlib
import socket
import zlib
from collections.abc import Iterator

from harness.caches import CACHE

TRIED = CACHE / "hostile"
"""What was tried in this test run: in each line a server, what, and how many."""

SECRET_PATHS = [
    *("/_event", "/_event/", "//_event/", "/_event//", "/%5fevent/", "/_event%2f", "/./_event/", "/x/../_event/"),
    *(
        "/_EVENT/",
        "/_event/;x",
        "/_event/./",
        "/_event/%2e%2e/",
        "/_event/?",
        "/\\_event/",
        "/_event%00/",
        "/_event/%0a",
    ),
]
"""Ways to write the path of the event socket."""


def foreign_origins(port: int) -> list[str]:
    """Give origins of pages that are not the app's, as a browser or something else would send them."""
    here = f"localhost:{port}"
    return [
        *("https://evil.example", "null", "file://", f"https://evil.example/://{here}", f"http://{here}.evil.example"),
        *(f"http://{here}@evil.example", f"http://evil.example#{here}", f"http://evil{here}", "http://localhost:1"),
        *("http://localhost", f"http://{here} https://evil.example", f"ftp://{here}", "://", here),
    ]


AMBIGUOUS = [
    b"POST /ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    b"POST /ping HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    b"POST /ping HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST /ping HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"POST /ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST /ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\na",
    b"POST /ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /ping HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"POST /ping HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    b"GET /ping HTTP/1.1\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nHost: localhost\r\n X: folded\r\n\r\n",
    b"GET /pi\x00ng HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET  /ping HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /ping HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"GET /ping\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 20_000 + b"\r\n",
]
"""Requests that two servers could read differently, and requests above a limit."""

EVENT = "reflex___state____state.my_reflex_app___state____counter.increment"

FRAMES = [
    *(
        "",
        "2",
        "3",
        "9",
        "4",
        "40",
        "41",
        "42",
        "43",
        "44",
        "45",
        "46",
        "4\x00",
        "42/_event",
        "42/_event,",
        "42/_event,{",
    ),
    *(
        "42/_event,[]",
        '42/_event,["event"]',
        '42/_event,["event",null]',
        '42/_event,["event",1]',
        '42/_event,["event",[]]',
    ),
    *(
        '42/_event,["event",{}]',
        '42/_event,["event","{"]',
        '42/_event,["event",{"name":1}]',
        '42/_event,["event",{"name":""}]',
    ),
    '42/_event,["event",{"name":"no.such.event","payload":{}}]',
    '42/_event,["event",{"name":"' + EVENT + '","payload":[]}]',
    '42/_event,["event",{"name":"' + EVENT + '","payload":{"no":1}}]',
    '42/_event,["event",{"name":"' + EVENT + '","router_data":7}]',
    '42/_event,["event",{"name":"' + EVENT + '","router_data":{"pathname":' + "[" * 50_000 + "]" * 50_000 + "}}]",
    '42/_event,["event",{"name":"reflex___state____state.set_is_hydrated","payload":{"value":{}}}]',
    '42/_event,["client_error",{"message":"%s"}]' % ("a" * 10_000),
    '42/_event,["disconnect"]',
    '42/_event,["connect",{}]',
    '42/_event,["on_event",{}]',
    "451-/_event," + '["event",{"_placeholder":true,"num":0}]',
    '42/_event,["event",' + "[" * 100_000 + "]" * 100_000 + "]",
    '42/_event,["event",{"name":"%s"}]' % ("a" * 900_000),
]
"""Messages to the event socket that no page sends."""


def ask(port: int, request: bytes, seconds: float = 5) -> bytes:
    """Send bytes and return what comes back, until the other end closes or says nothing for so long."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection, contextlib.suppress(OSError):
        connection.sendall(request)
        while data := connection.recv(65536):
            answer += data
            if b"\r\n\r\n" in answer:
                connection.settimeout(0.3)
    return answer


def bomb(size: int) -> bytes:
    """Give a WebSocket frame, compressed, masked with zeros, of a text that has so many bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(b"4" + b"2" * size) + packer.flush(zlib.Z_SYNC_FLUSH)
    data = data.removesuffix(b"\x00\x00\xff\xff")
    return b"\xc1\xff" + len(data).to_bytes(8, "big") + bytes(4) + data


def open_socket(port: int, origin: str | None = None) -> socket.socket:
    """Open the event socket by hand, with compression."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    lines = [
        "GET /_event/?token=hostile&EIO=4&transport=websocket HTTP/1.1",
        f"Host: localhost:{port}",
        *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
        *("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Extensions: permessage-deflate"),
        *([f"Origin: {origin}"] if origin else []),
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    assert connection.recv(65536).startswith(b"HTTP/1.1 101")
    return connection


def note(server: str, what: str, number: int) -> None:
    """Count what was tried."""
    TRIED.parent.mkdir(parents=True, exist_ok=True)
    with TRIED.open("a") as file:
        file.write(f"{server}\t{what}\t{number}\n")


def tried() -> Iterator[str]:
    """Sum up what was tried, a line for each server."""
    counts: dict[str, dict[str, int]] = {}
    for line in TRIED.read_text().splitlines() if TRIED.exists() else []:
        server, what, number = line.split("\t")
        kinds = counts.setdefault(server, {})
        kinds[what] = kinds.get(what, 0) + int(number)
    for server, kinds in sorted(counts.items()):
        who = server if server == "answers" else f"visitors, {server}"
        yield f"Hostile {who}: " + ", ".join(f"{number} {what}" for what, number in sorted(kinds.items()))
