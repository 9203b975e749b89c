"""What each worker does when it starts, one file each: `prepare` runs every module in this folder."""

import importlib
import sys

import reflex as rx

from ..modules import names_in


async def prepare(app: rx.App) -> None:
    """Run `start` of each module.

    Raises:
        RuntimeError: If a module finds that the worker cannot serve.
    """
    for name in names_in(sys.modules[__name__]):
        await importlib.import_module(name).start(app)
