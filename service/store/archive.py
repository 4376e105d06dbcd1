"""Stored runs: rows in the index and folders beside it, changed together.

The row decides whether a run exists. A folder without one is put into quarantine at the next start.
All methods block; call none from the event loop.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import ENDED_STATES, RunKind
from energy_flow.engine import EmbeddingSource
from service.problems import DamagedFile, damaged_index, not_found
from service.store.atomic_files import write_bytes
from service.store.catalog import RunCatalog
from service.store.datasets import DatasetRegistry
from service.store.descriptions.run import DESCRIPTION, describe_run
from service.store.run_folder import RunFolder, WholeRun, remove_folders
from service.store.run_layouts import find_output_layouts
from service.store.run_summary import RunSummary
from service.store.stored_run import StoredRun
from service.store.tables import RunRow
from service.store.unfinished_run import UnfinishedRun
from service.store.verification.piece_digests import (
    PieceDigests,
    decode_digests,
    encode_digests,
)

log = logging.getLogger(__name__)


class RunArchive:
    """All stored runs.

    Attributes:
        path: Folder of the runs' folders.

    Args:
        catalog: Their rows.
        datasets: The datasets that runs can refer to.
        folder: Folder of the runs' folders.
        keep_bytes: Bytes that ended runs may take. The oldest are removed first; the newest is
            always kept.
    """

    def __init__(
        self, catalog: RunCatalog, datasets: DatasetRegistry, folder: Path, keep_bytes: int
    ) -> None:
        self.catalog = catalog
        self._datasets = datasets
        self.keep_bytes = keep_bytes
        self.path = folder
        self._lock = threading.Lock()
        self._ended_bytes = 0
        folder.mkdir(parents=True, exist_ok=True)

    def folder(self, run_id: str) -> RunFolder:
        """Return the folder of a run, which need not exist."""
        return RunFolder(self.path / run_id)

    def unfinished(self, row: RunRow) -> UnfinishedRun:
        """Return the chunks of a run that has not ended.

        Args:
            row: Row of the run.

        Raises:
            Problem: 503, the index is damaged.
        """
        return UnfinishedRun(self.folder(row.run_id), find_output_layouts(row))

    def open(self, row: RunRow) -> StoredRun:
        """Return the files of a run, for reading.

        Args:
            row: Row of the run.

        Raises:
            Problem: 503, the index is damaged.
        """
        encoded = self.catalog.find_digests(row.run_id)
        try:
            digests = None if encoded is None else decode_digests(encoded)
        except ValueError as error:
            raise damaged_index(str(error)) from error
        return StoredRun(self.folder(row.run_id), row, digests)

    @contextmanager
    def noticing_removal(self, run_id: str) -> Iterator[None]:
        """Read files of a run that may be removed meanwhile.

        Args:
            run_id: Id of the run.

        Raises:
            Problem: 404, it was removed meanwhile.
            DamagedFile: A file is damaged.
        """
        try:
            yield
        except (DamagedFile, FileNotFoundError):
            if self.catalog.get(run_id) is None:
                raise not_found(f"run {run_id!r}") from None
            raise

    def admit(
        self,
        row: RunRow,
        inputs: NDArray[np.float32] | None,
        sample_keys: NDArray[np.int64] | None,
        references: AbstractContextManager[None],
    ) -> bool:
        """Store a new run durably.

        Args:
            row: Its row.
            inputs: Embeddings [samples, dim]; ``None`` if they are rows of a dataset.
            sample_keys: Keys [samples] that the caller gave, if any.
            references: Context in which nothing that the row refers to is removed, besides its
                dataset.

        Returns:
            False if an earlier request has its idempotency key.

        Raises:
            Problem: 404, its dataset was removed.
            OSError: The folder could not be written; nothing is left of it.
            sqlalchemy.exc.SQLAlchemyError: The row could not be written; nothing is left of it.
        """
        folder = self.folder(row.run_id)
        created = folder.create(inputs, sample_keys, description=describe_run(row))
        row.digests = encode_digests(created)
        try:
            with references, self._prevent_dataset_removal(row):
                added = self.catalog.add(row)
        except BaseException:
            folder.remove()
            raise
        if not added:
            folder.remove()
        return added

    def inputs(self, row: RunRow) -> EmbeddingSource:
        """Return the embeddings of a run, which are read when they are needed.

        Args:
            row: Row of the run.

        Raises:
            Problem: 404, they are rows of a dataset that was removed.
        """
        if row.dataset_digest is None:
            return self.open(row).inputs()
        first = row.dataset_from or 0
        return self._datasets.rows(row.dataset_digest).part(first, first + row.samples)

    def sample_keys(self, row: RunRow) -> Sequence[int]:
        """Return the sample keys of a run: those of the request, or the indices of its rows.

        Args:
            row: Row of the run.
        """
        keys = self.open(row).sample_keys()
        if keys is not None:
            given: list[int] = keys.tolist()
            return given
        first = row.dataset_from or 0
        return range(first, first + row.samples)

    def end(
        self,
        run_id: str,
        summary: RunSummary,
        *,
        new_row: RunRow | None = None,
        whole: WholeRun | None = None,
        durable: bool = True,
        is_trial: bool = False,
        **columns: Any,
    ) -> None:
        """End a run with the samples that it has.

        Args:
            run_id: Id of the run.
            summary: Summary of its chunks.
            new_row: Its row, if it is not in the index yet.
            whole: All results, if it has neither a folder nor a row yet.
            durable: Whether to wait until all files are on the disk. Without it :meth:`fsync` must
                follow.
            is_trial: Whether it is kept as long as its experiment, and not counted among the runs
                that can be removed.
            columns: Values of its row, ``state`` among them.

        Raises:
            OSError: The folder could not be written.
            sqlalchemy.exc.SQLAlchemyError: The row could not be written.
        """
        folder = self.folder(run_id)
        columns = {
            "ended_at": time.time(),
            "samples_done": summary.samples_done,
            "metrics": summary.metrics,
            "trace": summary.trace,
            "warnings": summary.warnings,
            "safe": durable,
            **columns,
        }
        row = new_row or self.catalog.get(run_id)
        description = None if row is None else describe_run(row, **columns)
        described = None if row is None else (row.name, row.tags, row.note)
        if whole is None:
            digests = self._seal(folder, summary, row, description, durable=durable)
            size = folder.size()
        else:
            written = folder.write(whole, summary.documents, description, durable=durable)
            size = sum(entry.size for entry in written.values())
            digests = {**written}
        columns |= {"bytes": size, "digests": encode_digests(digests)}
        if not is_trial:
            self.make_room(size)
        if new_row is None:
            is_stored = self.catalog.change(run_id, **columns)
            if described is not None and self.catalog.find_labels(run_id) not in (None, described):
                # Changed since it was described.
                self.relabel(run_id)
        else:
            for name, value in columns.items():
                setattr(new_row, name, value)
            is_stored = self.catalog.add(new_row)
        # One that failed before can have been removed meanwhile.
        if is_stored and not is_trial:
            self._add_ended_bytes(size)

    def relabel(self, run_id: str, **labels: Any) -> RunRow | None:
        """Change name, tags or note of a run, also in its description.

        Args:
            run_id: Id of the run.
            labels: New values by column.

        Returns:
            The run, if there is one of that id.

        Raises:
            OSError: The description could not be written; nothing has changed.
        """
        folder = self.path / run_id

        def describe(row: RunRow) -> None:
            # A trial that has not started has no folder.
            if folder.is_dir():
                write_bytes(folder / DESCRIPTION, describe_run(row))

        return self.catalog.relabel(run_id, describe, **labels)

    def fsync(self, run_ids: Sequence[str], *, is_synced: bool = False) -> None:
        """Wait until the files of ended runs are on the disk, and record it in their rows.

        Args:
            run_ids: Ids of the runs.
            is_synced: Whether the whole disk has just been synced.
        """
        for run_id in () if is_synced else run_ids:
            # The run may have been removed meanwhile.
            with contextlib.suppress(FileNotFoundError):
                self.folder(run_id).fsync()
        self.catalog.mark_safe(run_ids)

    def discard(self, run_id: str, *states: str) -> bool:
        """Remove a run that is no trial.

        Args:
            run_id: Id of the run.
            states: States in which it may be removed; any state if none is named.

        Returns:
            Whether it was removed.

        Raises:
            OSError: Its folder cannot be removed; nothing is removed then.
        """
        folder = self.folder(run_id)
        folder.check_removable()
        with self.catalog.database.removing() as removal:
            removed = self.catalog.remove(removal, run_id, *states, make_room=folder.remove)
            if removed is None:
                return False
            size, dataset_digest = removed
            folder.remove()
            self._add_ended_bytes(-size)
            if dataset_digest is not None:
                self._datasets.release(dataset_digest)
            return True

    @property
    def ended_bytes(self) -> int:
        """Bytes of all ended runs, without trials."""
        return self._ended_bytes

    def remove_folders(self, run_ids: Iterable[str]) -> None:
        """Remove the files of runs whose rows are removed by others.

        Args:
            run_ids: Ids of the runs.
        """
        remove_folders(self.folder(run_id) for run_id in run_ids)

    def count_ended_bytes(self) -> None:
        """Count the bytes of all ended runs; called at a start."""
        self._ended_bytes = self.catalog.sum_ended_bytes()

    def make_room(self, size: int) -> None:
        """Remove the oldest ended runs until ``size`` more bytes are within ``keep_bytes``.

        A run that alone is too large is kept: its caller is about to read it.
        """
        while self._ended_bytes and self._ended_bytes + size > self.keep_bytes:
            oldest = self.catalog.find_oldest_ended()
            if oldest is None:
                return
            if self.discard(oldest.run_id, *ENDED_STATES):
                ids = {"run_id": oldest.run_id}
                log.info("removed run %s to make room", oldest.run_id, extra=ids)

    def _seal(
        self,
        folder: RunFolder,
        summary: RunSummary,
        row: RunRow | None,
        description: bytes | None,
        *,
        durable: bool,
    ) -> dict[str, PieceDigests | None]:
        """Complete the folder of a run, and return the digests of all files that it must have."""
        layouts = {} if row is None else find_output_layouts(row)
        damaged = UnfinishedRun(folder, layouts).seal(summary, description, durable=durable)
        digests: dict[str, PieceDigests | None] = {**folder.digest_files()}
        if row is not None and row.kind != RunKind.TRAINING and summary.samples_done:
            outputs = [f"{name}.npy" for name in row.request["outputs"]]
            damaged += [name for name in outputs if name not in digests]
        for name in damaged:
            log.warning("the file %s of run %s is damaged or lost", name, folder.path.name)
            digests[name] = None
        # The inputs are verified with what was sent, not with what is there now.
        return digests | decode_digests(self.catalog.find_digests(folder.path.name) or b"{}")

    def _prevent_dataset_removal(self, row: RunRow) -> AbstractContextManager[None]:
        if row.dataset_digest is None:
            return contextlib.nullcontext()
        return self._datasets.prevent_removal(row.dataset_digest)

    def _add_ended_bytes(self, difference: int) -> None:
        with self._lock:
            self._ended_bytes += difference
