"""Ends a worker whose event loop is blocked, and logs which function blocks it.

All visitors of a worker share one event loop. A handler that computes for minutes, or waits without `await`, stops all
of them. Most servers would keep such a worker, none logs the cause, and Cloud Run's liveness probe takes a minute or
two to notice.
"""

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path

import reflex as rx

from .. import logs

BLOCKED_SECONDS = int(os.environ.get("BLOCKED_SECONDS", "50"))
"""How long the loop may be blocked. Longer work belongs in a background event or in `rx.run_in_thread`."""
POLL_SECONDS = 1


async def start(_: rx.App) -> None:
    """Watch the running event loop for as long as the process lives."""
    arguments = (asyncio.get_running_loop(), threading.get_ident())
    threading.Thread(target=watch, args=arguments, name="watchdog", daemon=True).start()


def watch(loop: asyncio.AbstractEventLoop, thread: int) -> None:
    """End the process when the loop, which runs in `thread`, has not responded for `BLOCKED_SECONDS`.

    This counts polls instead of reading a clock: while no request is open, Cloud Run takes the CPU away from this
    thread too.
    """
    waiting = 0
    responded = threading.Event()
    while not loop.is_closed():
        if not waiting:
            responded.clear()
            try:
                loop.call_soon_threadsafe(responded.set)
            except RuntimeError:  # the loop was closed just now
                return
        time.sleep(POLL_SECONDS)
        waiting = 0 if responded.is_set() else waiting + POLL_SECONDS
        if waiting >= BLOCKED_SECONDS:
            stacks = sys._current_frames()
            name = blocking_function(traceback.extract_stack(stacks[thread]))
            lines = [f"{name} has blocked the event loop for {waiting} s (BLOCKED_SECONDS): the worker ends. Stacks:"]
            for number, frame in stacks.items():
                lines += [f"Thread {number}:", *(line.rstrip() for line in traceback.format_stack(frame))]
            logs.write(logging.CRITICAL, "watchdog", "\n".join(lines))
            os._exit(1)


def blocking_function(frames: traceback.StackSummary) -> str:
    """Name the innermost function of the app's own code, or the innermost of all if there is none."""
    here, packages = Path.cwd(), Path.cwd() / ".venv"
    files = [Path(frame.filename) for frame in frames]
    own = [
        frame
        for frame, file in zip(frames, files, strict=True)
        if file.is_relative_to(here) and not file.is_relative_to(packages)
    ]
    frame = (own or list(frames))[-1]
    return f"{frame.name} ({Path(frame.filename).name}, line {frame.lineno})"
