"""The real gcloud, started once per test run instead of once per command.

Importing its Python code takes most of a command's time. gcloud_server.py imports it and forks a process for each
command, which runs what gcloud itself would run, with the caller's arguments, environment, folder and streams. If one
hangs, it prints where, and gcloud_client.c runs it again without the server.
"""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from harness.caches import CACHE, locked
from harness.commands import must_run
from harness.processes import until

SERVER = Path(__file__).with_name("gcloud_server.py")
CLIENT = Path(__file__).with_name("gcloud_client.c")
PYTHON = Path("platform/bundledpythonunix/bin/python3")
"""The Python that gcloud brings along."""
HOME = CACHE / "gcloud"
"""Where the test processes note the folder of the server that they share."""


@functools.cache
def fast_gcloud() -> str:
    """Start the server unless another test process has.

    Returns:
        A PATH with a `gcloud` that uses it before all others.
    """
    root = Path(shutil.which("gcloud") or "").resolve().parent.parent
    needed = root / "lib/gcloud.py", root / PYTHON, shutil.which("cc") or "/absent"
    if not all(map(os.path.exists, needed)):
        return os.environ["PATH"]  # installed in another way, or no compiler: slower, and the same
    with locked(HOME / "lock"):
        if not (folder := shared()):
            folder = start(root)
            (HOME / "folder").write_text(str(folder))
    return f"{folder / 'bin'}:{os.environ['PATH']}"


def shared() -> Path | None:
    """Return the folder of a server that runs."""
    with contextlib.suppress(OSError):
        folder = Path((HOME / "folder").read_text())
        if str(SERVER).encode() in Path(f"/proc/{(folder / 'pid').read_text()}/cmdline").read_bytes():
            return folder
    return None


def start(root: Path) -> Path:
    """Start a server for the gcloud that is installed in a folder.

    Returns:
        The folder of its socket and of the `gcloud` that uses it.
    """
    folder = Path(tempfile.mkdtemp(prefix="gcloud-"))  # a short name: a socket's path has at most 107 characters
    address = folder / "socket"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment |= {"CLOUDSDK_PYTHON_SITEPACKAGES": "1", "CLOUDSDK_CONFIG": str(folder)}
    environment["CLOUDSDK_CORE_DISABLE_FILE_LOGGING"] = "1"  # decided once, before the first command
    client = folder / "bin/gcloud"
    client.parent.mkdir()
    known = [f'-D{name}="{path}"' for name, path in (("ADDRESS", address), ("GCLOUD", root / "bin/gcloud"))]
    must_run("cc", "-O2", *known, "-o", client, CLIENT, cwd=folder)
    with (folder / "log").open("w") as log:
        command = [root / PYTHON, SERVER, root / "lib", address, folder / "lessons"]
        nothing = subprocess.DEVNULL
        server = subprocess.Popen(
            command, env=environment, stdin=nothing, stdout=log, stderr=log, start_new_session=True
        )
    (folder / "pid").write_text(str(server.pid))
    until(lambda: address.exists() or server.poll() is not None, 60)
    assert server.poll() is None, f"gcloud's code cannot be imported:\n{(folder / 'log').read_text()}"
    return folder


def stop() -> None:
    """Stop the server, if one runs: the last thing that a test run does."""
    if folder := shared():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int((folder / "pid").read_text()), signal.SIGTERM)
        shutil.rmtree(folder, ignore_errors=True)
