"""Copier's own command line, its code imported once per test process instead of once per command."""

import functools
import gc
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from multiprocessing import forkserver
from pathlib import Path

from harness.caches import ROOT
from harness.commands import clean_environment

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["copier._cli", "harness.warm_copier"])


@functools.cache
def start() -> None:
    """Start the process that the commands are forked from; it finds modules by the environment only."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [before])])
    forkserver.ensure_running()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


SECONDS = 300
"""How long a command may take."""


def copier(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `copier` with some arguments to its end; its output, both streams together, is in `stdout`.

    Args:
        arguments: As on the command line.
        cwd: The folder to run it in.
        environment: Variables in addition to this process's.
    """
    start()
    with tempfile.NamedTemporaryFile() as output:
        command = ["copier", *map(str, arguments)]
        variables = clean_environment(**environment)
        process = FORKING.Process(target=run_command_line, args=(command, str(cwd), variables, output.name))
        process.start()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(command, SECONDS)
        said = Path(output.name).read_text(errors="replace")
    return subprocess.CompletedProcess(command, process.exitcode, said)


def must_copier(*arguments: str | Path, cwd: Path, **environment: str) -> str:
    """Run a `copier` that must succeed and return its output."""
    done = copier(*arguments, cwd=cwd, **environment)
    assert done.returncode == 0, f"{done.args} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def copy(folder: Path, answers: dict, *options: str, template: Path = ROOT, version: str = "HEAD") -> Path:
    """Make a project, and return its folder.

    Args:
        folder: Where; it is created.
        answers: What differs from the defaults.
        options: More for `copier copy`.
        template: A repository.
        version: A tag or a commit of it; HEAD is the files as they are now.
    """
    data = [f"--data={name}={value}" for name, value in answers.items()]
    given = ("--quiet", "--defaults", f"--vcs-ref={version}", *options, *data)
    must_copier("copy", *given, template, folder, cwd=folder.parent)
    return folder


def copy_files(project: Path, folder: Path) -> Path:
    """Copy a project to a folder that is not there yet, without what is installed or built in it."""
    ignore = shutil.ignore_patterns(".venv", ".web", "__pycache__")
    return shutil.copytree(project, folder, symlinks=True, ignore=ignore)


def run_command_line(command: list[str], folder: str, environment: dict[str, str], output: str) -> None:
    """Be `copier`, in a process that was forked for it."""
    assert "harness.warm_copier" in sys.modules, "harness/warm_copier.py was not imported before the fork"
    for stream, name, flags in ((0, os.devnull, os.O_RDONLY), (1, output, os.O_WRONLY), (2, output, os.O_WRONLY)):
        os.dup2(os.open(name, flags | (os.O_APPEND if stream else 0)), stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - multiprocessing has put another one in its place
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    warnings.simplefilter("ignore")
    gc.disable()  # what is collected is soon forgotten, with the process
    from copier._cli import CopierApp  # noqa: PLC0415 - imported before the fork; the tests themselves need none of it

    CopierApp.run(command)
