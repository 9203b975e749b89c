"""Writes each log entry on one line: JSON for Cloud Logging, or text for a terminal (LOG_FORMAT).

logs.json names these classes; the server, Reflex and the app's own `logging.getLogger(__name__)` all use them. An entry
has:

- `severity` and `message`, with a traceback inside the message: Error Reporting groups those;
- the event that was handled, the ID that Caddy gave the request, and the trace by which Cloud Logging groups entries:
  https://cloud.google.com/run/docs/logging#writing_structured_logs
- no token of a tab, which opens the tab's state, and no address of a visitor.
"""

import asyncio
import faulthandler
import json
import logging
import logging.config
import os
import re
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from . import requests

CONFIG = Path(__file__).with_suffix(".json")
SEVERITIES = [(10, "DEBUG"), (20, "INFO"), (25, "NOTICE"), (30, "WARNING"), (40, "ERROR"), (50, "CRITICAL")]
"""Cloud Logging's names for Python's levels: https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry"""

EVENT = re.compile(r"reflex_event\|([^|]+)\|[^|]*\|")
"""How Reflex names the task that handles an event: with the handler, the tab's token and a number."""
OWN = ("reflex", "engineio", "socketio", "asyncio", __package__, *json.loads(CONFIG.read_text())["loggers"])
"""Loggers in whose messages a UUID is a tab's token: Reflex's, this package's and the server's."""
TOKEN = re.compile(r"(?<=token=)[\w-]+")
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
VISITOR = re.compile(r"router_data=\{.*\}", re.DOTALL)
"""What Reflex prints of an event that it cannot handle: all headers with the cookies, and what was typed."""
TRACE = re.compile(r"(?:00-)?([0-9a-f]{32})[/-]")
"""The trace in X-Cloud-Trace-Context and in traceparent."""


def apply() -> None:
    """Configure all loggers of this process, and log uncaught exceptions and the stack of a crash."""
    faulthandler.enable()
    os.environ.pop("REFLEX_MANAGED_LOGGING", None)  # with it `reflex run` would add another handler
    logging.config.dictConfig(json.loads(CONFIG.read_text()))
    logging.captureWarnings(capture=True)
    logger = logging.getLogger("python")
    sys.excepthook = lambda *error: logger.critical("the process ends with an exception", exc_info=error)
    threading.excepthook = lambda args: logger.error(
        "a thread ended with an exception", exc_info=(args.exc_type, args.exc_value, args.exc_traceback)
    )


def write(level: int, name: str, message: str) -> None:
    """Write an entry without Python's locks and buffers, which a thread that hangs may hold.

    Args:
        level: Such as `logging.CRITICAL`.
        name: The logger in the entry.
        message: One or several lines.
    """
    record = logging.makeLogRecord({"levelno": level, "name": name, "msg": message})
    os.write(sys.stderr.fileno(), f"{Formatter().format(record)}\n".encode())


class Formatter(logging.Formatter):
    """Turns a record into one line of JSON, or into text."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        message = redact(record, super().format(record))
        if getattr(record, "rich", False):  # Reflex's own marks for bold and colors
            message = re.sub(r"\[/?[a-z_ ]+\]", "", message)
        severity = next(name for level, name in reversed(SEVERITIES) if record.levelno >= level or level == 10)
        where = current_context()
        if os.environ.get("LOG_FORMAT") != "json":
            handling = f" (handling {where['event']})" if "event" in where else ""
            return f"{severity} {record.name}{handling}: {message}"
        return json.dumps({"severity": severity, "message": message, "logger": record.name} | where)


def redact(record: logging.LogRecord, message: str) -> str:
    """Return the message of a record without tokens and headers of visitors."""
    message = TOKEN.sub("...", message)
    if record.name.startswith(OWN):
        message = UUID.sub("...", VISITOR.sub("router_data=...", message))
    return message


def current_context() -> dict[str, str]:
    """Return the current event, request and trace as fields of an entry, as far as they are known."""
    found = {}
    try:
        name = asyncio.current_task().get_name()
    except (RuntimeError, AttributeError):  # no event loop, or no task
        name = ""
    headers = requests.headers.get({})
    if event := EVENT.search(name):
        found["event"] = event[1]
        headers = event_headers() or headers
    if number := headers.get("x-request-id"):
        found["request_id"] = number
    trace = TRACE.match(headers.get("x-cloud-trace-context") or headers.get("traceparent", ""))
    project = os.environ.get("GOOGLE_CLOUD_PROJECT")
    if trace and project:
        found["logging.googleapis.com/trace"] = f"projects/{project}/traces/{trace[1]}"
    return found


def event_headers() -> Mapping[str, str]:
    """Return the headers of the connection that the current event came with."""
    context = getattr(sys.modules.get("reflex_base.event.context"), "EventContext", None)
    try:
        return context.get().router_data["headers"]
    except (AttributeError, LookupError):  # no event, or another Reflex
        return {}
