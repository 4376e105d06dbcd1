"""Reading of TOML files."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from service.cli.input.failures import EXIT_USAGE, CommandFailed, require_file


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        CommandFailed: the file does not exist, or is not TOML.
    """
    require_file(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{path} is not TOML: {error}", EXIT_USAGE) from None
