"""The versions in requirements.txt are within the ranges of pyproject.toml; after a change run `scripts/lock`."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(file: str) -> dict[str, str]:
    """Read the exact versions, by package."""
    lines = (ROOT / file).read_text().splitlines()
    pinned = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]
    return {canonicalize_name(package.name): str(package.specifier).removeprefix("==") for package in pinned}


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("requirements.txt", PROJECT["project"]["dependencies"]),
        ("requirements-dev.txt", PROJECT["dependency-groups"]["dev"]),
    ],
)
def test_every_direct_requirement_is_pinned_within_its_range(file, wanted):
    pinned = pins(file)
    for requirement in map(Requirement, wanted):
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier


def test_both_files_pin_the_same_versions():
    production, development = pins("requirements.txt"), pins("requirements-dev.txt")
    assert {name: development[name] for name in production.keys() & development.keys()} == {
        name: production[name] for name in production.keys() & development.keys()
    }
