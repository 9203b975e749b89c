"""Ends the worker if the app keeps a database in a file that cannot exist in a container."""

import os
import sys
from pathlib import Path

import reflex as rx
from reflex.config import get_config


async def start(_: rx.App) -> None:
    """Check the file of `db_url` if the app has tables.

    Raises:
        RuntimeError: If the file does not exist and cannot be created.
    """
    url = get_config().db_url or ""
    file = Path(url.removeprefix("sqlite:///"))
    models = sys.modules.get("sqlmodel")
    if not (models and models.SQLModel.metadata.tables and url.startswith("sqlite:///")):
        return
    if not file.exists() and not os.access(file.parent, os.W_OK):
        msg = (
            f"the app keeps its database in the file {file}, and a container cannot write there. Answer database with"
            " postgres: uvx copier update --data database=postgres. Or mount a volume, and set REFLEX_DB_URL."
        )
        raise RuntimeError(msg)
