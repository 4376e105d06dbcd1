"""What callers can do with experiments: create, read, pause, resume, cancel and delete them."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from energy_flow.choices import ENDED_STATES, ExperimentKind, RunKind, RunState, names_of
from service.experiments.active_experiment import ActiveExperiment
from service.experiments.arithmetic import find_arithmetic_problem, find_trials_arithmetic
from service.experiments.plan import Plan
from service.experiments.runner import ExperimentRunner
from service.experiments.store import EVENT_IDS_PER_START, RESTARTED, ExperimentStore
from service.experiments.trial_plans import TrialPlan
from service.experiments.views import render_experiment
from service.models.registry import ModelRegistry
from service.plots.unreached_cells import add_marks
from service.problems import Problem, not_found
from service.runs.arithmetic import find_arithmetic, installed_version
from service.states import refusal, states_before
from service.store.archive import RunArchive
from service.store.datasets import DatasetRegistry
from service.store.idempotency import IdempotencyKey
from service.store.tables import ExperimentRow, RunRow
from service.threads import Threads, in_thread


class ExperimentService:
    """Experiments as callers see them. Its methods belong to the event loop.

    Attributes:
        store: Store of the experiments.
        runner: All experiments that have not ended.

    Args:
        store: Store of the experiments.
        runner: All experiments that have not ended.
        archive: Archive of the trials.
        datasets: Datasets that experiments refer to.
        models: Models that experiments refer to.
        max_wait_seconds: Most seconds that a request waits for chunks to end, or for trials to be
            cancelled.
    """

    def __init__(
        self,
        store: ExperimentStore,
        runner: ExperimentRunner,
        archive: RunArchive,
        datasets: DatasetRegistry,
        models: ModelRegistry,
        max_wait_seconds: float,
    ) -> None:
        self.store = store
        self.runner = runner
        self._archive = archive
        self._datasets = datasets
        self._models = models
        self._max_wait_seconds = max_wait_seconds

    async def create(
        self, plan: Plan, idempotency: IdempotencyKey | None
    ) -> tuple[ExperimentRow, bool]:
        """Store an experiment durably and start it.

        Args:
            plan: The checked request.
            idempotency: Idempotency key of the request.

        Returns:
            The experiment, and whether an earlier request with the same key created it.

        Raises:
            Problem: 404, the dataset or the model was removed during the request; 409, the name,
                or that of a model that it makes, is used, will be used by another training, or
                differs only in case; 422, a name is reserved, or the key was used for another
                request; 507, the models that it would make exceed the limit of all models.
            OSError: The experiment could not be stored; nothing is left of it.
            sqlalchemy.exc.SQLAlchemyError: Likewise.
        """
        created = await in_thread(Threads.READS, self.store.find_created, idempotency)
        if created is not None:
            return created, True
        if plan.fields.kind == ExperimentKind.TRAIN:
            count = len(plan.trials)
            await in_thread(Threads.READS, self._models.stored.check_room, plan.model.config, count)
        row = _make_row(plan, idempotency)
        if not await in_thread(Threads.CHANGES, self._add, plan, row):
            created = await in_thread(Threads.READS, self.store.find_created, idempotency)
            if created is not None:
                return created, True
            message = f"experiment {row.name!r} already exists; choose another name"
            raise Problem(409, message)
        await self.runner.begin(row)
        return row, False

    async def find(self, id_or_name: str) -> ExperimentRow:
        """Return the experiment of that id or name, or whose id begins with it.

        Raises:
            Problem: 404; 409, several ids begin with it.
        """
        while True:
            row = await in_thread(Threads.READS, self.store.find, id_or_name)
            if row is None:
                raise not_found(f"experiment {id_or_name!r}")
            active = self.runner.find(row.experiment_id)
            if active is not None:
                return active.row
            # A queued one has just been stored, and is about to be started.
            if row.state in (*ENDED_STATES, RunState.QUEUED):
                return row
            # It has ended since the row was read.

    async def relabel(self, row: ExperimentRow, **labels: Any) -> ExperimentRow:
        """Change tags or note of an experiment.

        Args:
            row: The experiment.
            labels: New values by column.

        Raises:
            Problem: 404, it was removed before.
        """
        changed = await in_thread(Threads.CHANGES, self.store.relabel, row.experiment_id, **labels)
        if changed is None:
            raise not_found(f"experiment {row.name!r}")
        active = self.runner.find(row.experiment_id)
        if active is None:
            return changed
        active.row.tags, active.row.note = changed.tags, changed.note
        return active.row

    def answer(self, row: ExperimentRow) -> dict[str, Any]:
        """Return an experiment as a resource."""
        return render_experiment(row, self.runner.find(row.experiment_id))

    async def pause(self, row: ExperimentRow) -> ExperimentRow:
        """Pause an experiment, and wait some seconds for the chunks that have been started.

        Raises:
            Problem: 409, it cannot be paused in its state.
        """
        experiment = self._find_changeable(row, "pause an experiment", RunState.PAUSED)
        await self._change(experiment, "pause an experiment", RunState.PAUSED)
        await self._wait_briefly(experiment.idle)
        return experiment.row

    async def resume(self, row: ExperimentRow) -> ExperimentRow:
        """Continue a paused experiment.

        Raises:
            Problem: 409, it is not paused, or was started with another arithmetic.
        """
        action, allowed = "resume an experiment", (RunState.PAUSED,)
        experiment = self._find_changeable(row, action, RunState.RUNNING, allowed)
        problem = find_arithmetic_problem(experiment.row, experiment.arithmetic)
        if problem is not None:
            raise problem
        started_at = experiment.row.started_at or time.time()
        await self._change(
            experiment, action, RunState.RUNNING, allowed, started_at=started_at, error=None
        )
        return experiment.row

    async def retry(self, row: ExperimentRow) -> ExperimentRow:
        """Start the trials of a failed experiment again that failed or were cancelled.

        Raises:
            Problem: 404, it was removed meanwhile; 409, it has not failed, was started with another
                arithmetic, or a model that it would make has a name that is used by now.
        """
        action, allowed = "retry an experiment", (RunState.FAILED,)
        if self.runner.find(row.experiment_id) is not None or row.state != RunState.FAILED:
            raise refusal(action, row.state, allowed)
        ids_before = row.last_event_id + EVENT_IDS_PER_START - 1
        if not await in_thread(Threads.CHANGES, self._restart, row):
            raise refusal(action, (await self.find(row.experiment_id)).state, allowed)
        restarted = await in_thread(Threads.READS, self.store.find, row.experiment_id)
        assert restarted is not None
        await self.runner.begin(restarted, ids_before)
        return restarted

    async def cancel(self, row: ExperimentRow) -> ExperimentRow:
        """Cancel an experiment, and wait some seconds for its end.

        Its trials end within a step and keep what they have.

        Raises:
            Problem: 409, it has ended.
        """
        action = "cancel an experiment"
        experiment = self.runner.find(row.experiment_id)
        if experiment is None or experiment.state in ENDED_STATES:
            raise refusal(action, row.state, states_before(RunState.CANCELLED))
        async with experiment.lock:
            if experiment.state in ENDED_STATES:
                raise refusal(action, experiment.state, states_before(RunState.CANCELLED))
            await self.runner.set_columns(experiment, cancelling=True)
        await self._wait_briefly(experiment.ended)
        return experiment.row

    async def delete(self, row: ExperimentRow) -> None:
        """Remove an ended experiment with its trials and all their files.

        Raises:
            Problem: 404, it was removed before; 409, it has not ended.
        """
        active = self.runner.find(row.experiment_id)
        if active is not None or row.state not in ENDED_STATES:
            raise refusal("delete an experiment", row.state, ENDED_STATES)
        if not await in_thread(Threads.CHANGES, self._remove, row):
            raise not_found(f"experiment {row.name!r}")

    def _find_changeable(
        self,
        row: ExperimentRow,
        action: str,
        target: RunState,
        allowed: tuple[RunState, ...] | None = None,
    ) -> ActiveExperiment:
        allowed = states_before(target) if allowed is None else allowed
        experiment = self.runner.find(row.experiment_id)
        if experiment is None:
            raise refusal(action, row.state, allowed)
        # Its cancellation cannot be undone.
        state = RunState.CANCELLED if experiment.row.cancelling else experiment.state
        if state not in allowed:
            raise refusal(action, state, allowed)
        return experiment

    async def _change(
        self,
        experiment: ActiveExperiment,
        action: str,
        target: RunState,
        allowed: tuple[RunState, ...] | None = None,
        **columns: Any,
    ) -> None:
        try:
            await self.runner.change(experiment, target, **columns)
        except ValueError:
            # Another request has changed the state.
            raise refusal(action, experiment.state, allowed or states_before(target)) from None

    async def _wait_briefly(self, event: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), self._max_wait_seconds)

    def _add(self, plan: Plan, row: ExperimentRow) -> bool:
        trials = _make_trials(plan, row)
        row.arithmetic = max(trial["arithmetic"] for trial in trials)
        made = [trial.makes_model for trial in plan.trials if trial.makes_model is not None]
        with (
            self._models.prevent_removal(row.model),
            self._datasets.prevent_removal(row.dataset_digest),
        ):
            return self.store.add(
                row, trials, partial(self._models.names.check_promised, names=made)
            )

    def _restart(self, row: ExperimentRow) -> bool:
        all_trials = self.store.trials(row.experiment_id)
        problem = find_arithmetic_problem(row, find_trials_arithmetic(all_trials))
        if problem is not None:
            raise problem
        before = [trial for trial in all_trials if trial.state in RESTARTED]
        made = [trial.request.get("makes_model") for trial in before]
        check = partial(
            self._models.names.check_promised, names=[name for name in made if name is not None]
        )
        for trial in before:
            self._archive.folder(trial.run_id).check_removable()
        with (
            self._models.prevent_removal(row.model),
            self.store.database.removing() as removal,
        ):
            trials = [_queue_again(trial) for trial in before]
            run_ids = self.store.restart(removal, row, trials, check)
            if run_ids is None:
                return False
            self._archive.remove_folders(run_ids)
        return True

    def _remove(self, row: ExperimentRow) -> bool:
        def make_room() -> bool:
            trials = self.store.trials(row.experiment_id)
            self._archive.remove_folders(trial.run_id for trial in trials)
            return True

        for trial in self.store.trials(row.experiment_id):
            self._archive.folder(trial.run_id).check_removable()
        with self.store.database.removing() as removal:
            # It has ended, so no file is added meanwhile.
            run_ids = self.store.remove(removal, row.experiment_id, make_room)
            if run_ids is None:
                return False
            self._archive.remove_folders(run_ids)
        self._datasets.release(row.dataset_digest)
        return True


def _make_row(plan: Plan, idempotency: IdempotencyKey | None) -> ExperimentRow:
    fields, model = plan.fields, plan.model
    row = ExperimentRow(
        experiment_id=uuid.uuid4().hex,
        name=fields.name,
        tags=fields.tags,
        note=fields.note,
        kind=fields.kind,
        state=RunState.QUEUED,
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
            "outputs": list(names_of(fields.outputs)),
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
        last_event_id=EVENT_IDS_PER_START,
        version=installed_version(),
    )
    if idempotency is not None:
        idempotency.write_to(row)
    return row


def _make_trials(plan: Plan, row: ExperimentRow) -> list[dict[str, Any]]:
    """Return the columns of the runs of all trials."""
    return [_make_trial(trial, number, row) for number, trial in enumerate(plan.trials)]


def _make_trial(trial: TrialPlan, number: int, row: ExperimentRow) -> dict[str, Any]:
    config = trial.config.to_dict()
    outputs = row.request["outputs"]
    request = {
        "options": trial.options,
        "outputs": outputs if trial.training is not None else list(add_marks(outputs)),
        "timeout_ms": None,
        "parameters": trial.parameters,
        "training": None if trial.training is None else trial.training.to_dict(),
        "makes_model": trial.makes_model,
    }
    return {
        **_UNTOUCHED,
        "run_id": uuid.uuid4().hex,
        "name": "",
        "tags": [],
        "note": "",
        "kind": RunKind.TRIAL if trial.training is None else RunKind.TRAINING,
        "created_at": row.created_at,
        "model": row.model,
        "model_digest": row.model_digest,
        "trained": row.trained,
        "seed": trial.seed,
        "samples": row.samples,
        "dataset": row.dataset,
        "dataset_digest": row.dataset_digest,
        "dataset_from": row.dataset_from,
        "config": config,
        "request": request,
        "arithmetic": find_arithmetic(config, request),
        "version": row.version,
        "experiment_id": row.experiment_id,
        "trial": number,
    }


# Columns of a run that has not started.
_UNTOUCHED: Final[Mapping[str, Any]] = {
    "state": RunState.QUEUED,
    "samples_done": 0,
    "warnings": [],
    "bytes": 0,
    "safe": True,
    "last_event_id": 0,
    "worker": None,
    "worker_kinds": [],
    "attempts": 0,
}
_SAME = (
    "name",
    "tags",
    "note",
    "kind",
    "created_at",
    "model",
    "model_digest",
    "trained",
    "seed",
    "samples",
    "dataset",
    "dataset_digest",
    "dataset_from",
    "config",
    "request",
    "arithmetic",
    "version",
    "experiment_id",
    "trial",
)


def _queue_again(before: RunRow) -> dict[str, Any]:
    """Return the columns of a run that starts a trial again."""
    same = {name: getattr(before, name) for name in _SAME}
    return {**_UNTOUCHED, **same, "run_id": uuid.uuid4().hex}
