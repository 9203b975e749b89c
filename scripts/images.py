"""Tells whether container images exist, by the protocol that every registry speaks.

https://distribution.github.io/distribution/spec/api/ and, for who may ask, /spec/auth/token/.
"""

import json
import re
import urllib.error
import urllib.parse
import urllib.request

SECONDS = 15
KINDS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)


def address(image: str) -> tuple[str, str, str]:
    """Split an image's name into its registry's address, its repository and its tag.

    Args:
        image: Such as `caddy:2.11.7`, which is Docker Hub's, or `ghcr.io/astral-sh/uv:0.13.9`.
    """
    name, _, tag = image.partition(":") if "/" not in image else image.rpartition(":")
    host, _, rest = name.partition("/")
    if not rest or not re.search(r"[.:]|^localhost$", host):
        return "https://registry-1.docker.io", name if rest else f"library/{name}", tag
    scheme = "http" if host.startswith("localhost:") else "https"
    return f"{scheme}://{host}", rest, tag


def ask(url: str, token: str = "") -> urllib.request.Request:
    """Write the request for an image's description."""
    headers = {"Accept": KINDS} | ({"Authorization": f"Bearer {token}"} if token else {})
    return urllib.request.Request(url, headers=headers, method="HEAD")  # noqa: S310 - http or https, see address()


def anonymous_token(challenge: str) -> str:
    """Get the token that a registry wants of somebody without an account, from where its challenge says.

    Args:
        challenge: The header `WWW-Authenticate`, such as `Bearer realm="https://…",service="…",scope="…"`.
    """
    terms = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    query = urllib.parse.urlencode({key: value for key, value in terms.items() if key in {"service", "scope"}})
    with urllib.request.urlopen(f"{terms['realm']}?{query}", timeout=SECONDS) as answer:  # noqa: S310
        said = json.load(answer)
    return said.get("token") or said["access_token"]


def exists(image: str) -> bool | None:
    """Tell whether an image exists; None if its registry cannot be reached.

    Args:
        image: Its name and tag.
    """
    registry, repository, tag = address(image)
    url = f"{registry}/v2/{repository}/manifests/{tag}"
    try:
        try:
            urllib.request.urlopen(ask(url), timeout=SECONDS).close()  # noqa: S310
        except urllib.error.HTTPError as answer:
            if answer.code != 401:  # noqa: PLR2004 - Unauthorized: a token is wanted
                raise
            token = anonymous_token(answer.headers["WWW-Authenticate"])
            urllib.request.urlopen(ask(url, token), timeout=SECONDS).close()  # noqa: S310
    except urllib.error.HTTPError as answer:
        return False if answer.code == 404 else None  # noqa: PLR2004 - Not Found
    except (OSError, KeyError, ValueError):
        return None
    return True
