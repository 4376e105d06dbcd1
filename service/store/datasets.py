"""Datasets: their names in the index, and the files of their numbers beside it.

Rows are the truth: a file stays as long as a name, a run or an experiment refers to its digest, and
one that nothing refers to is a leftover. All methods block, and none is for the event loop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Row, Select, delete, func, select

from energy_flow.errors import Fault
from service.problems import Problem
from service.store.atomic_files import sync
from service.store.database import Database
from service.store.dataset_files import DatasetContent, DatasetRows, DatasetWriter
from service.store.references import check_dataset_unused, unreferenced
from service.store.tables import DatasetContentRow, DatasetRow

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset by its name.

    Attributes:
        created_at: seconds since the epoch, UTC.
        position: counts up by age.
    """

    name: str
    content: DatasetContent
    created_at: float
    position: int


class DatasetRegistry:
    """All datasets.

    Args:
        folder: where their files lie.
        most_bytes: of one dataset, as it is kept.
    """

    def __init__(self, database: Database, folder: Path, most_bytes: int) -> None:
        self._database = database
        self._folder = folder
        self._most_bytes = most_bytes
        # Held while a row that refers to some content is added, and while content is removed.
        self._changing = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def recover(self) -> None:
        """After a start: removes what nothing refers to, and uploads that were broken off."""
        with self._changing:
            with self._database.session() as session:
                unused = list(
                    session.scalars(select(DatasetContentRow.digest).where(unreferenced()))
                )
                session.execute(delete(DatasetContentRow).where(unreferenced()))
                known = set(session.scalars(select(DatasetContentRow.digest)))
            if unused:
                log.info("removed %d datasets that nothing refers to", len(unused))
            paths = {self.path(digest) for digest in known}
            for entry in self._folder.iterdir():
                if entry not in paths:
                    log.info("removing leftover %s", entry.name)
                    entry.unlink()

    def find(self, name: str) -> Dataset:
        """The dataset of that name.

        Raises:
            Problem: 404.
        """
        with self._database.session() as session:
            found = session.execute(_named().where(DatasetRow.name == name)).one_or_none()
        if found is None:
            said = f"there is no dataset {name!r}"
            raise Problem(404, said, faults=[Fault(("dataset",), said, name)])
        return _dataset(found)

    def page(self, limit: int, before: int | None) -> list[Dataset]:
        """Datasets, newest first, from those older than a position."""
        query = _named().order_by(DatasetRow.position.desc()).limit(limit)
        if before is not None:
            query = query.where(DatasetRow.position < before)
        with self._database.session() as session:
            return [_dataset(found) for found in session.execute(query)]

    def totals(self) -> tuple[int, int]:
        """How many names there are, and the bytes of all that is kept."""
        names = select(func.count()).select_from(DatasetRow)
        size = select(func.coalesce(func.sum(DatasetContentRow.bytes), 0))
        with self._database.session() as session:
            return int(session.scalar(names) or 0), int(session.scalar(size) or 0)

    def path(self, digest: str) -> Path:
        """Where the canonical file of some content lies."""
        return self._folder / f"{digest}.safetensors"

    def rows_of(self, name: str) -> DatasetRows:
        """All rows of the inputs of the dataset of that name.

        Raises:
            Problem: 404.
        """
        content = self.find(name).content
        return DatasetRows(self.path(content.digest), content.digest, 0, content.rows, content.dim)

    def rows(self, digest: str) -> DatasetRows:
        """All rows of the inputs; what refers to the digest keeps them there.

        Raises:
            Problem: 404, there is no such content.
        """
        with self._database.session() as session:
            content = session.get(DatasetContentRow, digest)
        if content is None:
            raise Problem(404, f"there is no dataset with the digest {digest}")
        return DatasetRows(self.path(digest), digest, 0, content.rows, content.dim)

    def writer(self) -> DatasetWriter:
        """For the file of a new dataset.

        Raises:
            OSError: there is no room.
        """
        return DatasetWriter(self._folder, self._most_bytes)

    def add(self, name: str, writer: DatasetWriter) -> tuple[Dataset, bool]:
        """Names what was written, durably.

        Returns:
            the dataset, and whether the name is new.

        Raises:
            Problem: 409, the name is used for other content.
            OSError, sqlalchemy.exc.SQLAlchemyError: it could not be kept; nothing is left of it.
        """
        content = writer.seal()
        with self._changing:
            with self._database.session() as session:
                found = session.execute(_named().where(DatasetRow.name == name)).one_or_none()
                known = session.get(DatasetContentRow, content.digest) is not None
            dataset = None if found is None else _dataset(found)
            if dataset is not None and dataset.content != content:
                raise Problem(
                    409,
                    f"the dataset {name!r} has other content; take another name, or delete it "
                    "first",
                    extra={"digest": dataset.content.digest, "sent_digest": content.digest},
                )
            # Also where it is known: if its file was lost or damaged, this is the remedy.
            writer.place(self.path(content.digest))
            sync(self._folder)
            if dataset is not None:
                return dataset, False
            try:
                row = DatasetRow(name=name, created_at=time.time(), digest=content.digest)
                with self._database.session(durable=True) as session:
                    if not known:
                        session.add(_content_row(content))
                    session.add(row)
            except BaseException:
                if not known:
                    self.path(content.digest).unlink(missing_ok=True)
                raise
            return Dataset(name, content, row.created_at, row.position), True

    def delete(self, name: str) -> None:
        """Forgets a name, and removes its content unless something else refers to it.

        Raises:
            Problem: 404; 409, an unfinished run or an experiment needs it.
        """
        dataset = self.find(name)
        with self._changing:
            with self._database.session(durable=True) as session:
                check_dataset_unused(session, name)
                session.execute(delete(DatasetRow).where(DatasetRow.name == name))
            self._remove_unused(dataset.content.digest)

    @contextmanager
    def keeping(self, digest: str) -> Iterator[None]:
        """While the block lasts no content is removed, so that it can add a row that refers to it.

        Raises:
            Problem: 404, the content is gone.
        """
        with self._changing:
            with self._database.session() as session:
                if session.get(DatasetContentRow, digest) is None:
                    raise Problem(404, "the dataset was deleted meanwhile")
            yield

    def release(self, digest: str) -> None:
        """A row that referred to some content is gone: removes it if that was the last one."""
        with self._changing:
            self._remove_unused(digest)

    def _remove_unused(self, digest: str) -> None:
        removal = delete(DatasetContentRow).where(
            DatasetContentRow.digest == digest, unreferenced()
        )
        with self._database.session(durable=True) as session:
            removed = session.scalar(removal.returning(DatasetContentRow.digest))
        if removed is not None:
            self.path(digest).unlink(missing_ok=True)


def _named() -> Select[DatasetRow, DatasetContentRow]:
    return select(DatasetRow, DatasetContentRow).join(
        DatasetContentRow, DatasetContentRow.digest == DatasetRow.digest
    )


def _dataset(found: Row[DatasetRow, DatasetContentRow]) -> Dataset:
    row, content = found
    told = DatasetContent(
        content.digest, content.rows, content.dim, content.targets_dim, content.bytes
    )
    return Dataset(row.name, told, row.created_at, row.position)


def _content_row(content: DatasetContent) -> DatasetContentRow:
    return DatasetContentRow(
        digest=content.digest,
        rows=content.rows,
        dim=content.dim,
        targets_dim=content.targets_dim,
        bytes=content.bytes,
    )
