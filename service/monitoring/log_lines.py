"""Log lines as JSON: one object a line, for machines that collect them."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from energy_flow.telemetry import logs

EXTRAS: Final = ("run_id", "request_id")
"""What a line may be about, besides its message."""


class JsonLines(logging.Formatter):
    """``time``, ``level``, ``logger``, ``message``; ``run_id`` and ``request_id`` where there is
    one, and ``exception`` with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        about = {name: getattr(record, name, None) for name in EXTRAS}
        about["run_id"] = about["run_id"] or logs.run_id.get()
        told |= {name: value for name, value in about.items() if value is not None}
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            told["stack"] = self.formatStack(record.stack_info)
        return orjson.dumps(told, default=str).decode()
