"""``TextLines`` and ``JsonLines``: log lines for people, and as JSON objects."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from energy_flow.telemetry import logs

EXTRAS: Final = ("run_id", "request_id", "key", "key_id")
"""What a line may have besides its message."""

_INDENT: Final = "  "

# What a terminal or a reader of lines takes for something else than a character of this line:
# control characters, ends of lines, halves of characters, and what changes the order of writing.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class TextLines(logging.Formatter):
    """A formatter that writes a line for each message, whatever callers put into it.

    Ids follow the message as ``name=value``. Lines of a traceback are indented.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        ids = "".join(f" {name}={value}" for name, value in _read_ids(record).items())
        text = escape(self.formatMessage(record) + ids)
        more = []
        if record.exc_info:
            more.append(self.formatException(record.exc_info))
        if record.stack_info:
            more.append(self.formatStack(record.stack_info))
        lines = [line for part in more for line in part.split("\n")]
        return "\n".join([text, *(_INDENT + escape(line) for line in lines)])


class JsonLines(logging.Formatter):
    """A formatter that writes a JSON object a line.

    A line has ``time``, ``level``, ``logger`` and ``message``, and where they apply those of
    :data:`EXTRAS`, ``exception`` and ``stack``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _read_ids(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return orjson.dumps(line, default=str).decode()


def escape(text: str) -> str:
    """Return a text as one line that is what it looks like.

    Args:
        text: The text, with characters that callers may have chosen.
    """
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def _read_ids(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record has of :data:`EXTRAS`."""
    ids = {name: getattr(record, name, None) for name in EXTRAS}
    ids["run_id"] = ids["run_id"] or logs.run_id.get()
    return {name: value for name, value in ids.items() if value is not None}
