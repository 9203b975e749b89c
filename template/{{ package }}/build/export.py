"""Has Reflex build the pages, with the settings that the app reads while it is imported."""

import contextlib
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
        SystemExit: If the app cannot be imported; its message names the line and what to do.
    """
    shutil.rmtree(".web/public", ignore_errors=True)  # Reflex only adds files to it: a deleted asset would stay
    if settings:
        os.environ |= read_settings(settings.read_text()) | os.environ
    try:
        cli.main(["export", "--frontend-only", "--no-zip"], standalone_mode=False)
    except (ImportError, KeyError, SyntaxError) as error:
        if reason := explain(error):
            sys.exit(f"production.build: {reason}")
        raise


def explain(error: Exception) -> str:
    """Say in a sentence why the app cannot be imported, and what to do; nothing if the error is another."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}. Correct it; the app cannot be imported."
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(os.getcwd()) and "/.venv/" not in frame.filename]
    if not own or own[-1].filename == __file__:
        return ""
    where = f"{os.path.relpath(own[-1].filename)}, line {own[-1].lineno}"
    if isinstance(error, ImportError):
        fix = "Is its package among the app's requirements? Then run scripts/lock."
        return f"{where}: {error}. The app cannot be imported. {fix}"
    if frames[-1].filename not in (os.__file__, "<frozen os>"):
        return ""
    return (
        f"{where}, reads the environment variable {error} while it is imported, and it is not set. Set it in .env for"
        " this machine and in deploy/env.yaml for an image. A secret has no place in an image: read it where it is"
        f" used, or with os.environ.get({error})."
    )


def read_settings(text: str) -> dict[str, str]:
    """Read the variables of deploy/env.yaml that are on one line, such as `NAME: "value"`."""
    settings = {}
    for name, value in re.findall(r"^(\w+): +([^|>].*?) *$", text, re.MULTILINE):
        with contextlib.suppress(ValueError):  # a quoted value of several lines: only Cloud Run gets it
            if value.startswith('"'):
                settings[name] = json.loads(value[: value.rindex('"', 1) + 1])
            elif value.startswith("'"):
                settings[name] = value[1 : value.rindex("'", 1)].replace("''", "'")
            else:
                settings[name] = value.partition(" #")[0].rstrip()
    return settings
