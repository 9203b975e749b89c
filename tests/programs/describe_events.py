"""Writes again what the trial reads about the events of an app, after a change of rxconfig.py alone."""

import json
import os
from pathlib import Path

from production.build.events import describe
from reflex.config import get_config
from reflex.utils.prerequisites import get_app

os.environ |= {"__REFLEX_SKIP_COMPILE": "1", "REFLEX_ENV_MODE": "prod"}
app = get_app().app
app()
Path(".web/build/events.json").write_text(json.dumps(describe(app, get_config())))
