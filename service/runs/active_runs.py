"""Runs on their way: submitted, waited for, followed and cancelled."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine import EmbeddingSource, Engine, RunRequest
from energy_flow.errors import (
    DeadlineExceeded,
    EnergyFlowError,
    EngineUnavailable,
    ModelNotLoaded,
    QueueFull,
    RunCancelled,
)
from service.models.registry import Model, ModelRegistry
from service.problems import Problem, unavailable
from service.requests.validate import Order, dataset_named
from service.runs.active_run import Gathered, Keeping, LiveRun, Unsaved
from service.runs.recorder import ArchiveRecorder, RunObserver
from service.store.archive import RunArchive
from service.store.safety import SafetyThread
from service.store.tables import RunRow
from service.store.writer import Writer

log = logging.getLogger(__name__)

# Runs whose events can be read again after their end, until a restart.
MOST_ENDED_LOGS = 64


@dataclass(frozen=True, slots=True)
class Work:
    """What the engine needs of a run, besides its id."""

    model: Model
    config: FlowConfig
    embeddings: NDArray[np.float32] | EmbeddingSource
    seed: int
    sample_keys: Sequence[int]
    outputs: tuple[str, ...]
    deadline: float | None
    chunk_samples: int | None = None


class Runs:
    """All runs that have not ended. Its methods belong to the event loop."""

    def __init__(
        self,
        engine: Engine,
        archive: RunArchive,
        models: ModelRegistry,
        writer: Writer,
        safety: SafetyThread,
        loop: asyncio.AbstractEventLoop,
        observer: RunObserver,
    ) -> None:
        self._engine = engine
        self._archive = archive
        self._models = models
        self._loop = loop
        self._lock = threading.Lock()
        self._live: dict[str, LiveRun] = {}
        self._ended: OrderedDict[str, LiveRun] = OrderedDict()
        self._recorder = ArchiveRecorder(
            archive, writer, safety, engine.cancel, self.forget, observer
        )

    async def simulate(
        self, order: Order, model: Model, client_gone: Callable[[], Coroutine[Any, Any, None]]
    ) -> LiveRun:
        """Runs now and waits for the end.

        Args:
            client_gone: waits until the client hangs up.

        Returns:
            the run with its results, to be released once they are told.

        Raises:
            EnergyFlowError: the engine refuses the run.
            Problem: it did not succeed; 499, the client hung up.
        """
        run_id = uuid.uuid4().hex
        live = self._begin(
            run_id,
            order.samples,
            Keeping.ANSWER_AND_STORE if order.fields.store else Keeping.ANSWER,
            Gathered(order.fields.trace.inline),
            Unsaved(self._row(run_id, "simulate", order, model), order.array, order.sample_keys)
            if order.fields.store
            else None,
        )
        await self._submit(live, _work(order, model, order.embeddings))
        settled = asyncio.create_task(live.wait())
        gone = asyncio.create_task(client_gone())
        try:
            await asyncio.wait({settled, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Also when the server gives up this request.
            if not settled.done():
                live.withdrawn = True
                self._engine.cancel(run_id)
            settled.cancel()
            gone.cancel()
        if live.withdrawn:
            raise Problem(499, "the client hung up")
        if live.problem is not None:
            live.release()
            raise _told(live)
        return live

    async def queue(
        self, order: Order, model: Model, idempotency: tuple[str, str] | None
    ) -> tuple[RunRow, bool]:
        """Keeps a run that will be carried out in its turn.

        Args:
            idempotency: the caller's key and a digest of the request.

        Returns:
            the run, and whether an earlier request with the same key had made it.

        Raises:
            Problem: 422, the key was used for another request.
            EnergyFlowError: the engine refuses the run.
            OSError: it could not be kept.
        """
        known = await self._with_key(idempotency)
        if known is not None:
            return known, True
        run_id = uuid.uuid4().hex
        row = self._row(run_id, "run", order, model)
        if idempotency is not None:
            row.idempotency_key, row.idempotency_digest = idempotency
        if not await asyncio.to_thread(self._admit, row, order):
            known = await self._with_key(idempotency)
            if known is None:
                raise unavailable("the run with this Idempotency-Key is being removed")
            return known, True
        live = self._begin(run_id, order.samples, Keeping.STORE)
        try:
            inputs = order.dataset or self._archive.folder(run_id).inputs(order.samples)
            await self._submit(live, _work(order, model, inputs))
        except BaseException:
            await asyncio.to_thread(self._archive.discard, run_id)
            raise
        return row, False

    def _admit(self, row: RunRow, order: Order) -> bool:
        keeping = self._models.keeping(row.model)
        return self._archive.admit(row, order.array, order.sample_keys, keeping)

    async def resume(self, rows: Sequence[RunRow]) -> None:
        """Submits the runs that waited when the server stopped, in their order."""
        waiting = [(row, self._begin(row.run_id, row.samples, Keeping.STORE)) for row in rows]
        for row, live in waiting:
            while live.ended_at is None:
                try:
                    await self._submit(live, await self._work_again(row), forget=False)
                    break
                except QueueFull as error:
                    await asyncio.sleep(min(error.retry_after_seconds, 5.0))
                except EngineUnavailable:
                    return
                except EnergyFlowError as error:
                    live.ended(error)
                except Exception:
                    log.exception("run %s cannot go on", row.run_id)
                    live.ended(EnergyFlowError("the run could not go on after a restart"))

    async def carry_on(self, live: LiveRun, work: Work) -> None:
        """Submits a run that its caller has kept, from the first sample that is not done.

        Raises:
            EnergyFlowError: the engine refuses the run.
        """
        self.know(live)
        await self._submit(live, work)

    def know(self, live: LiveRun) -> None:
        """From now on a run of somebody else's can be found, until it is forgotten."""
        with self._lock:
            self._live[live.run_id] = live

    def find(self, run_id: str) -> LiveRun | None:
        """The run, if it has not ended or has ended not long ago."""
        with self._lock:
            return self._live.get(run_id) or self._ended.get(run_id)

    def cancel(self, live: LiveRun) -> bool:
        """Ends a run within a step; False when it has ended already."""
        if live.ended_at is not None:
            return False
        if not self._engine.cancel(live.run_id) and live.ended_at is None:
            # It waits to be submitted again after a restart.
            live.ended(RunCancelled(f"run {live.run_id} was cancelled"))
        return True

    def pause(self, live: LiveRun) -> None:
        """Lets a run end the chunks that it has started, and start no other."""
        self._engine.pause(live.run_id)

    def stop(self) -> None:
        """From now on, what the engine gives up was not cancelled by anyone."""
        self._recorder.stopping = True

    def close(self) -> None:
        """Ends every stream of events."""
        with self._lock:
            for live in self._live.values():
                live.events.close()

    def _begin(
        self,
        run_id: str,
        samples: int,
        keeping: Keeping,
        gathered: Gathered | None = None,
        unsaved: Unsaved | None = None,
    ) -> LiveRun:
        live = LiveRun(run_id, samples, self._loop, self._recorder, keeping, gathered, unsaved)
        with self._lock:
            self._live[run_id] = live
        return live

    async def _submit(self, live: LiveRun, work: Work, *, forget: bool = True) -> None:
        request = RunRequest(
            run_id=live.run_id,
            model=work.model.digest,
            config=work.config,
            embeddings=work.embeddings,
            seed=work.seed,
            sample_keys=work.sample_keys,
            outputs=work.outputs,
            deadline=work.deadline,
            streams=live.keeping is Keeping.STORE,
            first_sample=live.samples_done,
            chunk_samples=work.chunk_samples,
        )
        try:
            while True:
                try:
                    self._engine.submit(request, live)
                    break
                except ModelNotLoaded:
                    # Unloaded since the request was checked.
                    await self._models.ready(work.model.name, work.model.digest)
        except BaseException:
            if forget:
                with self._lock:
                    self._live.pop(live.run_id, None)
            raise

    async def _work_again(self, row: RunRow) -> Work:
        model = await self._models.ready(row.model, row.model_digest)
        timeout_ms = row.request["timeout_ms"]
        left = None if timeout_ms is None else row.created_at + timeout_ms / 1e3 - time.time()
        if left is not None and left <= 0:
            raise DeadlineExceeded("the deadline passed while the server was stopped")
        return Work(
            model=model,
            config=FlowConfig.from_dict(row.config),
            embeddings=await asyncio.to_thread(self._archive.inputs, row),
            seed=row.seed,
            sample_keys=await asyncio.to_thread(self._archive.sample_keys, row),
            outputs=tuple(row.request["outputs"]),
            deadline=None if left is None else time.monotonic() + left,
        )

    async def _with_key(self, idempotency: tuple[str, str] | None) -> RunRow | None:
        if idempotency is None:
            return None
        key, digest = idempotency
        row = await asyncio.to_thread(self._archive.catalog.with_key, key)
        if row is not None and row.idempotency_digest != digest:
            raise Problem(422, "this Idempotency-Key was used for another request")
        return row

    def _row(self, run_id: str, kind: str, order: Order, model: Model) -> RunRow:
        return RunRow(
            run_id=run_id,
            kind=kind,
            state="queued",
            created_at=time.time(),
            model=model.name,
            model_digest=model.digest,
            trained=model.trained,
            seed=order.seed,
            samples=order.samples,
            dataset=dataset_named(order),
            dataset_digest=None if order.dataset is None else order.dataset.digest,
            dataset_from=None if order.dataset is None else order.dataset.first,
            samples_done=0,
            config=order.config.to_dict(),
            request={
                "options": order.options,
                "outputs": list(order.fields.outputs),
                "timeout_ms": order.fields.timeout_ms,
            },
            warnings=[],
            bytes=0,
            safe=kind == "run",
            last_event_id=0,
        )

    def forget(self, live: LiveRun) -> None:
        """The run has ended: only its events stay, for those who read them late."""
        with self._lock:
            self._live.pop(live.run_id, None)
            if live.keeping is Keeping.STORE or live.withdrawn:
                live.release()
            if live.keeping is Keeping.ANSWER:
                return
            self._ended[live.run_id] = live
            while len(self._ended) > MOST_ENDED_LOGS:
                self._ended.popitem(last=False)


def _work(order: Order, model: Model, embeddings: NDArray[np.float32] | EmbeddingSource) -> Work:
    timeout_ms = order.fields.timeout_ms
    return Work(
        model=model,
        config=order.config,
        embeddings=embeddings,
        seed=order.seed,
        sample_keys=order.keys,
        outputs=tuple(order.fields.outputs),
        deadline=None if timeout_ms is None else time.monotonic() + timeout_ms / 1e3,
    )


def _told(live: LiveRun) -> Problem:
    """What the waiting caller is told; where the run was kept, with its id."""
    assert live.problem is not None
    refused = isinstance(live.error, DeadlineExceeded | EngineUnavailable)
    if live.keeping is Keeping.ANSWER or live.storage_error is not None or refused:
        return live.problem
    extra: dict[str, Any] = {"run_id": live.run_id}
    return live.problem.with_extra(**extra)
