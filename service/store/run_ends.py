"""The ends of runs that a crash interrupted, or that cannot be stored at once, as on a full disk.

Such a run keeps the samples that had ended. Its row has its final state, but no time of the end
until its files are complete. A thread completes them once there is room, and so does each start.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from energy_flow.choices import RunKind, RunState
from service.problems import Problem, is_disk_full, unavailable
from service.store.archive import RunArchive
from service.store.run_summary import RunSummary
from service.store.tables import RunRow
from service.store.verification.piece_digests import encode_digests

log = logging.getLogger(__name__)

# Seconds between two looks at the disk while something waits for room.
LOOK_SECONDS = 0.5

# Bytes that must have become free for another attempt before `RETRY_SECONDS` have passed.
MIN_FREED = 64 * 1024

# A quota can hide how much room there is, and some errors pass.
RETRY_SECONDS = 60.0

_FIGURES = ("samples_done", "metrics", "trace", "warnings")


@dataclass(frozen=True, slots=True)
class _IncompleteRun:
    """A run that has ended, and whose files are not complete.

    Attributes:
        columns: How it ended, as columns of its row.
        figures: What its chunks come to, as columns of its row.
        error: Why it could not be completed.
    """

    columns: Mapping[str, Any]
    figures: Mapping[str, Any]
    error: Exception


class RunEnds:
    """Ends runs now or later. Its methods block, and any thread may call them.

    Args:
        archive: Archive of the runs.
    """

    def __init__(self, archive: RunArchive) -> None:
        self._archive = archive
        self._incomplete: dict[str, _IncompleteRun] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="run-ends", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is not complete then is completed by the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def end(
        self, run_id: str, summary: RunSummary, *, is_trial: bool = False, **columns: Any
    ) -> None:
        """End a run of which something could not be stored, with the chunks that could.

        Args:
            run_id: Id of the run.
            summary: Summary of these chunks.
            is_trial: Whether it belongs to an experiment.
            columns: Values of its row, ``state`` among them.
        """
        # What is left of an incomplete chunk takes room.
        try:
            row = self._archive.catalog.get(run_id)
            if row is not None:
                with contextlib.suppress(OSError):
                    self._archive.unfinished(row).rewind()
            self._archive.end(run_id, summary, is_trial=is_trial, **columns)
        except Exception as error:
            self._postpone(run_id, _IncompleteRun(columns, _read_figures(summary), error))

    def end_later(self, row: RunRow, cause: Exception, **columns: Any) -> None:
        """Store how a run ended whose chunks cannot be used now, and complete its files later.

        Args:
            row: Row of the run.
            cause: Why its chunks cannot be used.
            columns: Values of its row, ``state`` among them.
        """
        self._postpone(row.run_id, _IncompleteRun(columns, _read_figures(row), cause))

    def recover(self, make_problem: Callable[[], Problem]) -> list[RunRow]:
        """End the runs that a crash interrupted, and complete others; called at a start.

        Args:
            make_problem: Returns the reason why an interrupted run ended.

        Returns:
            The runs that are still queued, oldest first.
        """
        catalog = self._archive.catalog
        self._archive.count_ended_bytes()
        queued: list[RunRow] = []
        incomplete = catalog.list_incomplete()
        for row in catalog.list_unfinished():
            if row.state == RunState.QUEUED and row.kind == RunKind.RUN:
                queued.append(row)
                continue
            columns = {"error": make_problem().to_dict(), "last_event_id": row.last_event_id + 1}
            self._complete_or_postpone(row, {"state": RunState.FAILED, **columns})
        for row in incomplete:
            self._complete_or_postpone(row, {"state": row.state, "error": row.error})
        try:
            self._check_unsafe()
            self._archive.make_room(0)
        except Exception as error:
            if not is_disk_full(error):
                raise
            log.warning("the disk is full; runs are checked and removed at the next start")
        return queued

    def has(self, run_id: str) -> bool:
        """Return whether a run has ended and waits to be completed."""
        return run_id in self._incomplete

    def make_problem(self, run_id: str) -> Problem:
        """Return the refusal of a request for results of a run that is not complete.

        Args:
            run_id: Id of the run.
        """
        known = self._incomplete.get(run_id)
        if known is not None and is_disk_full(known.error):
            return Problem(
                507,
                f"the results of run {run_id!r} are stored, but need some more room on the disk of "
                "the server, which is full; free some of it, and try again",
            )
        return unavailable(
            f"the results of run {run_id!r} are stored, but cannot be read yet; try again, and if "
            "that does not help, look at the log of the server"
        )

    def _check_unsafe(self) -> None:
        """Wait for the disk, or remove what a power cut has left of a run."""
        for row in self._archive.catalog.list_unsafe():
            if self._archive.folder(row.run_id).size() == row.bytes:
                self._archive.fsync([row.run_id])
            else:
                log.warning("run %s is incomplete after a power cut and is removed", row.run_id)
                self._archive.discard(row.run_id)

    def _complete_or_postpone(self, row: RunRow, columns: Mapping[str, Any]) -> None:
        figures = _read_figures(row)
        try:
            if row.kind != RunKind.TRAINING:
                figures = _read_figures(self._sum_up(row))
            self._complete(row, columns, figures)
        except Exception as error:
            self._postpone(row.run_id, _IncompleteRun(columns, figures, error))

    def _sum_up(self, row: RunRow) -> RunSummary:
        """Return what the chunks of a run that are on the disk come to."""
        summary = RunSummary()
        for chunk in self._archive.unfinished(row).read_intact_chunks():
            summary.add(chunk)
        return summary

    def _complete(
        self, row: RunRow, columns: Mapping[str, Any], figures: Mapping[str, Any]
    ) -> None:
        """End a run with the chunks that are on the disk.

        Raises:
            Exception: It could not be completed.
        """
        folder = self._archive.folder(row.run_id)
        if not folder.path.exists():
            log.warning("the folder of run %s is lost", row.run_id)
            self._archive.catalog.change(
                row.run_id,
                ended_at=time.time(),
                samples_done=0,
                digests=encode_digests({}),
                **columns,
            )
            return
        # A training has no chunks.
        known = figures if row.kind == RunKind.TRAINING else {}
        is_trial = row.experiment_id is not None
        self._archive.end(row.run_id, self._sum_up(row), is_trial=is_trial, **known, **columns)

    def _postpone(self, run_id: str, run: _IncompleteRun) -> None:
        """Store how a run ended, and complete its files later."""
        if is_disk_full(run.error):
            log.warning("run %s is completed once there is room on the disk", run_id)
        else:
            log.error("run %s could not be completed", run_id, exc_info=run.error)
        try:
            columns = {**run.figures, **run.columns, "ended_at": None}
            self._archive.catalog.change_on_full_disk(run_id, **columns)
        except Exception as error:
            log.error("the end of run %s could not be stored yet: %s", run_id, error)
        with self._changed:
            self._incomplete[run_id] = run
            self._changed.notify()

    def _work(self) -> None:
        free, tried_at = 0, time.monotonic()
        while True:
            with self._changed:
                if not self._incomplete:
                    free = 0
                    self._changed.wait_for(lambda: self._incomplete or self._stopping)
                self._changed.wait_for(lambda: self._stopping, LOOK_SECONDS)
                if self._stopping:
                    return
            now = time.monotonic()
            if self._free() < free + MIN_FREED and now < tried_at + RETRY_SECONDS:
                continue
            self._complete_all()
            free, tried_at = self._free(), now

    def _complete_all(self) -> None:
        for run_id, run in list(self._incomplete.items()):
            try:
                row = self._archive.catalog.get(run_id)
                if row is not None:
                    self._complete(row, run.columns, run.figures)
                    log.info("run %s is complete", run_id)
            except Exception as error:
                log.info("run %s could not be completed yet: %s", run_id, error)
                continue
            with self._changed:
                del self._incomplete[run_id]
            self._archive.catalog.database.restore_reserve()

    def _free(self) -> int:
        return shutil.disk_usage(self._archive.path).free


def _read_figures(source: RunSummary | RunRow) -> dict[str, Any]:
    return {name: getattr(source, name) for name in _FIGURES}
