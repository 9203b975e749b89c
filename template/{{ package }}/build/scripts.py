"""Lists the inline scripts of each page for its Content-Security-Policy, and names what that policy rejects."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

INLINE = re.compile(r"""jsx\("script",\{(?![^{}]*\bsrc:)[^{}]*\},(?:("(?:[^"\\]|\\.)*")\)|(?!\)))""")
"""An inline script in a page's source: its text, or nothing if the text is computed in the browser."""
LOADED = re.compile(
    r"""(?:\bsrc:"|@import\s+(?:url\()?["']?|url\(["']?|jsx\("link",\{[^{}]*?\bhref:")(https?://[^/"')]+)"""
)
"""Where a page's source or a style sheet loads something from another site."""


def script_hashes(static_dir: Path, web: Path) -> str:
    """Return a `map` for the Caddyfile from a page's path to the hashes of its inline scripts.

    A path that is not listed gets the page 404.html. A script that is added in the browser may come with any page:
    a click on a link does not load another document.

    Args:
        static_dir: The folder that Caddy serves.
        web: Reflex's folder, with the sources of the pages.
    """
    added = hashes_of(json.loads(text) for source in sources_in(web) for text in INLINE.findall(source) if text)
    sources: dict[str, dict[str, None]] = {"default": dict.fromkeys(added)}
    for page in sorted(static_dir.rglob("*.html")):
        path = "/" + page.relative_to(static_dir).as_posix().removesuffix(".html").removesuffix("index").strip("/")
        scripts = re.findall(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", page.read_text(), re.DOTALL)
        for address in ["default"] if path == "/404" else [path, f"{path}/" if path != "/" else path]:
            sources.setdefault(address, dict.fromkeys(added)).update(dict.fromkeys(hashes_of(scripts)))
    lines = [f'\t{address} "{" ".join(hashes)}"\n' for address, hashes in sources.items()]
    return f"map {{http.request.orig_uri.path}} {{inline_scripts}} {{\n{''.join(lines)}}}\n"


def hashes_of(scripts: Iterable[str]) -> list[str]:
    """Return the sources of some scripts as a Content-Security-Policy has them."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


def sources_in(web: Path) -> Iterator[str]:
    """Read the sources of the pages and their style sheets."""
    for folder in ("app", "app_components", "utils", "styles"):
        for file in sorted((web / folder).rglob("*")):
            if file.suffix in (".js", ".jsx", ".css"):
                yield file.read_text()


def name_rejected(web: Path, caddyfile: Path) -> None:
    """Print what the pages need and the Content-Security-Policy in the Caddyfile, if it has one, would reject."""
    policy = re.search(r"^\s*header \?Content-Security-Policy .*", caddyfile.read_text(), re.MULTILINE)
    if not policy:
        return
    texts = list(sources_in(web))
    for site in sorted({site for text in texts for site in LOADED.findall(text) if site not in policy[0]}):
        print(f"production.build: a page loads from {site}: add it to the Content-Security-Policy in the {caddyfile}.")
    if "{inline_scripts}" in policy[0] and any(not text for source in texts for text in INLINE.findall(source)):
        print(
            "production.build: the text of an inline script is computed in the browser: write 'unsafe-inline' for"
            f" {{inline_scripts}} in the {caddyfile}, or move the script into a file in assets/."
        )
