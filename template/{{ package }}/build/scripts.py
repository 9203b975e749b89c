"""Lists the inline scripts of each page for its Content-Security-Policy."""

import base64
import hashlib
import re
from pathlib import Path


def script_hashes(static_dir: Path) -> str:
    """Return a `map` for the Caddyfile from a page's path to the hashes of its inline scripts.

    A path that is not listed gets the page 404.html. `static_dir` is the folder that Caddy serves.
    """
    sources: dict[str, dict[str, None]] = {"default": {}}
    for page in sorted(static_dir.rglob("*.html")):
        path = "/" + page.relative_to(static_dir).as_posix().removesuffix(".html").removesuffix("index").strip("/")
        scripts = re.findall(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", page.read_text(), re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
        addresses = ["default"] if path == "/404" else [path, f"{path}/" if path != "/" else path]
        for address in addresses:
            sources.setdefault(address, {}).update(dict.fromkeys(f"'sha256-{value}'" for value in hashes))
    lines = [f'\t{address} "{" ".join(hashes)}"\n' for address, hashes in sources.items()]
    return f"map {{http.request.orig_uri.path}} {{inline_scripts}} {{\n{''.join(lines)}}}\n"
