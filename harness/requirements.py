"""Reads requirements files with exact versions, as uv writes them."""

import re

from packaging.utils import canonicalize_name


def blocks(text: str) -> dict[str, str]:
    """Split a file into its packages: by name, the lines of each with its hashes."""
    found = re.split(r"\n(?=\S)", text.strip())
    return {re.match(r"[\w.-]+", block)[0]: block for block in found if not block.startswith(("#", "-"))}


def extras(text: str) -> dict[str, set[str]]:
    """Read with which extras packages are pinned: by name, as packages are compared by it."""
    lists = {name: re.match(r"[\w.-]+\[([^]]*)\]", block) for name, block in blocks(text).items()}
    return {canonicalize_name(name): set(re.split(r",\s*", found[1])) for name, found in lists.items() if found}


def versions(text: str) -> dict[str, str]:
    """Read the exact versions: by name, as packages are compared by it."""
    return {canonicalize_name(name): re.search(r"==([^\s;\\]+)", block)[1] for name, block in blocks(text).items()}
