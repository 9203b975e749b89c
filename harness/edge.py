"""A stand-in for Cloud Run's front end: ends TLS and tells the app who the visitor is. A real Caddy plays it."""

import socket
import ssl
import subprocess
from pathlib import Path
from typing import Self

from harness.commands import clean_environment
from harness.processes import until
from harness.tcp_ports import free_port


class Edge:
    """An https address on the loopback in front of an app's port."""

    def __init__(self, caddy: Path, port: int, folder: Path, token: str = "", host: str = "") -> None:
        """Start it.

        Args:
            caddy: The program.
            port: Where the app listens.
            folder: An empty one, for its configuration and its certificates.
            token: What a request must bring to get in, as to a private service; everybody may if it is empty.
            host: The host that the app is told; the visitor's own if it is empty. `gcloud run services proxy` tells the
                service's: https://github.com/GoogleCloudPlatform/cloud-run-proxy.
        """
        self.port, plain = free_port(), free_port()
        self.plain_url = f"http://localhost:{plain}"
        guard = f'\t@outside not header Authorization "Bearer {token}"\n\trespond @outside 403\n' if token else ""
        told = f" {{\n\t\theader_up Host {host}\n\t}}" if host else ""
        inside = f"{guard}\treverse_proxy localhost:{port}{told}\n"
        # Not localhost by itself: Reflex treats that name differently.
        self.url = f"https://app.localhost:{self.port}"
        (folder / "Caddyfile").write_text(
            f"{{\n\tadmin off\n\tpersist_config off\n\tskip_install_trust\n\tauto_https disable_redirects\n"
            f"\tstorage file_system {folder}\n}}\n"
            f"{self.url} {{\n\ttls internal\n{inside}}}\n{self.plain_url}, http://127.0.0.1:{plain} {{\n{inside}}}\n"
        )
        with (folder / "edge.log").open("w") as log:
            self.process = subprocess.Popen(
                [caddy, "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"],
                env=clean_environment(HOME=str(folder), XDG_DATA_HOME=str(folder), XDG_CONFIG_HOME=str(folder)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        """Wait until it has its certificate."""
        until(lambda: self.speaks_tls() or self.process.poll() is not None, 30)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(15)

    def speaks_tls(self) -> bool:
        """Return whether a connection can be made; the certificate is its own."""
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        try:
            plain = socket.create_connection(("127.0.0.1", self.port), timeout=5)
            with plain, trusting.wrap_socket(plain, server_hostname="app.localhost"):
                return True
        except OSError:
            return False
