"""What is ours in a data directory: complete files, and temporary ones of interrupted work.

Anything else, such as ``lost+found`` of a mounted disk or a log, is left alone and does not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from sqlalchemy import ColumnElement, Connection, inspect, select
from sqlalchemy.orm import InstrumentedAttribute

from service.schemas.bodies import NAME_PATTERN
from service.store.descriptions.dataset_names import FOLDER as NAMES_FOLDER
from service.store.tables import (
    DatasetContentRow,
    DatasetRow,
    ExperimentRow,
    IdentityRow,
    ModelRow,
    RunRow,
)

SAFETENSORS = ".safetensors"


class Kind(StrEnum):
    """What the data directory has, by the name of its folder."""

    DATASETS = "datasets"
    MODELS = "models"
    RUNS = "runs"


_NAME: Final = NAME_PATTERN.strip("^$")
_HEX: Final = "[0-9a-f]{32}"
_COMPLETE: Final = {
    Kind.DATASETS: re.compile(r"[0-9a-f]{64}\.safetensors"),
    Kind.MODELS: re.compile(rf"{_NAME}\.safetensors"),
    Kind.RUNS: re.compile(_HEX),
}
_UNFINISHED: Final = rf"\.{_HEX}\.part"
_CHECKPOINT: Final = rf"\.?{_NAME}(-[0-9a-f]{{64}})?\.safetensors"
_TEMPORARY: Final = {
    # An index that was being rebuilt, with the files that SQLite adds to it.
    "": re.compile(rf"{_UNFINISHED}(-wal|-shm|-journal)?"),
    NAMES_FOLDER: re.compile(_UNFINISHED),
    Kind.DATASETS: re.compile(_UNFINISHED),
    # The checkpoint of the default model is written again on demand. The last two are those of
    # earlier versions and of the library that writes them.
    Kind.MODELS: re.compile(
        rf"{_UNFINISHED}|\.{_NAME}-[0-9a-f]{{64}}\.safetensors"
        rf"|\.{_CHECKPOINT}\.\w{{8}}(\.part)?|\.tmp\w{{6}}"
    ),
    Kind.RUNS: re.compile(rf"\.{_HEX}(-new)?\.part"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A complete file, or the folder of a run.

    Attributes:
        kind: What it is.
        path: Its path.
    """

    kind: Kind
    path: Path

    @property
    def key(self) -> str:
        """Digest of a dataset, name of a model, or id of a run."""
        return self.path.name.removesuffix(SAFETENSORS)

    @property
    def identity(self) -> tuple[Kind, str]:
        """Its kind and key."""
        return self.kind, self.key


def find_complete(folder: Path) -> Iterator[Entry]:
    """Yield the complete files and runs of a data directory, sorted within each kind.

    Args:
        folder: The data directory, or a folder in quarantine, which has the same form.
    """
    for kind in Kind:
        for path in _list(folder / kind):
            is_of_kind = path.is_dir() if kind is Kind.RUNS else path.is_file()
            if is_of_kind and _COMPLETE[kind].fullmatch(path.name):
                yield Entry(kind, path)


def find_temporary(data_dir: Path) -> Iterator[Path]:
    """Yield the temporary files and folders that interrupted work has left.

    Args:
        data_dir: The data directory.
    """
    for name, pattern in _TEMPORARY.items():
        for path in _list(data_dir / name):
            if pattern.fullmatch(path.name):
                yield path


@dataclass(frozen=True, slots=True)
class IndexContent:
    """What an index has.

    Attributes:
        id: Its id; ``None`` if it has none.
        known: Kinds and keys of everything that it knows.
        needed: Those of which there must be files.
        is_empty: Whether it has no rows.
    """

    id: str | None
    known: frozenset[tuple[Kind, str]]
    needed: frozenset[tuple[Kind, str]]
    is_empty: bool


def read_index(connection: Connection) -> IndexContent:
    """Return what an index has, also one that was not migrated yet; nothing is changed.

    Args:
        connection: Connection to the index.
    """
    tables = set(inspect(connection).get_table_names())

    def read(column: InstrumentedAttribute[str], *conditions: ColumnElement[bool]) -> set[str]:
        if column.class_.__tablename__ not in tables:
            return set()
        return set(connection.scalars(select(column).where(*conditions)))

    datasets, models = read(DatasetContentRow.digest), read(ModelRow.name)
    runs, with_files = read(RunRow.run_id), read(RunRow.run_id, RunRow.bytes > 0)
    others = read(DatasetRow.name) | read(ExperimentRow.name)
    files = [(Kind.DATASETS, key) for key in datasets] + [(Kind.MODELS, key) for key in models]
    return IndexContent(
        id=next(iter(read(IdentityRow.id)), None),
        known=frozenset([*files, *((Kind.RUNS, key) for key in runs)]),
        needed=frozenset([*files, *((Kind.RUNS, key) for key in with_files)]),
        is_empty=not (files or runs or others),
    )


def _list(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
