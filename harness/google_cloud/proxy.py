"""A stand-in for Identity-Aware Proxy: it lets in who brings a token for the address of a service and has the role.

A person's sign-in, which ends with a cookie, happens on Google's own pages and is not part of it.
"""

import contextlib
import re
import socket
import time

from harness.google_cloud import GoogleCloud, metadata
from harness.google_cloud.access import PROJECT
from harness.network import Balancer

ENTER = "iap.webServiceVersions.accessViaIAP"
HOUR = 3600
REJECTIONS = {
    302: ("Found", "Location: https://accounts.google.com/o/oauth2/v2/auth\r\n"),
    401: ("Unauthorized", ""),
    403: ("Forbidden", ""),
}


class IdentityAwareProxy(Balancer):
    """An address that passes on the connections whose first request may enter.

    https://cloud.google.com/iap/docs/authentication-howto#signed-jwt: a service account signs a JSON Web Token with
    `iss`, `sub` and `aud`, which is an address of the service, or `/*` behind it, and lasts an hour at most.
    """

    def __init__(self, cloud: GoogleCloud, port: int) -> None:
        """Stand in front of a port, with the roles that a cloud knows."""
        super().__init__([port])
        self.cloud = cloud
        self.url = f"http://localhost:{self.port}"

    def serve(self, client: socket.socket) -> None:
        """Read the head of the first request, and pass the connection on or reject it."""
        head = b""
        with contextlib.suppress(OSError):
            client.settimeout(10)
            while b"\r\n\r\n" not in head and (part := client.recv(1 << 16, socket.MSG_PEEK)):
                head = part
        if status := self.reason_against(head.decode("latin-1")):
            reason, header = REJECTIONS[status]
            with contextlib.suppress(OSError), client:
                client.recv(1 << 16)
                client.sendall(
                    f"HTTP/1.1 {status} {reason}\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
                )
            return
        client.settimeout(None)
        super().serve(client)

    def reason_against(self, head: str) -> int:
        """Return the status with which a request is rejected; 0 if it may enter."""
        found = re.search(r"^Authorization: Bearer (\S+)\r$", head, re.MULTILINE | re.IGNORECASE)
        if not found:
            return 302
        try:
            claims = metadata.claims_of(found[1])
        except (IndexError, ValueError):
            return 401
        lasts = claims.get("exp", 0) - time.time()
        if (
            claims.get("aud") not in {self.url, f"{self.url}/*"}
            or claims.get("iss") != claims.get("sub")
            or not 0 < lasts <= HOUR
        ):
            return 401
        return 0 if self.cloud.may(f"serviceAccount:{claims['iss']}", ENTER, f"projects/{PROJECT}") else 403
