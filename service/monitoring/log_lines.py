"""``JsonLines``: log lines as JSON objects."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from energy_flow.telemetry import logs

EXTRAS: Final = ("run_id", "request_id")
"""Ids that a line may have."""


class JsonLines(logging.Formatter):
    """A formatter that writes a JSON object a line.

    A line has ``time``, ``level``, ``logger`` and ``message``, and where they apply ``run_id``,
    ``request_id``, ``exception`` and ``stack``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        ids = {name: getattr(record, name, None) for name in EXTRAS}
        ids["run_id"] = ids["run_id"] or logs.run_id.get()
        line |= {name: value for name, value in ids.items() if value is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return orjson.dumps(line, default=str).decode()
