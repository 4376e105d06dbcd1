"""Reads TOML files."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from service.cli.input.failures import EXIT_USAGE, CommandFailed


def read_toml(path: Path) -> dict[str, Any]:
    """What a file holds.

    Raises:
        CommandFailed: there is no such file, or it is not TOML.
    """
    if not path.is_file():
        raise CommandFailed(f"there is no file {path}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{path} is not TOML: {error}", EXIT_USAGE) from None
