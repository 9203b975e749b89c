"""Workarounds for Reflex bugs, one file each. To turn one off, delete its file.

Each module has `apply(app)`, which may return a background task. It uses names that Reflex does not document; if a
version of Reflex lacks one of them, the app runs without that workaround and the log names it.
"""

import asyncio
import importlib
import logging
import sys

import reflex as rx

from ..modules import names_in

logger = logging.getLogger(__name__)


def apply_all(app: rx.App) -> list[asyncio.Task]:
    """Apply each workaround in this folder that fits the installed Reflex.

    Returns:
        The background tasks, to be cancelled when the worker stops.
    """
    tasks = []
    for name in names_in(sys.modules[__name__]):
        try:
            task = importlib.import_module(name).apply(app)
        except Exception as error:  # the app runs without a workaround, whatever has changed in Reflex
            path = "/".join(name.split(".")) + ".py"
            text = f"{type(error).__name__}: {error}"
            logger.warning("%s does not fit this version of Reflex and is left out: %s", path, text)
        else:
            tasks += [task] if task else []
    return tasks
