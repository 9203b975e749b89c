"""Existing apps: as their owner runs them, and adopted with the two commands of the README."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from harness import installs, processes, tcp_ports
from harness.caches import CACHE, ROOT, digest, only_once
from harness.commands import clean_environment, must_run
from harness.processes import until
from harness.projects import must_copier
from harness.tcp_ports import free_port

APPS = ROOT / "tests/apps"
REQUIREMENTS = ["pyproject.toml", "requirements.in", "requirements.txt", "uv.lock", "poetry.lock"]
"""Where an app says what it needs."""


def copy_of(app: str, folder: Path) -> Path:
    """Copy an app, as git has it, into a folder that is not there yet."""
    shutil.copytree(APPS / app, folder, ignore=shutil.ignore_patterns("__pycache__"))
    must_run("git", "init", "--quiet", cwd=folder)
    must_run("git", "add", "--all", cwd=folder)
    return folder


def adopt(folder: Path, *options: str) -> str:
    """Run the first of the two commands in an app's folder and return what it says."""
    return must_copier("copy", "--defaults", "--vcs-ref=HEAD", "--data=starter=false", *options, ROOT, ".", cwd=folder)


def lock(folder: Path) -> None:
    """Do what scripts/serve does first, lock and install what the app asks for; once for apps that ask for the same."""
    sources = [name for name in REQUIREMENTS if (folder / name).exists()]
    ours = ["requirements-server.in", "requirements-tools.in", "requirements-tools.lock"]
    package = next(name for name in ("production", "cloud_run") if (folder / name / ours[0]).exists())
    own = [*(f"{package}/{name}" for name in ours), "scripts/lock"]
    kept = CACHE / "locks" / digest(folder, [*sources, *own], *sources)
    locks = [f"{package}/requirements.lock", f"{package}/requirements-tools.lock"]
    with only_once(kept) as needed:
        if needed:
            installs.give_uv(folder)
            must_run("scripts/lock", cwd=folder, UV_LINK_MODE="symlink")  # the .venv that it makes is removed below
            kept.mkdir(parents=True)
            for file in locks:
                shutil.copy(folder / file, kept / Path(file).name)
            # Under its own name: the commands in it name the folder that they were installed in.
            shutil.rmtree(folder / ".venv")
    for file in locks:
        shutil.copy(kept / Path(file).name, folder / file)
    installs.install(folder)


@contextlib.contextmanager
def run_by_reflex(folder: Path, venv: Path, *, older: bool = False, **more: str) -> Iterator[str]:
    """Serve an app by `reflex run --env prod`, as its owner does, and give the address.

    Args:
        folder: The app, without anything of this template.
        venv: Where its packages are. They may include gunicorn, which Reflex would take; by itself it takes granian.
        older: Whether it is a Reflex before 0.9, whose backend has another port than the pages.
        more: Environment variables.
    """
    port = free_port()
    backend = free_port() if older else port
    ports = ["--frontend-port", str(port)] + (["--backend-port", str(backend)] if older else [])
    environment = clean_environment(
        PATH=f"{venv / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        PYTHONPATH=str(folder / "src"),
        REFLEX_USE_GRANIAN="1",
        REFLEX_USE_SYSTEM_BUN="1",
        REFLEX_TELEMETRY_ENABLED="false",
        **more,
    )
    log = folder / "reflex-run.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["reflex", "run", "--env", "prod", *ports],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until(lambda: all(map(tcp_ports.listens, (port, backend))) or process.poll() is not None, 120)
        assert process.poll() is None, log.read_text()
        yield f"http://localhost:{port}"
    finally:
        processes.end_session(process)
