"""Experiments carried out: which trials are at work, and what becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import (
    EnergyFlowError,
    EngineUnavailable,
    QueueFull,
    RunCancelled,
    RunPaused,
)
from energy_flow.training import TrainConfig
from service.events import CAPACITY, EventLog
from service.experiments.answers import experiment_answer, trial_answer
from service.experiments.live_experiment import (
    IDS_OF_A_LIFE,
    PROGRESS_SECONDS,
    LiveExperiment,
    number_of,
)
from service.experiments.live_training import LiveTraining
from service.experiments.live_trial import LiveTrial
from service.experiments.recording import TrialRecorder
from service.experiments.store import ExperimentStore
from service.experiments.trainings import Trainings, TrainingWork
from service.models.registry import Model, ModelRegistry
from service.problems import Problem, problem_of
from service.runs.active_runs import Runs, Work
from service.states import State, changed
from service.store.archive import RunArchive
from service.store.dataset_files import DatasetRows
from service.store.run_summary import RunSummary
from service.store.tables import ExperimentRow, RunRow

log = logging.getLogger(__name__)

# Trials in the engine together, of all experiments; beyond what fills a device they only wait.
MOST_AT_WORK = 64

# Experiments whose events can be read again after their end, until a restart.
MOST_ENDED_LOGS = 16

# Between tries to write down what a full disk had no room for.
AGAIN_SECONDS = 1.0


class ExperimentRunner:
    """All experiments that have not ended. Its methods belong to the event loop.

    Trials are taken up one by one, of the experiment that has the fewest at work.
    """

    def __init__(
        self,
        store: ExperimentStore,
        archive: RunArchive,
        runs: Runs,
        models: ModelRegistry,
        trainings: Trainings,
        recorder: TrialRecorder,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._store = store
        self._archive = archive
        self._runs = runs
        self._models = models
        self._trainings = trainings
        self._recorder = recorder
        self._loop = loop
        self._live: dict[str, LiveExperiment] = {}
        self._ended: OrderedDict[str, EventLog] = OrderedDict()
        self._changed = asyncio.Event()
        self._stopping = self._closed = False
        self._scheduling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Goes on with what had not ended when the server stopped."""
        for row in await asyncio.to_thread(self._store.unfinished):
            self._take_on(await asyncio.to_thread(self._recovered, row))
        self._scheduling = asyncio.create_task(self._schedule())

    async def begin(self, row: ExperimentRow) -> None:
        """Takes on an experiment that was kept."""
        self._take_on(await asyncio.to_thread(self._begun, row))

    def _begun(self, row: ExperimentRow) -> LiveExperiment:
        return LiveExperiment(row, self._store.trials(row.experiment_id), self._loop)

    def _take_on(self, live: LiveExperiment) -> None:
        self._live[live.row.experiment_id] = live
        live.tell_state()
        self._changed.set()

    def find(self, experiment_id: str) -> LiveExperiment | None:
        """The experiment, if it has not ended."""
        return self._live.get(experiment_id)

    def events(self, row: ExperimentRow) -> EventLog:
        """The events of an experiment; of one that ended long ago, the last."""
        live = self._live.get(row.experiment_id)
        if live is not None:
            return live.events
        known = self._ended.get(row.experiment_id)
        if known is not None:
            return known
        log_of_one = EventLog(self._loop, ids_before=row.last_event_id - 1)
        answer = experiment_answer(row, None)
        told = {name: answer[name] for name in ("state", "trials", "progress", "error")}
        log_of_one.append("state", told)
        log_of_one.close()
        return log_of_one

    async def change(self, live: LiveExperiment, target: State, **columns: Any) -> None:
        """Brings an experiment into another state, durably.

        Raises:
            ValueError: the table of states has no such change.
            OSError, sqlalchemy.exc.SQLAlchemyError: it could not be written; nothing has changed.
        """
        async with live.lock:
            await self._enter(live, target, **columns)

    async def note(self, live: LiveExperiment, **columns: Any) -> None:
        """Sets columns of an experiment, durably."""
        await asyncio.to_thread(self._store.change, live.row.experiment_id, **columns)
        for name, value in columns.items():
            setattr(live.row, name, value)
        self._changed.set()

    def stop(self) -> None:
        """From now on no chunk is started; those under way go on to their end."""
        self._stopping = self._recorder.stopping = True
        for live in self._live.values():
            self._pause_trials(live)
        self._changed.set()

    async def close(self) -> None:
        """Ends every task and every stream of events; the engine and the writer have stopped."""
        self._closed = True
        self._changed.set()
        if self._scheduling is not None:
            await self._scheduling
        tasks = [task for live in self._live.values() for task in live.tasks]
        if tasks:
            await asyncio.wait(tasks)
        for live in self._live.values():
            live.events.close()

    async def _enter(self, live: LiveExperiment, target: State, **columns: Any) -> None:
        await self.note(live, state=changed(live.row.state, target), **columns)
        live.tell_state()

    async def _schedule(self) -> None:
        while not self._closed:
            self._changed.clear()
            for live in list(self._live.values()):
                self._look_after(live)
            at_work = self._take_up()
            timeout = PROGRESS_SECONDS if at_work else None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout)

    def _look_after(self, live: LiveExperiment) -> None:
        """Does what its state asks for."""
        if live.at_work:
            live.tell_progress()
        if self._stopping:
            return
        if live.ending:
            for trial in live.at_work.values():
                if trial is not None:
                    self._runs.cancel(trial)
            if live.untouched and not live.closing:
                self._close(live, self._cancel_untouched(live, live.take_untouched()))
        elif not live.going:
            self._pause_trials(live)
        if live.over:
            self._close(live, self._finish(live))

    def _pause_trials(self, live: LiveExperiment) -> None:
        for trial in live.at_work.values():
            if isinstance(trial, LiveTraining):
                trial.ended(RunPaused(f"run {trial.run_id} was paused"))
            elif trial is not None:
                self._runs.pause(trial)

    def _take_up(self) -> int:
        """Begins trials while there is room; how many are at work."""
        at_work = sum(len(live.at_work) for live in self._live.values())
        while at_work < MOST_AT_WORK and not self._stopping:
            ready = [live for live in self._live.values() if live.room > 0]
            if not ready:
                break
            live = min(ready, key=lambda one: len(one.at_work))
            live.busy(True)
            self._spawn(live, self._carry_out(live, live.take_up()))
            at_work += 1
        return at_work

    def _close(self, live: LiveExperiment, writing: Coroutine[Any, Any, None]) -> None:
        live.closing = True
        self._spawn(live, writing)

    def _spawn(self, live: LiveExperiment, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        live.tasks.add(task)
        task.add_done_callback(live.tasks.discard)

    async def _carry_out(self, live: LiveExperiment, number: int) -> None:
        """Takes a trial as far as it goes now."""
        try:
            await self._start(live)
            await self._advance(live, number)
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                log.exception("trial %d of experiment %s", number, live.row.name)
            await self._hold(live, problem)
        finally:
            live.put_back(number)
            live.busy(bool(live.at_work))
            self._changed.set()

    async def _start(self, live: LiveExperiment) -> None:
        """The first trial that is taken up begins the experiment."""
        async with live.lock:
            if live.state is State.QUEUED and live.going:
                await self._enter(live, State.RUNNING, started_at=time.time())

    async def _advance(self, live: LiveExperiment, number: int) -> None:
        row = await asyncio.to_thread(self._store.trial, live.row.experiment_id, number)
        if row is None or self._stopping or not (live.going or live.ending):
            return
        work = await self._work(live, row) if live.going else None
        trial = await asyncio.to_thread(self._prepared, live, row)
        if self._stopping:
            return
        live.untouched.discard(number)
        live.at_work[number] = trial
        if trial.verdict is not None:
            trial.ended(EnergyFlowError("the trial failed"))
        elif live.ending:
            trial.ended(RunCancelled(f"the experiment {live.row.name} was cancelled"))
        elif trial.samples_done == trial.samples:
            trial.ended(None)
        elif work is None or not await self._submitted(live, trial, work):
            return
        await trial.wait()
        await self._settled(live, trial)

    async def _work(self, live: LiveExperiment, row: RunRow) -> Work | TrainingWork:
        """What a trial needs to be carried out.

        Raises:
            Problem: 409, the model or the dataset is not what it was.
        """
        try:
            model = await self._models.ready(row.model)
        except Problem as problem:
            raise Problem(409, f"the experiment cannot go on: {problem.detail}") from None
        if model.digest != row.model_digest:
            said = f"the experiment cannot go on: the model {row.model!r} has other weights now"
            extra = {"digest": model.digest, "experiment_digest": row.model_digest}
            raise Problem(409, said, extra=extra)
        if row.kind == "training":
            return await asyncio.to_thread(self._training_work, row, model)
        first = live.row.dataset_from
        return Work(
            model=model,
            config=FlowConfig.from_dict(row.config),
            embeddings=await asyncio.to_thread(self._archive.inputs, row),
            seed=row.seed,
            sample_keys=range(first, first + row.samples),
            outputs=tuple(row.request["outputs"]),
            deadline=None,
            chunk_samples=live.row.request["chunk_samples"],
        )

    def _prepared(self, live: LiveExperiment, row: RunRow) -> LiveTrial:
        """The trial with the chunks that it has, and nothing else in its folder."""
        folder = self._archive.folder(row.run_id)
        if not folder.path.exists():
            folder.create(None)

        def began(trial: LiveTrial) -> None:
            self._began(live, trial)

        if row.kind == "training":
            return LiveTraining(row, self._loop, self._recorder, began)
        return LiveTrial(row, folder.rewind(), self._loop, self._recorder, began)

    def _training_work(self, row: RunRow, model: Model) -> TrainingWork:
        source = self._archive.inputs(row)
        assert isinstance(source, DatasetRows)
        files = {
            "data.train": str(source.path),
            "model.checkpoint": str(self._models.checkpoint(model)),
        }
        return TrainingWork(
            TrainConfig.from_dict(row.request["training"], files),
            self._archive.folder(row.run_id).training,
            row.request["makes_model"],
        )

    async def _submitted(
        self, live: LiveExperiment, trial: LiveTrial, work: Work | TrainingWork
    ) -> bool:
        """Hands a trial to the engine; false when it is not to go on after all."""
        while live.going and not self._stopping:
            try:
                if isinstance(work, TrainingWork):
                    assert isinstance(trial, LiveTraining)
                    self._trainings.carry_on(trial, work)
                else:
                    await self._runs.carry_on(trial, work)
            except QueueFull as error:
                await asyncio.sleep(min(error.retry_after_seconds, 1.0))
            except EngineUnavailable:
                if not self._stopping:
                    raise
                return False
            except EnergyFlowError as error:
                trial.ended(error)
                return True
            else:
                return True
        return False

    def _began(self, live: LiveExperiment, trial: LiveTrial) -> None:
        if live.enter_state(trial.number, State.RUNNING):
            live.events.append("trial", trial_answer(trial.row, live))

    async def _settled(self, live: LiveExperiment, trial: LiveTrial) -> None:
        """The engine and the recorder are done with it, for now or for good."""
        state = State(trial.state)
        live.look()
        if live.enter_state(trial.number, state):
            row = await asyncio.to_thread(self._store.trial, live.row.experiment_id, trial.number)
            if row is not None:
                live.events.append("trial", trial_answer(row, live))
        if state is State.FAILED and live.row.request["fail_fast"]:
            live.failing_fast = True
        if state is State.PAUSED and trial.problem is not None:
            await self._hold(live, trial.problem)

    async def _hold(self, live: LiveExperiment, problem: Problem) -> None:
        """Pauses an experiment that cannot go on; it can be resumed."""
        if live.state not in (State.QUEUED, State.RUNNING) or self._stopping:
            return
        try:
            await self.change(live, State.PAUSED, error=problem.to_dict())
        except Exception:
            # Where the disk is full. The next start will find out again.
            log.exception("the pause of experiment %s could not be noted", live.row.name)
            live.row.state, live.row.error = State.PAUSED, problem.to_dict()
            live.tell_state()

    async def _cancel_untouched(self, live: LiveExperiment, numbers: list[int]) -> None:
        """Ends trials that never began."""
        experiment_id = live.row.experiment_id
        if not await self._written(lambda: self._store.cancel_queued(experiment_id, numbers)):
            return
        told = await asyncio.to_thread(self._cancelled, experiment_id, numbers)
        for number in numbers:
            if live.enter_state(number, State.CANCELLED) and number in told:
                live.events.append("trial", told[number])
        live.closing = False
        self._changed.set()

    def _cancelled(self, experiment_id: str, numbers: list[int]) -> dict[int, dict[str, Any]]:
        """What is told of trials that never began, of as many as a log of events holds."""
        first, last = numbers[-CAPACITY:][0], numbers[-1]
        rows = self._store.trials(experiment_id, first=first, states=[State.CANCELLED])
        return {number_of(row): trial_answer(row, None) for row in rows if number_of(row) <= last}

    async def _finish(self, live: LiveExperiment) -> None:
        """All trials have ended."""
        failed = live.counts[State.FAILED]
        if live.row.cancelling:
            target = State.CANCELLED
        else:
            target = State.FAILED if failed else State.SUCCEEDED
        row = live.row
        error = await asyncio.to_thread(self._failure, row) if failed else None
        columns: dict[str, Any] = {
            "state": changed(row.state, target),
            "ended_at": time.time(),
            "counts": {str(state): count for state, count in live.counts.items()},
            "samples_done": live.samples_done,
            "flow_steps": live.flow_steps,
            "error": error,
            # That of the event below.
            "last_event_id": live.events.last_id + 1,
        }
        if not await self._written(lambda: self._store.change(row.experiment_id, **columns)):
            return
        for name, value in columns.items():
            setattr(row, name, value)
        self._live.pop(row.experiment_id, None)
        self._ended[row.experiment_id] = live.events
        while len(self._ended) > MOST_ENDED_LOGS:
            self._ended.popitem(last=False)
        live.tell_state()
        live.events.close()
        live.ended.set()
        log.info("experiment %s: %s", row.name, row.state)

    def _failure(self, row: ExperimentRow) -> dict[str, Any]:
        """Why an experiment has failed."""
        trials = self._store.trials(row.experiment_id, states=[State.FAILED])
        first = trials[0].error or {}
        said = f"{len(trials)} of {row.trials} trials failed; trial {number_of(trials[0])}: "
        problem = Problem(first.get("status", 500), said + first.get("detail", ""))
        return problem.to_dict()

    async def _written(self, write: Callable[[], None]) -> bool:
        """Writes down an end; tries again where there is no room now, until the server stops."""
        while not self._stopping:
            try:
                await asyncio.to_thread(write)
            except Exception as error:
                log.error("an end could not be written down yet: %s", error)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return True
        return False

    def _recovered(self, experiment: ExperimentRow) -> LiveExperiment:
        """After a start: with its trials as they are, those that were at work by their chunks."""
        ids_before = experiment.last_event_id
        self._store.change(experiment.experiment_id, last_event_id=ids_before + IDS_OF_A_LIFE)
        trials = self._store.trials(experiment.experiment_id)
        for row in trials:
            if row.state == State.RUNNING and row.error is None:
                self._note_chunks(experiment, row)
        return LiveExperiment(experiment, trials, self._loop, ids_before)

    def _note_chunks(self, experiment: ExperimentRow, row: RunRow) -> None:
        if experiment.state == State.PAUSED:
            row.state = changed(row.state, State.PAUSED)
        if row.kind == "trial":
            summary = RunSummary()
            for chunk in self._archive.folder(row.run_id).sound_chunks():
                summary.add(chunk)
            row.samples_done, row.metrics = summary.samples_done, summary.metrics
        self._archive.catalog.change(
            row.run_id, state=row.state, samples_done=row.samples_done, metrics=row.metrics
        )
