"""What callers may ask of experiments: make one, look at it, pause, resume, cancel, remove it."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import Any

from service.experiments.answers import experiment_answer
from service.experiments.live_experiment import IDS_OF_A_LIFE, LiveExperiment
from service.experiments.plan import Plan
from service.experiments.runner import ExperimentRunner
from service.experiments.store import ExperimentStore
from service.models.registry import ModelRegistry
from service.problems import Problem, not_found
from service.states import ENDED, State, refusal, states_before
from service.store.archive import RunArchive
from service.store.datasets import DatasetRegistry
from service.store.tables import ExperimentRow

# What a caller waits for chunks to end, or for trials to be cancelled.
SETTLE_SECONDS = 5.0


class ExperimentDesk:
    """Experiments as callers see them. Its methods belong to the event loop."""

    def __init__(
        self,
        store: ExperimentStore,
        runner: ExperimentRunner,
        archive: RunArchive,
        datasets: DatasetRegistry,
        models: ModelRegistry,
    ) -> None:
        self.store = store
        self.runner = runner
        self._archive = archive
        self._datasets = datasets
        self._models = models

    async def create(
        self, plan: Plan, idempotency: tuple[str, str] | None
    ) -> tuple[ExperimentRow, bool]:
        """Keeps an experiment, durably, which will be carried out in its turn.

        Args:
            idempotency: the caller's key and a digest of the request.

        Returns:
            the experiment, and whether an earlier request with the same key had made it.

        Raises:
            Problem: 409, the name is taken; 404, the dataset or the model was deleted meanwhile;
                422, the key was used for another request.
            OSError, sqlalchemy.exc.SQLAlchemyError: it could not be kept; nothing is left of it.
        """
        known = await self._with_key(idempotency)
        if known is not None:
            return known, True
        row = _row(plan, idempotency)
        if not await asyncio.to_thread(self._keep, plan, row):
            known = await self._with_key(idempotency)
            if known is not None:
                return known, True
            raise Problem(409, f"there is an experiment {row.name!r} already")
        await self.runner.begin(row)
        return row, False

    async def find(self, id_or_name: str) -> ExperimentRow:
        """The experiment of that id or name.

        Raises:
            Problem: 404.
        """
        while True:
            row = await asyncio.to_thread(self.store.find, id_or_name)
            if row is None:
                raise not_found(f"experiment {id_or_name!r}")
            live = self.runner.find(row.experiment_id)
            if live is not None:
                return live.row
            # One that has just been kept is queued, and about to be taken on.
            if row.state in (*ENDED, State.QUEUED):
                return row
            # It has ended since it was read.

    def answer(self, row: ExperimentRow) -> dict[str, Any]:
        """An experiment as a resource."""
        return experiment_answer(row, self.runner.find(row.experiment_id))

    async def pause(self, row: ExperimentRow) -> ExperimentRow:
        """Starts no other chunk, and waits a while for those under way.

        Raises:
            Problem: 409.
        """
        live = self._changeable(row, "pause an experiment", State.PAUSED)
        await self._change(live, "pause an experiment", State.PAUSED)
        await _within_reason(live.quiet)
        return live.row

    async def resume(self, row: ExperimentRow) -> ExperimentRow:
        """Goes on where it was paused.

        Raises:
            Problem: 409.
        """
        action, allowed = "resume an experiment", (State.PAUSED,)
        live = self._changeable(row, action, State.RUNNING, allowed)
        started_at = live.row.started_at or time.time()
        await self._change(live, action, State.RUNNING, allowed, started_at=started_at, error=None)
        return live.row

    async def cancel(self, row: ExperimentRow) -> ExperimentRow:
        """Ends it within a step; its trials keep what they had. Waits a while for its end.

        Raises:
            Problem: 409.
        """
        action = "cancel an experiment"
        live = self.runner.find(row.experiment_id)
        if live is None or live.state in ENDED:
            raise refusal(action, row.state, states_before(State.CANCELLED))
        async with live.lock:
            if live.state in ENDED:
                raise refusal(action, live.state, states_before(State.CANCELLED))
            await self.runner.note(live, cancelling=True)
        await _within_reason(live.ended)
        return live.row

    async def delete(self, row: ExperimentRow) -> None:
        """Removes an experiment that has ended, with its trials and all their files.

        Raises:
            Problem: 404; 409, it has not ended.
        """
        live = self.runner.find(row.experiment_id)
        if live is not None or row.state not in ENDED:
            raise refusal("delete an experiment", row.state, ENDED)
        if not await asyncio.to_thread(self._remove, row):
            raise not_found(f"experiment {row.name!r}")

    def _changeable(
        self,
        row: ExperimentRow,
        action: str,
        target: State,
        allowed: tuple[State, ...] | None = None,
    ) -> LiveExperiment:
        allowed = states_before(target) if allowed is None else allowed
        live = self.runner.find(row.experiment_id)
        if live is None:
            raise refusal(action, row.state, allowed)
        # One that is being cancelled is as good as cancelled.
        state = State.CANCELLED if live.row.cancelling else live.state
        if state not in allowed:
            raise refusal(action, state, allowed)
        return live

    async def _change(
        self,
        live: LiveExperiment,
        action: str,
        target: State,
        allowed: tuple[State, ...] | None = None,
        **columns: Any,
    ) -> None:
        try:
            await self.runner.change(live, target, **columns)
        except ValueError:
            # Somebody else was quicker.
            raise refusal(action, live.state, allowed or states_before(target)) from None

    def _keep(self, plan: Plan, row: ExperimentRow) -> bool:
        with self._models.keeping(row.model), self._datasets.keeping(row.dataset_digest):
            return self.store.add(row, _trials(plan, row))

    def _remove(self, row: ExperimentRow) -> bool:
        run_ids = self.store.remove(row.experiment_id)
        if run_ids is None:
            return False
        for run_id in run_ids:
            self._archive.folder(run_id).remove()
        self._datasets.release(row.dataset_digest)
        return True

    async def _with_key(self, idempotency: tuple[str, str] | None) -> ExperimentRow | None:
        if idempotency is None:
            return None
        key, digest = idempotency
        row = await asyncio.to_thread(self.store.with_key, key)
        if row is not None and row.idempotency_digest != digest:
            raise Problem(422, "this Idempotency-Key was used for another request")
        return row


async def _within_reason(event: asyncio.Event) -> None:
    """Waits for an event, but not for ever."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), SETTLE_SECONDS)


def _row(plan: Plan, idempotency: tuple[str, str] | None) -> ExperimentRow:
    fields, model = plan.fields, plan.model
    key, digest = idempotency or (None, None)
    return ExperimentRow(
        experiment_id=uuid.uuid4().hex,
        name=fields.name,
        kind=fields.kind,
        state=State.QUEUED,
        cancelling=False,
        created_at=time.time(),
        model=model.name,
        model_digest=model.digest,
        trained=model.trained,
        coord_version=model.config.coord_version,
        dataset=plan.dataset.name,
        dataset_digest=plan.dataset.content.digest,
        dataset_from=plan.first_row,
        samples=plan.samples,
        trials=len(plan.trials),
        request={
            "options": fields.options,
            "outputs": list(fields.outputs),
            "sweep": None if fields.sweep is None else fields.sweep.model_dump(exclude_none=True),
            "seeds": fields.seeds,
            "trace": fields.trace.options(),
            "max_parallel": fields.max_parallel,
            "fail_fast": fields.fail_fast,
            "chunk_samples": fields.chunk_samples,
            "train": fields.train,
            "fields": list(plan.swept),
        },
        samples_done=0,
        flow_steps=0,
        warnings=list(plan.warnings),
        last_event_id=IDS_OF_A_LIFE,
        idempotency_key=key,
        idempotency_digest=digest,
    )


def _trials(plan: Plan, row: ExperimentRow) -> list[dict[str, Any]]:
    """Columns of the runs of all trials."""
    return [
        {
            "run_id": uuid.uuid4().hex,
            "kind": "trial" if trial.training is None else "training",
            "state": State.QUEUED,
            "created_at": row.created_at,
            "model": row.model,
            "model_digest": row.model_digest,
            "trained": row.trained,
            "seed": trial.seed,
            "samples": row.samples,
            "dataset": row.dataset,
            "dataset_digest": row.dataset_digest,
            "dataset_from": row.dataset_from,
            "samples_done": 0,
            "config": trial.config.to_dict(),
            "request": {
                "options": trial.options,
                "outputs": row.request["outputs"],
                "timeout_ms": None,
                "parameters": trial.parameters,
                "training": None if trial.training is None else trial.training.to_dict(),
                "makes_model": trial.makes_model,
            },
            "warnings": [],
            "bytes": 0,
            "safe": True,
            "last_event_id": 0,
            "experiment_id": row.experiment_id,
            "trial": number,
        }
        for number, trial in enumerate(plan.trials)
    ]
