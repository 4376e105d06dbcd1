"""Reading of TOML files."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from service.cli.input.failures import EXIT_USAGE, CommandFailed
from service.cli.input.regular_file import regular_file


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        CommandFailed: the file does not exist, or is not TOML.
    """
    with regular_file(path) as file:
        content = file.read_bytes()
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{path} is not TOML: {error}", EXIT_USAGE) from None
