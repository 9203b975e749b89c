"""gunicorn's settings, and what it does before it forks a worker.

Reflex is imported once, and the workers are forked from that: a worker that replaces another is ready at once, and
several share the memory. Each worker imports the app, since what the app opens or starts, such as a database client or
a thread, would not survive the fork.
"""

import gc
import importlib
import mmap
import os
import time
from pathlib import Path

from gunicorn.errors import HaltServer

# environment.sh sets these variables.
bind = f"127.0.0.1:{os.environ.get('BACKEND_PORT', '8001')}"
workers = int(os.environ.get("WORKERS", "1"))
# The worker is asynchronous, so gunicorn's own `threads` would do nothing: worker/threads.py gives THREADS its effect.
worker_class = "uvicorn_worker.UvicornWorker"
max_requests = int(os.environ.get("MAX_REQUESTS", "0"))
max_requests_jitter = max_requests // 10
# Seconds after which a blocked worker is replaced. worker/watchdog.py comes first, and logs what blocks it.
timeout = int(os.environ.get("BLOCKED_SECONDS", "50")) + 10
graceful_timeout = 3  # supervise.sh gives the backend 4 s at least
control_socket_disable = True
logconfig_json = str(Path(__file__).with_name("logs.json"))

SHARED = [
    "reflex.app",
    "reflex.state",
    *(["reflex.istate.manager.redis"] if os.environ.get("REFLEX_REDIS_URL") else []),
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
    "uvloop",
]
"""Slow imports that may be forked. Add a large library that your app imports if it starts no thread when imported."""


class Heartbeat:
    """Wraps the file whose time a worker renews, by which gunicorn notices that the worker hangs.

    While no request is open, Cloud Run takes the CPU away and the clock goes on: afterwards every worker looks as if it
    had hung. gunicorn checks every second; if it has not checked for 10, the whole instance stood still.
    """

    def __init__(self, file) -> None:
        """Wrap `file`, a `gunicorn.workers.workertmp.WorkerTmp`."""
        self.file = file
        self.checked = self.resumed = time.monotonic()

    def __getattr__(self, name: str):
        """Pass everything else on, such as `notify`, which the worker calls."""
        return getattr(self.file, name)

    def last_update(self) -> float:
        """Return when the worker last responded, in seconds of the monotonic clock."""
        now = time.monotonic()
        if now - self.checked > 10:
            self.resumed = now
        self.checked = now
        return max(self.file.last_update(), self.resumed)


def pre_fork(server, worker) -> None:
    """Give a new worker a `Heartbeat`, and shared memory where it notes that it has loaded the app."""
    worker.tmp = Heartbeat(worker.tmp)
    worker.loaded = mmap.mmap(-1, 1)  # shared with this process


def child_exit(server, worker) -> None:
    """End when a worker has ended before any could load the app: the next one would do the same, again and again.

    gunicorn itself ends after an exception, but not after `sys.exit`, a crash or for lack of memory.

    Raises:
        HaltServer: In that case.
    """
    server.loaded = getattr(server, "loaded", False) or any(
        each.loaded[0] for each in (worker, *server.WORKERS.values())
    )
    if not server.loaded and server.LISTENERS:  # they are closed once it stops
        reason = f"the worker {worker.pid} ended before it had loaded the app"
        raise HaltServer(f"{reason}: with status 0, unless the lines above name another reason.", 3)


gc.disable()  # until `production:app` has loaded the app


def when_ready(server) -> None:
    """Import what the workers share. The port is open already, so that a request waits and is not refused."""
    for module in SHARED:
        importlib.import_module(module)
    gc.freeze()  # a collection in a worker would otherwise write to the shared memory, and so copy it


def post_worker_init(worker) -> None:
    """Note that the worker has loaded the app."""
    worker.loaded[0] = 1
