"""The names of datasets as files, ``NAME.json``: the files of the numbers have no names in them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from service.json_encoding import to_json
from service.store.atomic_files import write_bytes

log = logging.getLogger(__name__)

FOLDER = "dataset_names"
"""Folder of the files in the data directory."""


@dataclass(frozen=True, slots=True)
class DatasetName:
    """The name of a dataset.

    Attributes:
        name: The name.
        digest: Digest of its numbers.
        created_at: Seconds since the epoch, UTC.
    """

    name: str
    digest: str
    created_at: float


class DatasetNames:
    """The files of all names.

    Args:
        folder: Folder of the files; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Return the path of the file of a name."""
        return self._folder / f"{name}.json"

    def write(self, name: DatasetName) -> None:
        """Write the file of a name.

        Raises:
            OSError: It could not be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        content = {"digest": name.digest, "created_at": name.created_at}
        # The index has the name as well, and the next start compares them.
        write_bytes(self.path(name.name), to_json(content), durable=False)

    def remove(self, name: str) -> None:
        """Remove the file of a name, if there is one."""
        self.path(name).unlink(missing_ok=True)

    def find_all(self) -> list[DatasetName]:
        """Return all names whose files can be read, sorted."""
        if not self._folder.is_dir():
            return []
        found = (self._read(path) for path in sorted(self._folder.glob("*.json")))
        return [name for name in found if name is not None]

    def reconcile(
        self, names: Iterable[DatasetName], is_left: Callable[[DatasetName], bool]
    ) -> None:
        """Bring the files up to date with the index.

        Args:
            names: All names of the index.
            is_left: Returns whether a name that is not in the index is kept.

        Raises:
            OSError: A file could not be written.
        """
        wanted = {name.name: name for name in names}
        found = {name.name: name for name in self.find_all()}
        for name in found.keys() - wanted.keys():
            if not is_left(found[name]):
                self.remove(name)
        for name, one in wanted.items():
            if found.get(name) != one:
                self.write(one)

    def _read(self, path: Path) -> DatasetName | None:
        try:
            content = orjson.loads(path.read_bytes())
            created_at = float(content["created_at"])
            # What `datetime` can express, or the list of datasets could not be sent.
            datetime.fromtimestamp(created_at, UTC)
            return DatasetName(path.stem, str(content["digest"]), created_at)
        except (orjson.JSONDecodeError, KeyError, OverflowError, TypeError, ValueError):
            # A power cut can leave an empty file.
            log.warning("%s is damaged", path)
            return None
