"""The format of a file, from the options or from the suffix of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeVar

from energy_flow.choices import DatasetFormat, FileFormat, TextFormat, names_of
from service.cli.input.failures import EXIT_USAGE, CommandFailed, check_choice
from service.cli.input.regular_file import STDIN

Format = TypeVar("Format", bound=FileFormat)


def check_format(name: str | None) -> None:
    """Refuse a value of ``--format`` that is no format of embeddings.

    Args:
        name: the value, if one was given.

    Raises:
        CommandFailed: the format does not exist.
    """
    if name is not None:
        check_choice("--format", name, DatasetFormat)


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
    advice = _advise(path) if formats in (DatasetFormat, TextFormat) else None
    if advice is not None:
        raise CommandFailed(f"{path} {advice}", EXIT_USAGE)
    raise CommandFailed(
        f"{option}{path}: the suffix belongs to no format; add --format with one of "
        f"{', '.join(names_of(formats))}",
        EXIT_USAGE,
    )


def _advise(path: Path) -> str | None:
    """Return what a file is that no format can read, and what to do; ``None`` if it may be one."""
    if path.is_dir():
        return "is a folder, not a file; give a file in it"
    return _ADVICE.get(path.suffix.lower())


_PICKLE: Final = "is a pickle, which is never read; save its rows as .npy, .parquet or .jsonl"
_PACKED: Final = "is compressed in a way that is not read; unpack it, or compress it with gzip"
_ADVICE: Final = {
    ".npz": "may hold several arrays and is not read; save one of them as .npy, with numpy.save",
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".pth", ".joblib"), _PICKLE),
    **dict.fromkeys((".bz2", ".xz", ".zst", ".lz4", ".zip", ".tar", ".tgz", ".7z"), _PACKED),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "is a spreadsheet; save its sheet as .csv"),
    **dict.fromkeys(
        (".h5", ".hdf5", ".mat"), "is a file of several arrays; save one of them as .npy"
    ),
}
"""What files are that have the suffix of no format, and what to do with them."""


def choose_embeddings_format(name: str | None, path: Path) -> DatasetFormat:
    """Return the format that ``--format`` names, or else that of the suffix of a file.

    Args:
        name: value of ``--format``.
        path: the file, a pipe, or ``-`` for stdin.

    Raises:
        CommandFailed: the name does not exist, or nothing tells the format.
    """
    if name is None and path == STDIN:
        known = ", ".join(names_of(DatasetFormat))
        raise CommandFailed(f"stdin has no suffix; add --format with one of {known}", EXIT_USAGE)
    if name is None and TextFormat.of_file(path.name) is TextFormat.TEXT:
        raise CommandFailed(
            f"{path}: the suffix is that of texts; make embeddings of them first with energy-flow "
            f"embed FILE, or add --format with one of {', '.join(names_of(DatasetFormat))}",
            EXIT_USAGE,
        )
    found = choose_format(DatasetFormat, name, path)
    assert found is not None
    return found
