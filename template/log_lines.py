"""Writes each log entry on one line: JSON that Cloud Logging understands, or text for a terminal (LOG_FORMAT).

log_lines.json names these classes; the server, Reflex and the app's own `logging.getLogger(__name__)` all use them.

- `severity` and `message`, with a traceback inside the message: Error Reporting groups those.
- The event that was handled, the id that Caddy gave the request, and the trace by which Cloud Logging groups entries:
  https://cloud.google.com/run/docs/logging#writing_structured_logs
- No token of a tab and no address of a visitor: who has a tab's token has the tab.
"""

import asyncio
import contextvars
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

CONFIG = Path(__file__).with_suffix(".json")
SEVERITIES = [(10, "DEBUG"), (20, "INFO"), (25, "NOTICE"), (30, "WARNING"), (40, "ERROR"), (50, "CRITICAL")]
"""Cloud Logging's names for Python's levels, in between too: https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry"""

EVENT = re.compile(r"reflex_event\|([^|]+)\|[^|]*\|")
"""How Reflex names the task that handles an event: with the handler, the tab's token and a number."""
OWN = ("reflex", "uvicorn", "gunicorn", "_granian", "engineio", "socketio", "asyncio", "open_tabs", "redis_connections")
"""Loggers in whose messages a UUID is a tab's token."""
TOKEN = re.compile(r"(?<=token=)[\w-]+")
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
VISITOR = re.compile(r"router_data=\{.*\}", re.DOTALL)
"""What Reflex prints of an event that it cannot handle: all headers, cookies too, and what was typed."""
TRACE = re.compile(r"(?:00-)?([0-9a-f]{32})[/-]")
"""The trace in X-Cloud-Trace-Context and in traceparent."""

request: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar("request")
"""The headers of the request that is answered, by their names in lower case."""


def apply() -> None:
    """Use this for all loggers of this process, for exceptions that nobody catches, and say where a crash came from."""
    faulthandler.enable()
    os.environ.pop("REFLEX_MANAGED_LOGGING", None)  # with it `reflex run` would add a handler of its own
    logging.config.dictConfig(json.loads(CONFIG.read_text()))
    logging.captureWarnings(capture=True)
    logger = logging.getLogger("python")
    sys.excepthook = lambda *error: logger.critical("the process ends with an exception", exc_info=error)
    threading.excepthook = lambda args: logger.error(
        "a thread ended with an exception", exc_info=(args.exc_type, args.exc_value, args.exc_traceback)
    )


def write(level: int, name: str, message: str) -> None:
    """Write an entry past Python's locks and buffers, which a thread that hangs may hold.

    Args:
        level: Such as `logging.CRITICAL`.
        name: The logger's.
        message: Of one or several lines.
    """
    record = logging.makeLogRecord({"levelno": level, "name": name, "msg": message})
    os.write(sys.stderr.fileno(), f"{Formatter().format(record)}\n".encode())


class Formatter(logging.Formatter):
    """Turns a record into one line of JSON, or into text."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record down.

        Args:
            record: What was logged.
        """
        message = without_visitors(record, super().format(record))
        severity = next(name for level, name in reversed(SEVERITIES) if record.levelno >= level or level == 10)
        where = origin()
        if os.environ.get("LOG_FORMAT") != "json":
            handling = f" (handling {where['event']})" if "event" in where else ""
            return f"{severity} {record.name}{handling}: {message}"
        return json.dumps({"severity": severity, "message": message, "logger": record.name} | where)


class NoVisits(logging.Filter):
    """Drops what uvicorn says of each WebSocket: Cloud Run logs every request already."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record stays.

        Args:
            record: What was logged.
        """
        message = str(record.msg)
        return not (record.name == "uvicorn.error" and ('"WebSocket' in message or message.startswith("connection ")))


class Requests:
    """Notes which request is answered, for the entries that are written meanwhile."""

    def __init__(self, app) -> None:
        """Wrap an app.

        Args:
            app: The ASGI app.
        """
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        """Answer a request.

        Args:
            scope: What ASGI says of it.
            receive: How its body comes.
            send: Where the answer goes.
        """
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        before = request.set({name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]})
        try:
            await self.app(scope, receive, send)
        finally:
            request.reset(before)


def without_visitors(record: logging.LogRecord, message: str) -> str:
    """Leave out of a message what belongs to a visitor.

    Args:
        record: What was logged.
        message: Its text.
    """
    message = TOKEN.sub("...", message)
    if record.name.startswith(OWN):
        message = UUID.sub("...", VISITOR.sub("router_data=...", message))
    return message


def origin() -> dict[str, str]:
    """Tell what this process was doing: the event, the request and its trace, as far as they are known."""
    found = {}
    try:
        name = asyncio.current_task().get_name()
    except (RuntimeError, AttributeError):  # no event loop, or no task
        name = ""
    headers = request.get({})
    if event := EVENT.search(name):
        found["event"] = event[1]
        headers = of_event() or headers
    if number := headers.get("x-request-id"):
        found["request_id"] = number
    trace = TRACE.match(headers.get("x-cloud-trace-context") or headers.get("traceparent", ""))
    project = os.environ.get("GOOGLE_CLOUD_PROJECT")
    if trace and project:
        found["logging.googleapis.com/trace"] = f"projects/{project}/traces/{trace[1]}"
    return found


def of_event() -> Mapping[str, str]:
    """Find the headers of the connection that the event came with."""
    context = getattr(sys.modules.get("reflex_base.event.context"), "EventContext", None)
    try:
        return context.get().router_data["headers"]
    except (AttributeError, LookupError):  # no event, or another Reflex
        return {}
