"""Events of experiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from energy_flow.choices import EventName
from energy_flow.client.answers import convert, parse
from energy_flow.client.errors import ProblemError
from energy_flow.client.events import RunEvent
from energy_flow.client.exchange import problem_of
from energy_flow.client.experiments import Experiment, ExperimentProgress, Trial, TrialCounts


@dataclass(frozen=True, slots=True)
class RunningTrial:
    """How much of a trial is done."""

    trial: int
    samples: int
    samples_done: int


@dataclass(frozen=True, slots=True)
class ExperimentEvent:
    """Something that happened in an experiment.

    Attributes:
        id: what a watch resumes after, or ``None``.
        event: ``state``, ``trial``, ``progress`` or ``gap``; a newer server may have more.
        state: of the experiment, with ``state``.
        trials: numbers of trials, with ``state`` and ``progress``.
        progress: how much is done, with ``state`` and ``progress``.
        running: the trials that are running, with ``progress``.
        trial: the trial that has changed its state, with ``trial``.
        problem: why the experiment failed or was paused, with ``state``.
        data: the content of the event as the server sent it.
    """

    id: str | None
    event: str
    state: str | None
    trials: TrialCounts | None
    progress: ExperimentProgress | None
    running: tuple[RunningTrial, ...]
    trial: Trial | None
    problem: ProblemError | None
    data: Any = field(repr=False)


def read_event(event: RunEvent) -> ExperimentEvent:
    """Return an event with types.

    Raises:
        UnexpectedAnswer: a member is missing or has another type.
    """
    data = event.data if isinstance(event.data, Mapping) else {}
    trials, progress = data.get("trials"), data.get("progress")
    is_state = event.event == EventName.STATE
    return ExperimentEvent(
        id=event.id,
        event=event.event,
        state=data.get("state") if is_state else None,
        trials=convert(trials, TrialCounts) if trials is not None else None,
        progress=convert(progress, ExperimentProgress) if progress is not None else None,
        running=convert(data.get("running") or [], tuple[RunningTrial, ...]),
        trial=parse(data, Trial) if event.event == EventName.TRIAL else None,
        problem=problem_of(data) if is_state else None,
        data=event.data,
    )


def current_state(experiment: Experiment) -> ExperimentEvent:
    """Return a ``state`` event with the present state of an experiment."""
    return read_event(
        RunEvent(str(experiment.last_event_id), EventName.STATE.value, experiment.data)
    )
