"""The real gcloud, started once per test process instead of once per command.

Importing its Python code takes most of a command's time. gcloud_server.py imports it and forks a process for each
command, which runs what gcloud itself would run, with the caller's arguments, environment, folder and streams. If one
hangs, it prints where, and gcloud_client.py runs it again without the server.
"""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.processes import until

SERVER = Path(__file__).with_name("gcloud_server.py")
CLIENT = Path(__file__).with_name("gcloud_client.py")


@functools.cache
def fast_gcloud() -> str:
    """Start the server unless this process has one.

    Returns:
        A PATH with a `gcloud` that uses it before all others.
    """
    program = Path(shutil.which("gcloud") or "").resolve()
    root = program.parent.parent
    lib = root / "lib"
    python = root / "platform/bundledpythonunix/bin/python3"
    if not (lib / "gcloud.py").exists() or not python.exists():
        return os.environ["PATH"]  # installed in another way: slower, and the same
    folder = Path(tempfile.mkdtemp(prefix="gcloud-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address = folder / "socket"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment |= {"CLOUDSDK_PYTHON_SITEPACKAGES": "1", "CLOUDSDK_CONFIG": str(folder)}
    wrapper = folder / "bin/gcloud"
    wrapper.parent.mkdir()
    named = f"import sys; sys.argv[1:1] = {[str(address), str(program)]}\n"
    wrapper.write_text(f"#!{os.path.realpath(sys.executable)} -SE\n{named}{CLIENT.read_text()}")
    wrapper.chmod(0o755)

    server = subprocess.Popen([python, SERVER, lib, address, folder / "lessons"], env=environment)
    atexit.register(server.terminate)
    until(lambda: address.exists() or server.poll() is not None, 60)
    assert server.poll() is None, "gcloud's code cannot be imported"
    return f"{wrapper.parent}:{os.environ['PATH']}"
