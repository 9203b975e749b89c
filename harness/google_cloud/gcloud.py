"""The real gcloud, started once per test process instead of once per command.

Importing its Python code takes most of a command's time. A server imports it and forks a process for each command, that
then runs what gcloud itself would run, with the caller's arguments, environment, folder and streams. One that has not
ended after 45 s says where it hangs and is run once more, by gcloud alone.
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

SERVER = """\
import faulthandler, functools, gc, importlib, json, os, pathlib, signal, socket, sys, time

lib, address, lessons = sys.argv[1:]
sys.path.insert(0, lib)
sys.argv = ["gcloud"]
import gcloud

gcloud._fix_google_module()
import googlecloudsdk.gcloud_main as main

OWN = ("googlecloudsdk", "google.", "apitools", "requests", "urllib3")
# These read the metadata server's address from the environment when they are imported.
FRESH = [
    "googlecloudsdk.core.credentials.gce_read",
    "google.auth.compute_engine._metadata",
    "googlecloudsdk.core.credentials.gce_cache",
    "googlecloudsdk.core.credentials.gce",
]
lessons = pathlib.Path(lessons)
# These may take as long as what they start.
LONG = {"builds", "deploy", "execute", "proxy"}
SECONDS = 45


def learn():
    # What an earlier command needed, those to come find imported.
    try:
        names = lessons.read_text().split()
        lessons.unlink()
    except OSError:
        return
    for name in names:
        if name not in sys.modules:
            try:
                importlib.import_module(name)
            except ImportError:
                pass


with socket.socket(socket.AF_UNIX) as server:
    server.bind(address)
    server.listen(64)
    while True:
        learn()
        gc.freeze()
        caller, _ = server.accept()
        data, streams, _, _ = socket.recv_fds(caller, 1 << 20, 3)
        while not data.endswith(b"\\n"):
            data += caller.recv(1 << 20)
        if os.fork():
            caller.close()
            for stream in streams:
                os.close(stream)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                pass
            continue
        server.close()
        gc.disable()  # a collection would copy the memory that is shared
        request = json.loads(data)
        limited = not LONG & set(request["arguments"])
        command = os.fork()
        if command:
            if limited:
                signal.signal(signal.SIGALRM, lambda *_: os.kill(command, signal.SIGKILL))
                signal.alarm(SECONDS)
            status = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
            caller.sendall(b"%d\\n" % status)
            os._exit(0)
        caller.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.environ.clear()
        os.environ.update(request["environment"])
        # Every address is plain http here; reading certificates for each would take most of the time.
        os.environ["SSL_CERT_FILE"] = os.devnull
        os.chdir(request["folder"])
        if limited:
            faulthandler.dump_traceback_later(SECONDS - 5, file=2)
        sys.argv = ["gcloud", *request["arguments"]]
        for name in FRESH:
            if name in sys.modules:
                importlib.reload(sys.modules[name])
        # gcloud asks every second or two whether something is done, and here it is.
        time.sleep = functools.partial(lambda sleep, seconds: sleep(min(seconds, 0.05)), time.sleep)
        try:
            status = main.main()
        except SystemExit as end:
            status = end.code
        sys.stdout.flush()
        sys.stderr.flush()
        known = lessons.with_suffix(f".{os.getpid()}")
        known.write_text("\\n".join(name for name in sys.modules if name.startswith(OWN) and "__" not in name))
        known.rename(lessons)
        os._exit(status if isinstance(status, int) else int(status is not None))
"""

CLIENT = """\
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    request = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
    socket.send_fds(server, [json.dumps(request).encode() + b"\\n"], [0, 1, 2])
    answer = b""
    while not answer.endswith(b"\\n"):
        part = server.recv(64)
        if not part:
            break
        answer += part
if answer == b"-9\\n":  # a process that is forked may find a lock taken, for good: once more, from the beginning
    os.execv({program!r}, [{program!r}, *sys.argv[1:]])
sys.exit(int(answer or 1))
"""


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
    (folder / "server.py").write_text(SERVER)
    command = [python, folder / "server.py", lib, address, folder / "lessons"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    (folder / "client.py").write_text(CLIENT.format(address=str(address), program=str(program)))
    wrapper = folder / "bin/gcloud"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {folder}/client.py "$@"\n')
    wrapper.chmod(0o755)

    server = subprocess.Popen(command, env=environment | {"CLOUDSDK_PYTHON_SITEPACKAGES": "1"})
    atexit.register(server.terminate)
    until(lambda: address.exists() or server.poll() is not None, 60)
    assert server.poll() is None, "gcloud's code cannot be imported"
    return f"{wrapper.parent}:{os.environ['PATH']}"
