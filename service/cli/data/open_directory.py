"""The data directory that a command works on, while no server uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.execute.private_files import private_files
from service.cli.input.failures import EXIT_USAGE, CommandFailed, needing_extra
from service.cli.input.read_settings import read_settings

if TYPE_CHECKING:
    from sqlalchemy import URL

    from service.settings import Settings

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="PATH",
        help="The data directory (default: ENERGY_FLOW_DATA_DIR, else .energy-flow).",
        show_default=False,
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="SQLAlchemy URL of the index (default: ENERGY_FLOW_DATABASE_URL, else SQLite in the "
        "data directory).",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")
]

# A folder with none of these has never been used by a server.
_SIGNS = ("identity.json", "index.sqlite3", "datasets", "models", "runs", "quarantine")


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """A locked data directory and its index.

    Attributes:
        path: the directory.
        index_url: URL of the index, which need not exist.
        keep_runs_bytes: bytes of ended runs that a server keeps.
    """

    path: Path
    index_url: URL
    keep_runs_bytes: int


def read_directory_settings(data_dir: Path | None, database_url: str | None) -> Settings:
    """Return the settings of a server whose data directory exists.

    Args:
        data_dir: value of ``--data-dir``.
        database_url: value of ``--database-url``.

    Raises:
        CommandFailed: a setting is refused, or there is no such folder.
    """
    settings = read_settings({"data_dir": data_dir, "database_url": database_url})
    if not settings.data_dir.is_dir():
        raise CommandFailed(
            f"folder {settings.data_dir} does not exist; check --data-dir", EXIT_USAGE
        )
    return settings


@contextmanager
def open_directory(data_dir: Path | None, database_url: str | None) -> Iterator[DataDirectory]:
    """Lock a data directory until the end of the block.

    Args:
        data_dir: value of ``--data-dir``.
        database_url: value of ``--database-url``.

    Raises:
        CommandFailed: it is no data directory, a server uses it, or the command cannot be done.
    """
    with needing_extra("server", "data"):
        from service.store.recovery.errors import (
            DataDirInUseError,
            DataDirMismatchError,
            RecoveryError,
            storage_errors_reported,
        )
        from service.store.recovery.lock import lock_data_dir
        from service.store.recovery.server_lock import make_index_lock
    settings = read_directory_settings(data_dir, database_url)
    folder, url = settings.data_dir, settings.index_url
    if not any((folder / name).exists() for name in _SIGNS):
        raise CommandFailed(
            f"folder {folder} is not the data directory of a server; check --data-dir", EXIT_USAGE
        )
    try:
        with (
            private_files(),
            storage_errors_reported(folder, url),
            lock_data_dir(folder, "stop that server first"),
            make_index_lock(url, "stop that server first"),
        ):
            yield DataDirectory(folder, url, settings.keep_runs_bytes)
    except (DataDirInUseError, DataDirMismatchError, RecoveryError) as error:
        raise CommandFailed(str(error)) from None
