"""Prepares each worker before its first request. Reflex loads the plugin because environment.sh names it."""

import contextlib
from collections.abc import AsyncIterator, Sequence

import reflex as rx

from . import fixes, logs, worker
from .requests import Requests
from .uploads import Uploads

logs.apply()  # before the app is imported, which may log

HANDLER_SECONDS = 2
"""How long event handlers may take to finish when the worker stops. Reflex would cancel them at once."""


class ProductionPlugin(rx.plugins.Plugin):
    """Adds to the app what a worker needs in production."""

    def post_compile(self, **context) -> None:
        """Register the preparation; `context["app"]` is the app."""
        app = context["app"]
        given = app.api_transformer or []
        given = given if isinstance(given, Sequence) else [given]
        app.api_transformer = [*given, Uploads, Requests]
        app.register_lifespan_task(run_worker, served=app)


@contextlib.asynccontextmanager
async def run_worker(served: rx.App) -> AsyncIterator[None]:
    """Prepare one worker process, and clean up when it stops. Reflex 0.8 passes something else as `app`.

    Raises:
        RuntimeError: If a module of worker/ finds that the worker cannot serve.
    """
    await worker.prepare(served)
    tasks = []
    if served.event_namespace:  # an app without a state has no events
        if hasattr(served, "event_processor"):  # since Reflex 0.9
            served.event_processor.graceful_shutdown_timeout = HANDLER_SECONDS
        tasks = fixes.apply_all(served)
    yield
    for task in tasks:
        task.cancel()
