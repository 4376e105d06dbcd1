"""One trial at a time, from its row to its end or pause."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from energy_flow.choices import EventName, RunKind, RunState
from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import (
    EnergyFlowError,
    EngineUnavailable,
    MemoryInUse,
    QueueFull,
    RunCancelled,
    RunPaused,
)
from energy_flow.training import TrainConfig
from service.experiments.active_experiment import ActiveExperiment
from service.experiments.active_training import ActiveTraining
from service.experiments.active_trial import ActiveTrial
from service.experiments.trainings import TrainingJob, Trainings
from service.experiments.views import render_trial
from service.models.model import Model
from service.models.registry import ModelRegistry
from service.problems import Problem, UnusablePath
from service.runs.active_runs import ActiveRuns
from service.runs.recorder import RunRecorder
from service.runs.run_job import RunJob
from service.store.archive import RunArchive
from service.store.dataset_files import DatasetRows
from service.store.descriptions.run import describe_run
from service.store.tables import RunRow

# Most seconds between two attempts to submit a trial to a full queue.
MAX_RETRY_SECONDS = 1.0


class TrialRunner:
    """Carries out trials. Its methods belong to the event loop.

    Args:
        archive: Archive of the trials.
        runs: Active runs, in which trials can be found.
        models: Models that trials use.
        trainings: Carries out the trials that train.
        recorder: Recorder of what happens to trials.
        loop: The event loop.
    """

    def __init__(
        self,
        archive: RunArchive,
        runs: ActiveRuns,
        models: ModelRegistry,
        trainings: Trainings,
        recorder: RunRecorder,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._archive = archive
        self._runs = runs
        self._models = models
        self._trainings = trainings
        self._recorder = recorder
        self._loop = loop

    @property
    def is_stopping(self) -> bool:
        """Whether no trial is started or continued any more."""
        return self._recorder.is_stopping

    def stop(self) -> None:
        """Start no trial from now on, and count ended ones as interrupted, not as cancelled."""
        self._recorder.is_stopping = True

    async def run(self, experiment: ActiveExperiment, row: RunRow) -> ActiveTrial | None:
        """Carry out a trial until it has ended or is paused.

        Args:
            experiment: Its experiment.
            row: Its row.

        Returns:
            The finalized trial; ``None`` if it was not started.

        Raises:
            Problem: 409, its model was removed or is another one now.
            EngineUnavailable: The engine has stopped.
        """
        job = await self._make_job(experiment, row) if experiment.is_running else None
        try:
            trial = await asyncio.to_thread(self._prepare, experiment, row)
        except Exception as error:
            if not experiment.is_ending or self.is_stopping:
                raise
            # It ends nevertheless, and its files are completed once they can be used.
            trial = self._make_trial(experiment, row, ())
            trial.unreadable = error
        if self.is_stopping:
            return None
        experiment.never_started.discard(trial.number)
        experiment.active_trials[trial.number] = trial
        if trial.failure is not None:
            trial.ended(EnergyFlowError("the trial failed"))
        elif experiment.is_ending:
            trial.ended(RunCancelled(f"the experiment {experiment.row.name} was cancelled"))
        elif trial.samples_done == trial.samples:
            trial.ended(None)
        elif job is None or not await self._submit(experiment, trial, job):
            return None
        await trial.wait()
        return trial

    def pause(self, trial: ActiveTrial) -> None:
        """Let a trial end the chunks or the step that it has started, and start no other."""
        if isinstance(trial, ActiveTraining):
            trial.ended(RunPaused(f"run {trial.run_id} was paused"))
        else:
            self._runs.pause(trial)

    def cancel(self, trial: ActiveTrial) -> None:
        """End a trial within a step."""
        self._runs.cancel(trial)

    async def _make_job(
        self, experiment: ActiveExperiment, row: RunRow
    ) -> RunJob | TrainingJob | None:
        """Return the job of a trial; none if the experiment stops while memory is in use."""
        config = FlowConfig.from_dict(row.config)
        model: Model | None
        try:
            if row.kind == RunKind.TRAINING:
                # It loads the checkpoint by itself.
                model = self._models.find_for_run(row.model, row.model_digest, config)
            else:
                model = await self._wait_for_model(experiment, row, config)
        except UnusablePath:
            raise
        except Problem as problem:
            extra = dict(problem.extra)
            if "run_digest" in extra:
                extra["experiment_digest"] = extra["run_digest"]
            message = f"the experiment cannot continue: {problem.detail}"
            raise Problem(409, message, extra=extra) from None
        if model is None:
            return None
        if row.kind == RunKind.TRAINING:
            return await asyncio.to_thread(self._make_training_job, row, model)
        first = experiment.row.dataset_from
        return RunJob(
            model=model,
            config=config,
            embeddings=await asyncio.to_thread(self._archive.inputs, row),
            seed=row.seed,
            sample_keys=range(first, first + row.samples),
            outputs=tuple(row.request["outputs"]),
            deadline=None,
            chunk_samples=experiment.row.request["chunk_samples"],
            client=f"experiment {experiment.row.experiment_id}",
        )

    async def _wait_for_model(
        self, experiment: ActiveExperiment, row: RunRow, config: FlowConfig
    ) -> Model | None:
        """Return the model of a trial once there is memory for it."""
        while experiment.is_running and not self.is_stopping:
            try:
                return await self._models.ready_for_run(row.model, row.model_digest, config)
            except MemoryInUse as error:
                await asyncio.sleep(error.retry_after_seconds)
        return None

    def _make_training_job(self, row: RunRow, model: Model) -> TrainingJob:
        source = self._archive.inputs(row)
        assert isinstance(source, DatasetRows)
        files = {
            "data.train": str(source.verified_file().path),
            "model.checkpoint": str(self._models.checkpoint(model).path),
        }
        return TrainingJob(
            TrainConfig.from_dict(row.request["training"], files),
            self._archive.folder(row.run_id).training,
            row.request["makes_model"],
        )

    def _prepare(self, experiment: ActiveExperiment, row: RunRow) -> ActiveTrial:
        """Return the trial with its stored chunks, and remove everything else from its folder.

        Raises:
            DamagedFile: A file is damaged or lost without which it cannot continue.
        """
        folder = self._archive.folder(row.run_id)
        if not folder.path.exists():
            folder.create(None, description=describe_run(row))
        if row.kind == RunKind.TRAINING:
            return self._make_trial(experiment, row, ())
        unfinished = self._archive.unfinished(row)
        chunks = unfinished.rewind()
        damage = next(unfinished.find_damages(chunks), None)
        if experiment.is_running and damage is not None:
            raise damage
        return self._make_trial(experiment, row, chunks)

    def _make_trial(
        self, experiment: ActiveExperiment, row: RunRow, chunks: Iterable[Mapping[str, Any]]
    ) -> ActiveTrial:
        def on_start(trial: ActiveTrial) -> None:
            if experiment.set_trial_state(trial.number, RunState.RUNNING):
                experiment.events.append(EventName.TRIAL, render_trial(trial.row, experiment))

        if row.kind == RunKind.TRAINING:
            return ActiveTraining(row, self._loop, self._recorder, on_start)
        return ActiveTrial(row, chunks, self._loop, self._recorder, on_start)

    async def _submit(
        self, experiment: ActiveExperiment, trial: ActiveTrial, job: RunJob | TrainingJob
    ) -> bool:
        """Submit a trial to the engine; return whether it was submitted, or refused for good."""
        while experiment.is_running and not self.is_stopping:
            try:
                if isinstance(job, TrainingJob):
                    assert isinstance(trial, ActiveTraining)
                    self._trainings.start(trial, job)
                else:
                    await self._runs.submit_existing(trial, job)
            except QueueFull as error:
                await asyncio.sleep(min(error.retry_after_seconds, MAX_RETRY_SECONDS))
            except EngineUnavailable:
                if not self.is_stopping:
                    raise
                return False
            except EnergyFlowError as error:
                trial.ended(error)
                return True
            else:
                return True
        return False
