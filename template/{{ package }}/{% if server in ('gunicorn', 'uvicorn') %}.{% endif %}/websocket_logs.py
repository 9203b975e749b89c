"""Drops what uvicorn logs for each WebSocket: Cloud Run logs every request already. logs.json uses it."""

import logging


class NoConnections(logging.Filter):
    """Drops entries about a connection that opens or closes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is kept."""
        message = str(record.msg)
        return '"WebSocket' not in message and not message.startswith("connection ")
