"""Has Reflex build the pages, with the settings that the app reads while it is imported."""

import json
import os
import re
import shutil
import sys
import traceback
from pathlib import Path

from reflex.reflex import cli


def export_pages(settings: Path | None) -> None:
    """Run `reflex export`.

    Args:
        settings: deploy/env.yaml, for an image. On a developer's machine the variables come from .env.

    Raises:
        SystemExit: If the app reads a variable that is not set; its message names where to set it.
    """
    shutil.rmtree(".web/public", ignore_errors=True)  # Reflex only adds files to it: a deleted asset would stay
    if settings:
        os.environ |= read_settings(settings.read_text()) | os.environ
    try:
        cli.main(["export", "--frontend-only", "--no-zip"], standalone_mode=False)
    except KeyError as error:
        *_, reading, last = traceback.extract_tb(error.__traceback__)
        if last.filename not in (os.__file__, "<frozen os>"):  # another KeyError
            raise
        where = f"{Path(reading.filename).name}, line {reading.lineno}"
        sys.exit(
            f"production.build: {where}, reads the environment variable {error} while it is imported, and it is"
            " not set. Set it in .env for this machine and in deploy/env.yaml for an image. A secret has no place"
            " in an image:"
            f" read it where it is used, or with os.environ.get({error})."
        )


def read_settings(text: str) -> dict[str, str]:
    """Read the variables of deploy/env.yaml that are on one line, such as `NAME: "value"`."""
    settings = {}
    for name, value in re.findall(r"^(\w+): +(.+?) *$", text, re.MULTILINE):
        if value.startswith('"'):
            settings[name] = json.loads(value[: value.rindex('"') + 1])
        elif value.startswith("'"):
            settings[name] = value[1 : value.rindex("'")].replace("''", "'")
        else:
            settings[name] = value.partition(" #")[0].rstrip()
    return settings
