"""``--set FIELD=VALUE`` as plain data, without the simulation's packages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from service.cli.input.failures import EXIT_USAGE, CommandFailed


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Dotted names and their values; a value is JSON where it parses as such, else text.

    Raises:
        CommandFailed: an item has no ``=`` or no name.
    """
    values: dict[str, Any] = {}
    for item in assignments:
        name, equals, text = item.partition("=")
        if not equals or not name.strip():
            raise CommandFailed(
                f"--set takes FIELD=VALUE, such as spawn.threshold=0.4, not {item!r}", EXIT_USAGE
            )
        try:
            values[name.strip()] = orjson.loads(text)
        except orjson.JSONDecodeError:
            values[name.strip()] = text.strip()
    return values
