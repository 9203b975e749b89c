"""Finds which container images exist, by the protocol that every registry speaks.

https://distribution.github.io/distribution/spec/api/ and, for who may ask, /spec/auth/token/.
"""

import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request

SECONDS = 15
"""How long a registry may take for one answer."""

PAGES = 100
"""How many pages of tags are read at most; Docker Hub's `python` has some thousand tags, 1,000 on a page."""

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


def ask(url: str, method: str) -> http.client.HTTPResponse:
    """Send a request to a registry, with the token that it wants of somebody without an account.

    Raises:
        OSError, KeyError, ValueError: If it does not answer, or in another way than the protocol's.
    """
    request = urllib.request.Request(url, headers={"Accept": KINDS}, method=method)  # noqa: S310 - see address()
    try:
        return urllib.request.urlopen(request, timeout=SECONDS)  # noqa: S310
    except urllib.error.HTTPError as answer:
        if answer.code != http.client.UNAUTHORIZED:
            raise
        request.add_header("Authorization", f"Bearer {anonymous_token(answer.headers['WWW-Authenticate'])}")
        return urllib.request.urlopen(request, timeout=SECONDS)  # noqa: S310


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
    """Return whether an image exists; None if its registry cannot be reached.

    Args:
        image: Its name and tag.
    """
    registry, repository, tag = address(image)
    try:
        ask(f"{registry}/v2/{repository}/manifests/{tag}", "HEAD").close()
    except urllib.error.HTTPError as answer:
        return False if answer.code == http.client.NOT_FOUND else None
    except (OSError, KeyError, ValueError):
        return None
    return True


def newest(image: str) -> str | None:
    """Find the newest tag of an image that is like its own; None if its registry cannot be reached.

    Args:
        image: Its name and tag. `caddy:2.11.7` may become any `2.x.y`, and `python:3.13.5-slim-trixie`, which has a
            choice in each part but the last of its version, any `3.13.x-slim-trixie`.
    """
    tags = listed(image)
    if tags is None:
        return None
    tag = image.rpartition(":")[2]
    version, suffix = re.match(r"([\d.]+)(.*)", tag).groups()
    first, rest = version.split(".", 1)
    kept, free = (version.rpartition(".")[0], 1) if suffix else (first, rest.count(".") + 1)
    alike = re.compile(re.escape(kept) + r"\.\d+" * free + re.escape(suffix))
    return max(filter(alike.fullmatch, [*tags, tag]), key=numbers)


def numbers(tag: str) -> tuple[int, ...]:
    """Take the numbers out of a tag, to compare it by."""
    return tuple(map(int, re.findall(r"\d+", tag)))


def listed(image: str) -> list[str] | None:
    """List the tags that a registry has of an image; None if it cannot be reached.

    Args:
        image: Its name and tag.
    """
    registry, repository, _ = address(image)
    url = f"{registry}/v2/{repository}/tags/list?n=1000"
    tags: list[str] = []
    try:
        for _ in range(PAGES):
            with ask(url, "GET") as answer:
                tags += json.load(answer)["tags"] or []
                following = re.match(r'<([^>]+)>; *rel="next"', answer.headers.get("Link", ""))
            if not following:
                return tags
            url = urllib.parse.urljoin(url, following[1])
    except (OSError, KeyError, ValueError):
        return None
    return None
