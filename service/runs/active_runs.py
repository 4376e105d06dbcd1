"""All runs that have not ended: submitted, awaited, followed and cancelled."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from energy_flow.choices import RunKind
from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine import Executor
from energy_flow.errors import (
    DeadlineExceeded,
    EnergyFlowError,
    EngineUnavailable,
    ModelNotLoaded,
    QueueFull,
    RunCancelled,
)
from service.models.model import Model
from service.models.registry import ModelRegistry
from service.problems import Problem, unavailable
from service.requests.simulation_request import SimulationRequest
from service.runs.active_run import ActiveRun, PendingRun, Persistence
from service.runs.arithmetic import find_arithmetic, installed_version
from service.runs.buffered_results import BufferedResults
from service.runs.recorder import RunObserver, RunRecorder
from service.runs.run_job import RunJob, make_job, make_row
from service.runs.run_storage import RunStorage
from service.store.archive import RunArchive
from service.store.fsync_thread import FsyncThread
from service.store.idempotency import IdempotencyKey
from service.store.run_ends import RunEnds
from service.store.tables import RunRow
from service.store.writer import Writer
from service.threads import Threads, in_thread

log = logging.getLogger(__name__)

# Ended runs whose events can still be read, until a restart.
MAX_ENDED_RUNS = 64


class ActiveRuns:
    """All runs that have not ended. Its methods belong to the event loop.

    Args:
        executor: Carries them out.
        archive: Archive that stores them.
        ends: Ends those that could not be stored.
        models: Models that they use.
        writer: Thread that writes their results.
        fsync_thread: Thread that waits for the disk after their end.
        loop: The event loop.
        observer: Counts what happens to them.
    """

    def __init__(
        self,
        executor: Executor,
        archive: RunArchive,
        ends: RunEnds,
        models: ModelRegistry,
        writer: Writer,
        fsync_thread: FsyncThread,
        loop: asyncio.AbstractEventLoop,
        observer: RunObserver,
    ) -> None:
        self._executor = executor
        self._archive = archive
        self._models = models
        self._loop = loop
        self._lock = threading.Lock()
        self._active: dict[str, ActiveRun] = {}
        self._ended: OrderedDict[str, ActiveRun] = OrderedDict()
        storage = RunStorage(archive, ends, fsync_thread, observer)
        self._recorder = RunRecorder(storage, writer, executor.cancel, self.forget, observer)

    async def simulate(
        self,
        request: SimulationRequest,
        model: Model,
        client: str,
        wait_for_disconnect: Callable[[], Coroutine[Any, Any, None]],
    ) -> ActiveRun:
        """Run now and wait for the end.

        Args:
            request: The request.
            model: Its model.
            client: Who sends it.
            wait_for_disconnect: Waits until the caller disconnects.

        Returns:
            The run with its results; release it after use.

        Raises:
            EnergyFlowError: The engine refuses the run.
            Problem: The run did not succeed, or 499: the caller disconnected.
        """
        run_id = uuid.uuid4().hex
        is_stored = request.fields.store
        run = self._begin(
            run_id,
            request.samples,
            Persistence.ANSWER_AND_STORE if is_stored else Persistence.ANSWER,
            BufferedResults(request.fields.trace.inline),
            PendingRun(
                make_row(run_id, RunKind.SIMULATE, request, model),
                request.array,
                request.sample_keys,
            )
            if is_stored
            else None,
        )
        await self._submit(run, make_job(request, model, request.embeddings, client))
        ended = asyncio.create_task(run.wait())
        disconnected = asyncio.create_task(wait_for_disconnect())
        try:
            await asyncio.wait({ended, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Also when the server cancels this request.
            if not ended.done():
                run.abandoned = True
                self._executor.cancel(run_id, discard=True)
            ended.cancel()
            disconnected.cancel()
        if run.abandoned:
            raise Problem(499, "the client disconnected")
        if run.problem is not None:
            run.release()
            raise _caller_problem(run)
        return run

    async def queue(
        self,
        request: SimulationRequest,
        model: Model,
        client: str,
        idempotency: IdempotencyKey | None,
    ) -> tuple[RunRow, bool]:
        """Store a run and queue it.

        Args:
            request: The request.
            model: Its model.
            client: Who sends it.
            idempotency: Idempotency key of the request.

        Returns:
            The run, and whether an earlier request with the same key created it.

        Raises:
            Problem: 404, its dataset or model was removed; 422, the key was used for another
                request.
            EnergyFlowError: The engine refuses the run.
            OSError: The run could not be stored.
        """
        created = await self._find_created(idempotency)
        if created is not None:
            return created, True
        run_id = uuid.uuid4().hex
        row = make_row(run_id, RunKind.RUN, request, model)
        if idempotency is not None:
            idempotency.write_to(row)
        if not await in_thread(Threads.CHANGES, self._admit, row, request):
            created = await self._find_created(idempotency)
            if created is None:
                raise unavailable("the run with this Idempotency-Key is being removed; try again")
            return created, True
        run = self._begin(run_id, request.samples, Persistence.STORE)
        try:
            inputs = await in_thread(Threads.READS, self._archive.inputs, row)
            await self._submit(run, make_job(request, model, inputs, client))
        except BaseException:
            await asyncio.to_thread(self._archive.discard, run_id)
            raise
        return row, False

    async def resume(self, rows: Sequence[RunRow]) -> None:
        """Submit the runs that were queued when the server stopped.

        Args:
            rows: Their rows, in the order of arrival.
        """
        queued = [(row, self._begin(row.run_id, row.samples, Persistence.STORE)) for row in rows]
        for row, run in queued:
            while run.ended_at is None:
                try:
                    job = await self._rebuild_job(row)
                    await asyncio.to_thread(self._store_origin, row)
                    await self._submit(run, job, forget=False)
                    break
                except QueueFull as error:
                    await asyncio.sleep(min(error.retry_after_seconds, 5.0))
                except EngineUnavailable:
                    return
                except (EnergyFlowError, Problem) as error:
                    run.ended(error)
                except Exception:
                    ids = {"run_id": row.run_id}
                    log.exception(
                        "run %s could not be resumed after a restart", row.run_id, extra=ids
                    )
                    message = "the run could not be resumed; the log of the server has the details"
                    run.ended(Problem(500, message))

    async def submit_existing(self, run: ActiveRun, job: RunJob) -> None:
        """Submit a run that its owner has stored, from the first sample that is not done.

        Args:
            run: The run.
            job: What the engine needs of it.

        Raises:
            EnergyFlowError: The engine refuses the run.
        """
        self.register(run)
        await self._submit(run, job)

    def register(self, run: ActiveRun) -> None:
        """Make a run of another owner findable until it is forgotten."""
        with self._lock:
            self._active[run.run_id] = run

    def forget(self, run: ActiveRun) -> None:
        """Remove a finalized run; its events are kept for late readers."""
        with self._lock:
            self._active.pop(run.run_id, None)
            if run.persistence is Persistence.STORE or run.abandoned:
                run.release()
            if run.persistence is Persistence.ANSWER:
                return
            self._ended[run.run_id] = run
            while len(self._ended) > MAX_ENDED_RUNS:
                self._ended.popitem(last=False)

    def find(self, run_id: str) -> ActiveRun | None:
        """Return a run that has not ended, or one of the last that have."""
        with self._lock:
            return self._active.get(run_id) or self._ended.get(run_id)

    def cancel(self, run: ActiveRun) -> bool:
        """End a run within a step.

        Returns:
            False if it has ended already.
        """
        if run.ended_at is not None:
            return False
        if not self._executor.cancel(run.run_id) and run.ended_at is None:
            # After a restart it has not been submitted again yet.
            run.ended(RunCancelled(f"run {run.run_id} was cancelled"))
        return True

    def pause(self, run: ActiveRun) -> None:
        """Let a run end the chunks that it has started, and start no other."""
        self._executor.pause(run.run_id)

    def stop(self) -> None:
        """Count runs that the engine ends from now on as interrupted, not as cancelled."""
        self._recorder.is_stopping = True

    def close(self) -> None:
        """Close the events of all runs."""
        with self._lock:
            for run in self._active.values():
                run.events.close()

    def _begin(
        self,
        run_id: str,
        samples: int,
        persistence: Persistence,
        results: BufferedResults | None = None,
        pending: PendingRun | None = None,
    ) -> ActiveRun:
        run = ActiveRun(run_id, samples, self._loop, self._recorder, persistence, results, pending)
        self.register(run)
        return run

    async def _submit(self, run: ActiveRun, job: RunJob, *, forget: bool = True) -> None:
        try:
            while True:
                try:
                    self._executor.submit(job.make_work(run), run)
                    break
                except ModelNotLoaded:
                    # Unloaded since the request was checked.
                    await self._models.reload(job.model)
        except BaseException:
            if forget:
                with self._lock:
                    self._active.pop(run.run_id, None)
            raise

    def _admit(self, row: RunRow, request: SimulationRequest) -> bool:
        references = self._models.prevent_removal(row.model)
        return self._archive.admit(row, request.array, request.sample_keys, references)

    async def _find_created(self, idempotency: IdempotencyKey | None) -> RunRow | None:
        if idempotency is None:
            return None
        return await in_thread(Threads.READS, self._archive.catalog.find_created, idempotency)

    def _store_origin(self, row: RunRow) -> None:
        """Store that this version computes a run, which an earlier one may have queued."""
        origin = (find_arithmetic(row.config, row.request), installed_version())
        if (row.arithmetic, row.version) != origin:
            row.arithmetic, row.version = origin
            self._archive.catalog.change(
                row.run_id, durable=True, arithmetic=row.arithmetic, version=row.version
            )

    async def _rebuild_job(self, row: RunRow) -> RunJob:
        config = FlowConfig.from_dict(row.config)
        model = await self._models.ready_for_run(row.model, row.model_digest, config)
        timeout_ms = row.request["timeout_ms"]
        left = None if timeout_ms is None else row.created_at + timeout_ms / 1e3 - time.time()
        if left is not None and left <= 0:
            raise DeadlineExceeded("the deadline passed while the server was stopped")
        return RunJob(
            model=model,
            config=config,
            embeddings=await asyncio.to_thread(self._archive.inputs, row),
            seed=row.seed,
            sample_keys=await asyncio.to_thread(self._archive.sample_keys, row),
            outputs=tuple(row.request["outputs"]),
            deadline=None if left is None else time.monotonic() + left,
        )


def _caller_problem(run: ActiveRun) -> Problem:
    """Return the problem for the waiting caller, with the run's id if the run was stored."""
    assert run.problem is not None
    is_refused = isinstance(run.error, DeadlineExceeded | EngineUnavailable)
    if run.persistence is Persistence.ANSWER or run.storage_error is not None or is_refused:
        return run.problem
    extra: dict[str, Any] = {"run_id": run.run_id}
    return run.problem.with_extra(**extra)
