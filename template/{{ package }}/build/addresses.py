"""Makes the built pages connect to the address they were loaded from, so that one image serves any address and port.

Reflex writes `api_url` into the pages and has no setting for this.
"""

import ipaddress
import re
import urllib.parse
from pathlib import Path


def use_own_address(pages: Path, api_url: str, deploy_url: str | None) -> None:
    """Replace the backend's address in the built pages; a page on plain http keeps its port.

    Args:
        pages: The folder of the built pages.
        api_url: The app's setting. With a separate backend nothing is changed.
        deploy_url: The app's setting.

    Raises:
        RuntimeError: If no file names the backend as this version of Reflex is known to do it.
    """
    if backend := separate_backend(api_url, deploy_url):
        print(
            f"production.build: the pages connect to {backend}, the api_url of rxconfig.py, wherever they are loaded"
            " from. Without api_url they connect to their own address."
        )
        return
    host = urllib.parse.urlsplit(api_url)
    address = re.compile(rf"""(["'`])(http|ws)s?://{re.escape(host.netloc)}(/[^"'`]*)\1""")
    origin = {"http": "location.origin", "ws": "location.origin.replace(/^http/,'ws')"}
    changed = 0
    assets = pages / "assets"
    for script in [*assets.glob("reflex-env-*.js")] or assets.glob("*.js"):  # the early 0.8 has no file for it
        # "http://localhost:8000/ping" becomes (location.origin+"/ping"), in whichever quotes it stands.
        code, count = address.subn(
            lambda found: "({}+{}{}{})".format(origin[found[2]], *found.group(1, 3, 1)), script.read_text()
        )
        script.write_text(code)
        # The compressed copies have the old address, and the file is too small to compress again.
        for compressed in script.parent.glob(f"{script.name}.*"):
            compressed.unlink()
        changed += count
    if not changed:
        msg = f"No built file names {api_url} as the backend: addresses.py does not know this version of Reflex."
        raise RuntimeError(msg)


def separate_backend(api_url: str, deploy_url: str | None) -> str:
    """Return the address of a backend that is not where the pages are, such as `https://api.example.com`; else nothing.

    An `api_url` on this machine is one for development, and one with the host of `deploy_url` is the app itself.
    """
    same = urllib.parse.urlsplit(api_url).netloc == urllib.parse.urlsplit(deploy_url or "").netloc
    return "" if same else public_origin(api_url)


def public_origin(url: str | None) -> str:
    """Return what a browser sends as `Origin` for a page at an address; nothing for an address of this machine."""
    parts = urllib.parse.urlsplit(url or "")
    return "" if is_this_machine(parts.hostname or "localhost") else f"{parts.scheme}://{parts.netloc}"


def is_this_machine(host: str) -> bool:
    """Return whether a host name or address is the machine that the browser runs on, or no particular one."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified
