"""``--set FIELD=VALUE`` as plain data, read without the packages of the simulation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from service.cli.input.failures import EXIT_USAGE, CommandFailed


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Return values by dotted field name.

    Args:
        assignments: items ``FIELD=VALUE``; a value is read as JSON where it is JSON, else as text.

    Raises:
        CommandFailed: an item has no ``=`` or no field.
    """
    values: dict[str, Any] = {}
    for item in assignments:
        name, equals, text = item.partition("=")
        if not equals or not name.strip():
            raise CommandFailed(
                f"--set must be FIELD=VALUE, such as spawn.threshold=0.4, not {item!r}", EXIT_USAGE
            )
        try:
            values[name.strip()] = orjson.loads(text)
        except orjson.JSONDecodeError:
            values[name.strip()] = text.strip()
    return values
