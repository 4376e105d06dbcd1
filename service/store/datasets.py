"""Datasets: their names in the index, and the files of their numbers beside it.

The rows decide what exists: a file is kept as long as a name, a run or an experiment refers to its
digest. All methods block; call none from the event loop.

A small file for each name allows a lost index to be rebuilt with the names.
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
from sqlalchemy.orm import Session

from energy_flow.errors import Fault
from service.problems import Problem, storage_limit
from service.store.atomic_files import fsync
from service.store.database import Database, Removal
from service.store.dataset_files import DatasetContent, DatasetRows, DatasetWriter, SealedDataset
from service.store.descriptions.dataset_names import FOLDER as NAMES_FOLDER
from service.store.descriptions.dataset_names import DatasetName, DatasetNames
from service.store.folders import check_removable, make_again, remove_unreferenced
from service.store.names import check_new_name, find_like
from service.store.references import check_dataset_unused, has_other_references, is_unreferenced
from service.store.tables import DatasetContentRow, DatasetRow
from service.store.verification.dataset_digests import DatasetDigests

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named dataset.

    Attributes:
        name: Its name.
        content: Its numbers.
        created_at: Seconds since the epoch, UTC.
        position: Number in the order of arrival.
    """

    name: str
    content: DatasetContent
    created_at: float
    position: int


class DatasetRegistry:
    """All datasets.

    Attributes:
        digests: Their files.
        max_all_bytes: Most bytes of their files, if there is a limit.

    Args:
        database: The index.
        folder: Folder of their files.
        max_bytes: Most bytes of the file of one dataset.
        max_all_bytes: Most bytes of the files of all datasets, if there is a limit.
    """

    def __init__(
        self,
        database: Database,
        folder: Path,
        max_bytes: int,
        max_all_bytes: int | None = None,
    ) -> None:
        self._database = database
        self._folder = folder
        self._names = DatasetNames(folder.parent / NAMES_FOLDER)
        self._max_bytes = max_bytes
        self.max_all_bytes = max_all_bytes
        self.digests = DatasetDigests(database, folder)
        # Held while a row that refers to content is added, and while content is removed.
        self._changing = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def recover(self) -> None:
        """Remove content that is in the index and unused, as a crash leaves it; called at a start.

        It also brings the files of the names up to date.
        """
        with self._database.session() as session:
            unused = session.scalars(select(DatasetContentRow.digest).where(is_unreferenced()))
            digests = list(unused)
        removed = sum(self.release(digest) for digest in digests)
        if removed:
            log.info("removed datasets that nothing refers to: %d", removed)
        with self._changing:
            with self._database.session() as session:
                known = set(session.scalars(select(DatasetContentRow.digest)))
                names = [
                    DatasetName(row.name, row.digest, row.created_at)
                    for row in session.scalars(select(DatasetRow))
                ]

            def is_left(name: DatasetName) -> bool:
                # A file that could not be moved to quarantine keeps its names.
                return name.digest not in known and self.path(name.digest).exists()

            try:
                self._names.reconcile(names, is_left)
            except OSError as error:
                log.warning("the names of datasets could not be written to files: %s", error)

    def find(self, name: str) -> Dataset:
        """Return the dataset of that name.

        Raises:
            Problem: 404.
        """
        with self._database.session() as session:
            found = session.execute(_named().where(DatasetRow.name == name)).one_or_none()
        if found is None:
            message = f"there is no dataset {name!r}"
            raise Problem(404, message, faults=[Fault(("dataset",), message, name)])
        return _dataset(found)

    def page(self, limit: int, before: int | None) -> list[Dataset]:
        """Return datasets, newest first.

        Args:
            limit: Most datasets to return.
            before: Return only datasets that are older than the one of this position.
        """
        query = _named().order_by(DatasetRow.position.desc()).limit(limit)
        if before is not None:
            query = query.where(DatasetRow.position < before)
        with self._database.session() as session:
            return [_dataset(found) for found in session.execute(query)]

    def totals(self) -> tuple[int, int]:
        """Return the number of datasets and the bytes of all files."""
        names = select(func.count()).select_from(DatasetRow)
        size = select(func.coalesce(func.sum(DatasetContentRow.bytes), 0))
        with self._database.session() as session:
            return int(session.scalar(names) or 0), int(session.scalar(size) or 0)

    def path(self, digest: str) -> Path:
        """Return the path of the file with a digest."""
        return self.digests.path(digest)

    def rows_of(self, name: str) -> DatasetRows:
        """Return all inputs of the dataset of that name.

        Raises:
            Problem: 404.
        """
        content = self.find(name).content
        return DatasetRows(self.digests, content.digest, 0, content.rows, content.dim)

    def has(self, digest: str) -> bool:
        """Return whether there is content with a digest."""
        with self._database.session() as session:
            return session.get(DatasetContentRow, digest) is not None

    def rows(self, digest: str) -> DatasetRows:
        """Return all inputs of the dataset with a digest.

        Raises:
            Problem: 404, no dataset has the digest.
        """
        with self._database.session() as session:
            content = session.get(DatasetContentRow, digest)
        if content is None:
            raise Problem(404, f"there is no dataset with the digest {digest}")
        return DatasetRows(self.digests, digest, 0, content.rows, content.dim)

    def writer(self, name: str) -> DatasetWriter:
        """Return a writer for the file of a dataset.

        Args:
            name: Its name.

        Raises:
            Problem: 409, a dataset has a name that differs only in case; 422, the name is reserved.
            Problem: 503, the data directory is gone.
            OSError: The file cannot be created.
        """
        self._check_new_name(name)
        make_again(self._folder)
        return DatasetWriter(self._folder, self._max_bytes)

    def scratch_folder(self) -> Path:
        """Return a folder for temporary files; what a crash leaves of them goes at the next start.

        Raises:
            Problem: 503, the data directory is gone.
        """
        make_again(self._folder)
        return self._folder

    def add(self, name: str, writer: DatasetWriter) -> tuple[Dataset, bool]:
        """Store a written dataset durably under a name.

        Args:
            name: Its name.
            writer: Writer that has all its rows.

        Returns:
            The dataset, and whether the name is new.

        Raises:
            Problem: 409, a dataset with other content has the name, or one has a name that differs
                only in case; 422, the name is reserved; 507, all datasets would have too many
                bytes.
            OSError: The file could not be written; nothing is left of it.
            sqlalchemy.exc.SQLAlchemyError: The rows could not be written; nothing is left.
        """
        sealed = writer.seal()
        content = sealed.content
        with self._changing:
            with self._database.session() as session:
                found = session.execute(_named().where(DatasetRow.name == name)).one_or_none()
            known = self.has(content.digest)
            dataset = None if found is None else _dataset(found)
            if dataset is not None and dataset.content != content:
                raise Problem(
                    409,
                    f"dataset {name!r} already exists with other content; choose another name, or "
                    "delete it first",
                    extra={"digest": dataset.content.digest, "sent_digest": content.digest},
                )
            self._check_new_name(name)
            if not known:
                self._check_limit(content.bytes)
            # Also if the content is known: its file may be lost or damaged.
            writer.place(self.path(content.digest))
            fsync(self._folder)
            if dataset is not None:
                return dataset, False
            try:
                row = DatasetRow(name=name, created_at=time.time(), digest=content.digest)
                self._names.write(DatasetName(name, content.digest, row.created_at))
                with self._database.session(durable=True) as session:
                    if not known:
                        session.add(_content_row(sealed))
                    session.add(row)
            except BaseException:
                self._names.remove(name)
                if not known:
                    self.path(content.digest).unlink(missing_ok=True)
                raise
            return Dataset(name, content, row.created_at, row.position), True

    def delete(self, name: str) -> None:
        """Remove a dataset, and its content unless something else refers to it.

        Args:
            name: Its name.

        Raises:
            Problem: 404; 409, an unfinished run or an experiment uses it.
            OSError: Its files cannot be removed; nothing is removed then.
        """
        digest = self.find(name).content.digest
        check_removable(self._names.path(name))
        check_removable(self.path(digest))
        with self._changing:

            def remove(session: Session) -> None:
                check_dataset_unused(session, name)
                session.execute(delete(DatasetRow).where(DatasetRow.name == name))

            def make_room() -> None:
                with self._database.session() as session:
                    check_dataset_unused(session, name)
                    is_shared = session.scalar(has_other_references(name, digest))
                if not is_shared:
                    self.path(digest).unlink(missing_ok=True)

            with self._database.removing() as removal:
                removal.run(remove, make_room)
                remove_unreferenced(self._names.path(name))
                self._remove_unused(removal, digest)

    @contextmanager
    def prevent_removal(self, digest: str) -> Iterator[None]:
        """Prevent the removal of content while a block adds a row that refers to it.

        Args:
            digest: Digest of the content.

        Raises:
            Problem: 404, the content was removed before.
        """
        with self._changing:
            if not self.has(digest):
                raise Problem(404, "the dataset was deleted during this request")
            yield

    def release(self, digest: str) -> bool:
        """Remove content if nothing refers to it any more.

        What cannot be removed stays until the next start.

        Args:
            digest: Digest of the content.

        Returns:
            Whether it was removed.
        """
        with self._changing, self._database.removing() as removal:
            try:
                check_removable(self.path(digest))
                return self._remove_unused(removal, digest)
            except OSError as error:
                log.warning("the dataset %s, which nothing refers to, stays: %s", digest, error)
                return False

    def _check_new_name(self, name: str) -> None:
        """Refuse a name that no dataset has and no new one can have."""
        with self._database.session() as session:
            like = find_like(session, DatasetRow.name, name)
        if name not in like:
            check_new_name(name, like)

    def _check_limit(self, needed: int) -> None:
        stored = self.totals()[1]
        if self.max_all_bytes is not None and stored + needed > self.max_all_bytes:
            raise storage_limit(
                "datasets", needed, stored, self.max_all_bytes, "--max-datasets-bytes"
            )

    def _remove_unused(self, removal: Removal, digest: str) -> bool:
        is_unused = (DatasetContentRow.digest == digest, is_unreferenced())
        statement = delete(DatasetContentRow).where(*is_unused)
        path = self.path(digest)

        def make_room() -> None:
            with self._database.session() as session:
                unused = session.scalar(select(DatasetContentRow.digest).where(*is_unused))
            if unused is not None:
                path.unlink(missing_ok=True)

        removed = removal.run(
            lambda session: session.scalar(statement.returning(DatasetContentRow.digest)), make_room
        )
        if removed is None:
            return False
        remove_unreferenced(path)
        return True


def _named() -> Select[DatasetRow, DatasetContentRow]:
    return select(DatasetRow, DatasetContentRow).join(
        DatasetContentRow, DatasetContentRow.digest == DatasetRow.digest
    )


def _dataset(found: Row[DatasetRow, DatasetContentRow]) -> Dataset:
    row, content = found
    numbers = DatasetContent(
        content.digest, content.rows, content.dim, content.targets_dim, content.bytes
    )
    return Dataset(row.name, numbers, row.created_at, row.position)


def _content_row(sealed: SealedDataset) -> DatasetContentRow:
    content = sealed.content
    return DatasetContentRow(
        digest=content.digest,
        rows=content.rows,
        dim=content.dim,
        targets_dim=content.targets_dim,
        bytes=content.bytes,
        pieces=sealed.pieces.digests,
    )
