"""Has Reflex build the pages, with the settings that the app reads while it is imported."""

import contextlib
import json
import os
import re
import shutil
import sys
import traceback
from pathlib import Path

from reflex.config import get_config
from reflex.reflex import cli


def export_pages(settings: Path | None) -> None:
    """Run `reflex export`.

    Args:
        settings: deploy/env.yaml, for an image. On a developer's machine the variables come from .env.

    Raises:
        SystemExit: If the app cannot be imported, or has an `api_url` that is no address; its message names the line
            and what to do.
    """
    shutil.rmtree(".web/public", ignore_errors=True)  # Reflex only adds files to it: a deleted asset would stay
    if settings:
        os.environ |= read_settings(settings.read_text()) | os.environ
    try:
        if not re.match("https?://.", api_url := get_config().api_url):
            sys.exit(
                f"production.build: api_url of rxconfig.py is '{api_url}' and must start with https:// or http://."
            )
        cli.main(["export", "--frontend-only", "--no-zip"], standalone_mode=False)
    except Exception as error:
        if not (reason := explain(error)):
            raise
        if not isinstance(error, (ImportError, KeyError, SyntaxError)):
            traceback.print_exception(error)
        sys.exit(f"production.build: {reason}")


def explain(error: Exception) -> str:
    """Say in a sentence which line of the app fails, and what to do; nothing if the error is not the app's."""
    if isinstance(error, SyntaxError):
        where = f"{os.path.relpath(error.filename or '')}, line {error.lineno}"
        return f"{where}: {error.msg}. Correct it; the app cannot be imported."
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(os.getcwd()) and "/.venv/" not in frame.filename]
    if not own or own[-1].filename == __file__:
        return ""
    where = f"{os.path.relpath(own[-1].filename)}, line {own[-1].lineno}"
    if isinstance(error, ImportError):
        fix = "Is its package among the app's requirements? Then run scripts/lock."
        return f"{where}: {error}. The app cannot be imported. {fix}"
    if not isinstance(error, KeyError) or frames[-1].filename not in (os.__file__, "<frozen os>"):
        return f"{where}: {type(error).__name__}: {error}. The pages cannot be built."
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
