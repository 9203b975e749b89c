"""Ends a worker whose event loop is blocked, and says what blocks it.

Everything that a worker does for its visitors takes turns in one event loop. A handler that computes for minutes,
or waits for something without `await`, stops all of them. Most servers would keep such a worker, none says what blocks
it, and Cloud Run's liveness probe notices after a minute or two.
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

import log_lines

BLOCKED_SECONDS = int(os.environ.get("BLOCKED_SECONDS", "50"))
"""How long the loop may be blocked. Work that takes longer belongs into a background event or `rx.run_in_thread`."""
TICK = 1
"""Seconds between two looks."""


def apply(_: rx.App) -> None:
    """Watch the event loop that runs now, for as long as the process lives.

    Args:
        _: The app.
    """
    arguments = (asyncio.get_running_loop(), threading.get_ident())
    threading.Thread(target=watch, args=arguments, name="event_loop.py", daemon=True).start()


def watch(loop: asyncio.AbstractEventLoop, thread: int) -> None:
    """End the process once the loop has not answered for `BLOCKED_SECONDS`.

    Seconds are counted, not read from a clock: while no request is open Cloud Run takes the CPU away from this thread
    too.

    Args:
        loop: The event loop.
        thread: The thread that it runs in.
    """
    waiting = 0
    answered = threading.Event()
    while not loop.is_closed():
        if not waiting:
            answered.clear()
            try:
                loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # it was closed just now
                return
        time.sleep(TICK)
        waiting = 0 if answered.is_set() else waiting + TICK
        if waiting >= BLOCKED_SECONDS:
            stacks = sys._current_frames()
            name = culprit(traceback.extract_stack(stacks[thread]))
            said = [f"{name} has blocked the event loop for {waiting} s (BLOCKED_SECONDS): the worker ends. Stacks:"]
            for number, frame in stacks.items():
                said += [f"Thread {number}:", *(line.rstrip() for line in traceback.format_stack(frame))]
            log_lines.write(logging.CRITICAL, "event_loop", "\n".join(said))
            os._exit(1)


def culprit(frames: traceback.StackSummary) -> str:
    """Name what runs: the innermost function of the app's own code.

    Args:
        frames: The stack, the innermost frame last.
    """
    here, packages = Path.cwd(), Path.cwd() / ".venv"
    files = [Path(frame.filename) for frame in frames]
    own = [
        frame
        for frame, file in zip(frames, files, strict=True)
        if file.is_relative_to(here) and not file.is_relative_to(packages)
    ]
    frame = (own or list(frames))[-1]
    return f"{frame.name} ({Path(frame.filename).name}, line {frame.lineno})"
