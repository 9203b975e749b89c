"""Gives THREADS its effect: how many blocking calls a worker runs at once.

An asynchronous server has one event loop. `rx.run_in_thread` uses asyncio's thread pool, and synchronous API routes use
AnyIO's; each gets THREADS threads.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import anyio.to_thread
import reflex as rx


async def start(_: rx.App) -> None:
    """Apply THREADS if it is set. By default asyncio uses at most 32 threads and AnyIO 40."""
    if threads := os.environ.get("THREADS"):
        use_threads(int(threads))


def use_threads(threads: int) -> None:
    """Set the size of both thread pools of the running event loop."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads, "blocking"))
    anyio.to_thread.current_default_thread_limiter().total_tokens = threads
