"""Gives rendered projects their packages and pages, each built once and shared."""

import hashlib
import shutil
from pathlib import Path

from packaging.requirements import Requirement

from harness.caches import CACHE, digest, locked, only_once
from harness.commands import must_run, run
from harness.requirements import versions
from harness.servers import TABLE

SERVERS_OWN = {Requirement(package).name for server in TABLE.values() for package in server["packages"]} | {"hiredis"}
"""The packages on which no page depends; on any other a page may, when it is evaluated."""
NO_SOURCES = {
    *(".copier-answers.yml", ".dockerignore", ".env.example", ".gcloudignore", ".git", ".gitattributes", ".github"),
    *(".venv", ".web"),
    *("Caddyfile", "Dockerfile", "cloudbuild.yaml", "cloud_run", "compose.yaml", "deploy", "docs", "production"),
    *("scripts", "start.sh", "tests", "requirements-dev.txt"),
}
"""What lies in an existing app's folder and no page depends on, beside the parts of production/ below."""


def pinned_by(project: Path) -> list[str]:
    """Name the files with a project's exact versions: of production, and of the tools on a developer's machine."""
    for package in ("production", "cloud_run"):  # of an app that existed before
        if (project / package / "requirements-tools.lock").exists():
            return [f"{package}/requirements.lock", f"{package}/requirements-tools.lock"]
    return ["requirements.txt", "requirements-dev.txt"]


def install(project: Path) -> Path:
    """Give a project its .venv with exactly its pinned packages, shared with the projects that have the same ones.

    Returns:
        The folder of the commands.
    """
    files = pinned_by(project)
    venv = CACHE / "venvs" / digest(project, files)
    with only_once(venv) as needed:
        if needed:
            must_run("uv", "venv", "--quiet", "--python", "python3", venv, cwd=project)
            options = [option for file in files for option in ("-r", file)]
            install = ("uv", "pip", "install", "--quiet", "--require-hashes", "--python", venv / "bin/python")
            must_run(*install, *options, cwd=project)
            give_bytecode(venv)
            both = b"".join((project / file).read_bytes() for file in files)
            (venv / "requirements.sha256").write_text(f"{hashlib.sha256(both).hexdigest()}\n")
    link = project / ".venv"
    if not link.exists():
        link.symlink_to(venv)
    return link / "bin"


def give_uv(project: Path) -> None:
    """Give a project a new .venv with pip and its pinned uv, which its scripts/bootstrap would begin with."""
    tools = pinned_by(project)[-1]
    pinned = versions((project / tools).read_text())["uv"]
    venv = CACHE / "venvs-with-uv" / pinned
    with only_once(venv) as needed:
        if needed:
            must_run("uv", "venv", "--quiet", "--seed", "--python", "python3", venv, cwd=project)
            must_run("uv", "pip", "install", "--quiet", "--python", venv / "bin/python", f"uv=={pinned}", cwd=project)
    shutil.copytree(venv, project / ".venv", symlinks=True)


def give_bytecode(venv: Path) -> None:
    """Give a venv its packages' bytecode: that of another venv where both have the same file, else a new one.

    One process at a time: two would compile the same files.
    """
    packages = next(venv.glob("lib/python*/site-packages"))
    tag = packages.parent.name.replace("python", "cpython-").replace(".", "")
    with locked(CACHE / "venvs/bytecode.lock"):
        missing = list(packages.rglob("*.py"))
        for other in sorted(path for path in (CACHE / "venvs").iterdir() if path.is_dir() and path != venv):
            left = []
            for mine in missing:
                source = other / mine.relative_to(venv)
                compiled = source.parent / "__pycache__" / f"{mine.stem}.{tag}.pyc"
                if compiled.exists() and source.exists() and mine.samefile(source):  # uv links both to its cache
                    target = mine.parent / "__pycache__" / compiled.name
                    target.parent.mkdir(exist_ok=True)
                    target.hardlink_to(compiled)
                else:
                    left.append(mine)
            missing = left
        run(venv / "bin/python", "-m", "compileall", "-qq", packages, cwd=venv)


def build(project: Path, app_name: str = "my_reflex_app") -> None:
    """Give a project its built pages by its own scripts/build, shared with the projects whose pages are the same.

    Args:
        project: The project.
        app_name: The folder of its app; "." for an existing app, which may be anywhere.
    """
    install(project)
    locks = [versions((project / file).read_text()) for file in pinned_by(project)]
    others = {f"{name}=={version}" for lock in locks for name, version in lock.items() if name not in SERVERS_OWN}
    pages = CACHE / "pages" / digest(project, page_sources(project, app_name), *sorted(others))
    with only_once(pages) as needed:
        if needed:
            must_run("scripts/build", cwd=project)
            keep = shutil.ignore_patterns("node_modules")
            shutil.copytree(project / ".web", pages, ignore=keep, symlinks=True)
    shutil.rmtree(project / ".web", ignore_errors=True)
    shutil.copytree(pages, project / ".web")


def page_sources(project: Path, app_name: str) -> list[str]:
    """Name what the built pages depend on, in addition to packages."""
    ours = [f"{package}/{name}" for package in ("production", "cloud_run") for name in ("build", "logs.py")]
    ours = ["reflex.lock", *(name for name in ours if (project / name).exists())]
    if app_name == ".":
        return [*ours, *sorted(path.name for path in project.iterdir() if path.name not in NO_SOURCES)]
    return [*ours, app_name, "assets", "rxconfig.py"]
