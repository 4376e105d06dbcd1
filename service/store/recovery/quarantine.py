"""The quarantine of a data directory: complete files that the index does not know.

Each start that finds some puts them into a folder of its own, named for the time, with the form of
the data directory: ``quarantine/20260131T120000Z/runs/ID``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.store.atomic_files import fsync, remove_path
from service.store.descriptions.dataset_names import FOLDER as NAMES_FOLDER
from service.store.descriptions.dataset_names import DatasetName, DatasetNames
from service.store.recovery.content import SAFETENSORS, Entry, Kind, find_complete

log = logging.getLogger(__name__)

QUARANTINE = "quarantine"
"""Folder of the quarantine in the data directory."""


@dataclass(frozen=True, slots=True)
class QuarantinedEntry:
    """A file or a run in quarantine.

    Attributes:
        id: Its path below the quarantine.
        entry: What it is.
        bytes: Its size.
        names: Names that a dataset had.
    """

    id: str
    entry: Entry
    bytes: int
    names: tuple[DatasetName, ...]


class Quarantine:
    """The quarantine of a data directory.

    Args:
        data_dir: The data directory.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._folder = data_dir / QUARANTINE

    def add(self, entries: Iterable[Entry]) -> int:
        """Move entries of the data directory into quarantine.

        One that cannot be moved, as on a mounted disk of its own, stays where it is.

        Args:
            entries: The entries.

        Returns:
            The number of entries that were moved.
        """
        folder: Path | None = None
        names = DatasetNames(self._data_dir / NAMES_FOLDER).find_all()
        moved = 0
        for entry in entries:
            try:
                folder = folder or self._make_folder()
                if entry.kind is Kind.DATASETS:
                    # First, so that a crash in between leaves no dataset without its names.
                    for name in names:
                        if name.digest == entry.key:
                            DatasetNames(folder / NAMES_FOLDER).write(name)
                _move(entry.path, folder / entry.kind / entry.path.name)
            except OSError as error:
                log.warning("%s is not in the index and stays there: %s", entry.path, error)
            else:
                log.warning("moved %s, which is not in the index, to %s", entry.path, folder)
                moved += 1
        try:
            # Nothing is left of what could not be moved, at this start or an earlier one.
            self.tidy()
            if folder is not None:
                _remove_if_empty(self._folder)
        except OSError as error:
            log.warning("a folder of the quarantine could not be removed: %s", error)
        return moved

    def find_all(self) -> list[QuarantinedEntry]:
        """Return all entries, the oldest first."""
        return [
            self._describe(folder, entry)
            for folder in self._folders()
            for entry in find_complete(folder)
        ]

    def find(self, entry_id: str) -> QuarantinedEntry | None:
        """Return the entry of that id, if there is one."""
        return next((one for one in self.find_all() if one.id == entry_id), None)

    def place(self, one: QuarantinedEntry, name: str | None = None) -> Path:
        """Return the place of an entry in the data directory.

        Args:
            one: The entry.
            name: New name of a model.
        """
        file = one.entry.path.name if name is None else f"{name}{SAFETENSORS}"
        return self._data_dir / one.entry.kind / file

    @contextmanager
    def taken_out(
        self, one: QuarantinedEntry, place: Path, names: Collection[DatasetName] = ()
    ) -> Iterator[None]:
        """Move an entry back to its place in the data directory, unless the block fails.

        Args:
            one: The entry.
            place: Its place, which is free.
            names: Names of the dataset in the data directory, if it is one.

        Raises:
            OSError: It could not be moved.
        """
        files = DatasetNames(self._data_dir / NAMES_FOLDER)
        known = {name.name for name in files.find_all()}
        try:
            # First, so that after a crash the next start puts the dataset back with its names.
            for name in names:
                files.write(name)
            _move(one.entry.path, place)
            yield
        except BaseException:
            try:
                if place.exists():
                    _move(place, one.entry.path)
                for name in names:
                    if name.name not in known:
                        files.remove(name.name)
            except OSError as error:
                log.warning("%s stays there until the next start: %s", place, error)
            raise
        try:
            self.tidy()
        except OSError as error:
            log.warning("a folder of the quarantine could not be removed: %s", error)

    def remove(self, entries: Iterable[QuarantinedEntry]) -> None:
        """Delete entries for good.

        Args:
            entries: The entries.

        Raises:
            OSError: One could not be deleted.
        """
        for one in entries:
            remove_path(one.entry.path)
        self.tidy()

    def tidy(self) -> None:
        """Remove the folders of starts of which no entry is left."""
        for folder in self._folders():
            if not any(find_complete(folder)):
                for name in (*Kind, NAMES_FOLDER):
                    for path in (folder / name).glob("*.json"):
                        path.unlink()
                    _remove_if_empty(folder / name)
                _remove_if_empty(folder)

    def _describe(self, folder: Path, entry: Entry) -> QuarantinedEntry:
        files = entry.path.rglob("*") if entry.path.is_dir() else [entry.path]
        names = DatasetNames(folder / NAMES_FOLDER).find_all()
        return QuarantinedEntry(
            id=str(entry.path.relative_to(self._folder).with_name(entry.key)),
            entry=entry,
            bytes=sum(path.stat().st_size for path in files if path.is_file()),
            names=tuple(
                name for name in names if entry.kind is Kind.DATASETS and name.digest == entry.key
            ),
        )

    def _folders(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return sorted(path for path in self._folder.iterdir() if path.is_dir())

    def _make_folder(self) -> Path:
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        number = 1
        while True:
            folder = self._folder / (now if number == 1 else f"{now}-{number}")
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                number += 1
            else:
                return folder


def _move(path: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    path.rename(place)
    fsync(place.parent)
    fsync(path.parent)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
