"""An experiment as a TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from service.cli.failures import EXIT_USAGE, CommandFailed
from service.cli.toml_file import read_toml

RANGE = frozenset({"low", "high", "log"})
"""Members of a range of values, which tell it from a group of fields."""


def read_experiment(path: Path) -> dict[str, Any]:
    """The experiment in a file, as ``POST /v1/experiments`` takes it.

    A dotted key of TOML makes tables in tables; in a sweep they become dotted names again.

    Raises:
        CommandFailed: there is no such file, it is not TOML, or holds what JSON has no word for.
    """
    document = read_toml(path)
    sweep = document.get("sweep")
    if isinstance(sweep, dict):
        for kind in ("grid", "random"):
            if isinstance(sweep.get(kind), dict):
                sweep[kind] = _dotted(sweep[kind])
    try:
        orjson.dumps(document)
    except orjson.JSONEncodeError as error:
        raise CommandFailed(
            f"{path} holds a value that cannot be sent: {error}", EXIT_USAGE
        ) from None
    return document


def _dotted(fields: Mapping[str, Any]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict) and value and not RANGE & set(value):
            names |= {f"{name}.{inner}": choice for inner, choice in _dotted(value).items()}
        else:
            names[name] = value
    return names
