"""The format of a file, from the options or from the suffix of the file."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from energy_flow.choices import FileFormat, names_of
from service.cli.input.failures import EXIT_USAGE, CommandFailed, check_choice

Format = TypeVar("Format", bound=FileFormat)


def choose_format(
    formats: type[Format], name: str | None, path: Path | None, option: str = ""
) -> Format | None:
    """Return the format that ``--format`` names, or else that of the suffix of a file.

    Args:
        formats: the formats that exist.
        name: value of ``--format``.
        path: the file, if there is one.
        option: what stands before the path on the command line, for messages.

    Returns:
        The format; ``None`` where neither a name nor a file is given.

    Raises:
        CommandFailed: the name does not exist, or the suffix belongs to no format.
    """
    if name is not None:
        check_choice("--format", name, formats)
        return formats(name)
    if path is None:
        return None
    known = formats.of_file(path.name)
    if known is not None:
        return known
    raise CommandFailed(
        f"{option}{path}: the suffix belongs to no format; add --format with one of "
        f"{', '.join(names_of(formats))}",
        EXIT_USAGE,
    )
