"""Runs as they are kept: rows in the index and folders beside it, changed together.

A row is the truth. A folder without one is a leftover, and is removed at the next start. All
methods block, and none is for the event loop.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.engine import EmbeddingSource
from service.problems import Problem
from service.store.catalog import ENDED, RunCatalog
from service.store.datasets import DatasetRegistry
from service.store.run_folder import RunFolder, WholeRun
from service.store.run_summary import RunSummary
from service.store.tables import RunRow

log = logging.getLogger(__name__)


class RunArchive:
    """All runs that are kept.

    Args:
        datasets: whose rows runs may refer to.
        folder: where the runs' folders lie.
        keep_bytes: what ended runs may take; the oldest go first, the newest always stays.
    """

    def __init__(
        self, catalog: RunCatalog, datasets: DatasetRegistry, folder: Path, keep_bytes: int
    ) -> None:
        self.catalog = catalog
        self._datasets = datasets
        self.keep_bytes = keep_bytes
        self._folder = folder
        self._lock = threading.Lock()
        self._ended_bytes = 0
        folder.mkdir(parents=True, exist_ok=True)

    def folder(self, run_id: str) -> RunFolder:
        """The folder of a run, whether it is there or not."""
        return RunFolder(self._folder / run_id)

    def admit(
        self,
        row: RunRow,
        inputs: NDArray[np.float32] | None,
        sample_keys: NDArray[np.int64] | None,
        keeping: AbstractContextManager[None],
    ) -> bool:
        """Keeps a new run, durably; False when its idempotency key is taken.

        Args:
            inputs: its embeddings, unless they are a dataset's.
            keeping: entered while its row is added, so that what it refers to is still there.

        Raises:
            Problem: 404, its dataset is gone.
            OSError, sqlalchemy.exc.SQLAlchemyError: it could not be written; nothing is left of it.
        """
        folder = self.folder(row.run_id)
        folder.create(inputs, sample_keys)
        try:
            with keeping, self._dataset_of(row):
                added = self.catalog.add(row)
        except BaseException:
            folder.remove()
            raise
        if not added:
            folder.remove()
        return added

    def inputs(self, row: RunRow) -> EmbeddingSource:
        """The embeddings of a run, read when they are needed.

        Raises:
            Problem: 404, they are a dataset's, which is gone.
        """
        if row.dataset_digest is None:
            return self.folder(row.run_id).inputs(row.samples)
        first = row.dataset_from or 0
        return self._datasets.rows(row.dataset_digest).part(first, first + row.samples)

    def sample_keys(self, row: RunRow) -> Sequence[int]:
        """The sample keys of a run: given ones, or else the rows' indices."""
        keys = self.folder(row.run_id).sample_keys()
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
        unsaved: RunRow | None = None,
        whole: WholeRun | None = None,
        safe: bool = True,
        is_trial: bool = False,
        **columns: Any,
    ) -> None:
        """Ends a run with what it has.

        Args:
            unsaved: its row, where it has none yet.
            whole: all of it, where it has no folder yet.
            safe: wait until all of it is safely on the disk; else :meth:`make_safe` has to follow.
            is_trial: it stays as long as its experiment, and is not counted among what may go.
            columns: of its row, ``state`` among them.
        """
        folder = self.folder(run_id)
        if whole is None:
            size = folder.seal(summary.samples_done, summary.documents, safe=safe)
        else:
            size = whole.write(folder, summary.documents, safe=safe)
        if not is_trial:
            self._make_room(size)
        columns = {
            "ended_at": time.time(),
            "samples_done": summary.samples_done,
            "metrics": summary.metrics,
            "trace": summary.trace,
            "warnings": summary.warnings,
            "bytes": size,
            "safe": safe,
            **columns,
        }
        if unsaved is None:
            self.catalog.change(run_id, **columns)
        else:
            for name, value in columns.items():
                setattr(unsaved, name, value)
            self.catalog.add(unsaved)
        if not is_trial:
            self._change_bytes(size)

    def make_safe(self, run_ids: Sequence[str], *, sync: bool = True) -> None:
        """Waits until ended runs are safely on the disk, and notes it.

        Args:
            sync: False where the whole disk has just been asked for.
        """
        for run_id in run_ids if sync else ():
            # One that has been removed meanwhile needs nothing.
            with contextlib.suppress(FileNotFoundError):
                self.folder(run_id).make_safe()
        self.catalog.note_safe(run_ids)

    def empty(
        self, run_id: str, error: Mapping[str, Any], last_event_id: int = 0, state: str = "failed"
    ) -> None:
        """Ends a run that could not be stored: its files go, what remains is the reason."""
        self.folder(run_id).remove()
        self.catalog.change(
            run_id,
            state=state,
            error=error,
            ended_at=time.time(),
            samples_done=0,
            bytes=0,
            last_event_id=last_event_id,
        )

    def discard(self, run_id: str, *states: str) -> bool:
        """Removes a run, if it is in one of the states (any, when none is named)."""
        removed = self.catalog.remove(run_id, *states)
        if removed is None:
            return False
        size, dataset_digest = removed
        self.folder(run_id).remove()
        self._change_bytes(-size)
        if dataset_digest is not None:
            self._datasets.release(dataset_digest)
        return True

    @property
    def ended_bytes(self) -> int:
        """What ended runs take."""
        return self._ended_bytes

    def _make_room(self, size: int) -> None:
        """Removes the oldest ended runs until one more of that size is within ``keep_bytes``.

        That one is kept even if it alone is too big: its caller is about to read it.
        """
        while self._ended_bytes and self._ended_bytes + size > self.keep_bytes:
            oldest = self.catalog.oldest_ended()
            if oldest is None:
                return
            if self.discard(oldest.run_id, *ENDED):
                log.info("removed run %s to make room", oldest.run_id)

    def recover(self, interrupted: Callable[[], Problem]) -> list[RunRow]:
        """After a start: ends what a crash interrupted, and removes what it left behind.

        Args:
            interrupted: the reason that is told.

        Returns:
            the runs that still wait to run, oldest first.
        """
        self._ended_bytes = self.catalog.ended_bytes()
        waiting: list[RunRow] = []
        for row in self.catalog.unfinished():
            if row.state == "queued" and row.kind == "run":
                waiting.append(row)
                continue
            try:
                self._end_interrupted(row, interrupted().to_dict())
            except Exception:
                log.exception("run %s could not be recovered", row.run_id)
                self.empty(row.run_id, interrupted().to_dict())
        for row in self.catalog.unsafe():
            if self.folder(row.run_id).size() == row.bytes:
                self.make_safe([row.run_id])
            else:
                log.warning("run %s was damaged by a power cut and is removed", row.run_id)
                self.discard(row.run_id)
        known = self.catalog.ids()
        for entry in self._folder.iterdir():
            if entry.name not in known:
                log.info("removing leftover %s", entry.name)
                RunFolder(entry).remove()
        self._make_room(0)
        return waiting

    def _end_interrupted(self, row: RunRow, error: Mapping[str, Any]) -> None:
        summary = RunSummary()
        for record in self.folder(row.run_id).sound_chunks():
            summary.add(record)
        self.end(
            row.run_id,
            summary,
            state="failed",
            error=error,
            last_event_id=row.last_event_id + 1,
        )

    def _dataset_of(self, row: RunRow) -> AbstractContextManager[None]:
        """While the block lasts, the dataset that a run refers to stays."""
        if row.dataset_digest is None:
            return contextlib.nullcontext()
        return self._datasets.keeping(row.dataset_digest)

    def _change_bytes(self, difference: int) -> None:
        with self._lock:
            self._ended_bytes += difference
