"""Experiments as a server tells of them: trials, progress, events and results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from energy_flow.client.errors import ProblemError, UnexpectedAnswer
from energy_flow.client.events import ENDED_STATES, RunEvent
from energy_flow.client.exchange import problem_from_json
from energy_flow.client.results import DatasetRows, ModelVersion, read_as

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class TrialCounts:
    """How many trials there are, and how many in each state."""

    total: int
    queued: int
    running: int
    paused: int
    succeeded: int
    failed: int
    cancelled: int

    @property
    def ended(self) -> int:
        """Trials that have ended, well or not."""
        return self.succeeded + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class ExperimentProgress:
    """How far an experiment is.

    Attributes:
        samples: of all trials together.
        fraction: between 0 and 1.
        seconds_left: as the server reckons, or ``None`` where it cannot.
    """

    samples: int
    samples_done: int
    fraction: float
    flow_steps: int | None
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment as the server knows it.

    Attributes:
        kind: ``simulate`` or ``train``.
        state: ``queued``, ``running``, ``paused``, ``succeeded``, ``failed`` or ``cancelled``.
        fields: names of what the sweep varies.
        last_event_id: of its newest event, after which :meth:`watch` can begin.
        data: everything that the server said about it.
    """

    experiment_id: str
    name: str
    kind: str
    state: str
    created_at: str
    started_at: str | None
    ended_at: str | None
    model: ModelVersion
    dataset: DatasetRows
    seeds: tuple[int, ...]
    fields: tuple[str, ...]
    trials: TrialCounts
    progress: ExperimentProgress
    last_event_id: int
    warnings: tuple[str, ...]
    data: Mapping[str, Any] = field(repr=False)

    @property
    def ended(self) -> bool:
        """Whether it is in a state that it never leaves."""
        return self.state in ENDED_STATES

    @property
    def problem(self) -> ProblemError | None:
        """Why it failed, or was paused by the server."""
        return _problem(self.data)


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of an experiment.

    Attributes:
        trial: its number, from 0.
        state: one of an experiment's states.
        parameters: values of the fields that the sweep varies.
        run_id: the run that keeps what it gave, for ``trace``, ``outputs``, ``replay`` and so on.
        metrics: once it has ended; of a simulation, those of a run.
        data: everything that the server said about it.
    """

    trial: int
    state: str
    seed: int
    parameters: Mapping[str, Any]
    run_id: str | None
    samples: int
    samples_done: int
    metrics: Mapping[str, Any] | None
    started_at: str | None
    ended_at: str | None
    warnings: tuple[str, ...]
    data: Mapping[str, Any] = field(repr=False)

    @property
    def ended(self) -> bool:
        """Whether it is in a state that it never leaves."""
        return self.state in ENDED_STATES

    @property
    def problem(self) -> ProblemError | None:
        """Why it failed, if it did."""
        return _problem(self.data)


@dataclass(frozen=True, slots=True)
class RunningTrial:
    """How far a trial is."""

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
        trials: with ``state`` and ``progress``; so ``progress``.
        running: the trials in work, with ``progress``.
        trial: the one that has changed, with ``trial``.
        problem: why the experiment failed or was paused, with ``state``.
        data: the payload as the server sent it.
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


@dataclass(frozen=True, slots=True)
class ExperimentResults:
    """A table of what an experiment gave.

    Attributes:
        state: of the experiment when the table was read; one that has not ended grows.
        of: ``trials``, a row a trial, or ``points``, a row a point of the sweep.
        columns: names, in order.
        rows: values by column.
    """

    experiment_id: str
    name: str
    state: str
    of: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, column: str) -> list[Any]:
        """One column, a value a row; ``None`` where a row has none.

        Raises:
            KeyError: there is no such column.
        """
        if column not in self.columns:
            raise KeyError(column)
        return [row.get(column) for row in self.rows]

    def to_pandas(self) -> pd.DataFrame:
        """The table as a data frame; needs pandas."""
        import pandas as pd

        return pd.DataFrame({column: self[column] for column in self.columns})


def experiment_from_json(data: Any) -> Experiment:
    """The typed form of an experiment."""
    return read_as(Experiment, _with_data(data, "an experiment"))


def trial_from_json(data: Any) -> Trial:
    """The typed form of a trial."""
    return read_as(Trial, _with_data(data, "a trial"))


def event_from_wire(event: RunEvent) -> ExperimentEvent:
    """The typed form of an event."""
    data = event.data if isinstance(event.data, Mapping) else {}
    trials, progress = data.get("trials"), data.get("progress")
    return ExperimentEvent(
        id=event.id,
        event=event.event,
        state=data.get("state") if event.event == "state" else None,
        trials=read_as(TrialCounts, trials) if trials is not None else None,
        progress=read_as(ExperimentProgress, progress) if progress is not None else None,
        running=tuple(read_as(RunningTrial, entry) for entry in data.get("running") or ()),
        trial=trial_from_json(data) if event.event == "trial" else None,
        problem=_problem(data) if event.event == "state" else None,
        data=event.data,
    )


def event_of(experiment: Experiment) -> ExperimentEvent:
    """The ``state`` event that tells where an experiment is."""
    return event_from_wire(RunEvent(str(experiment.last_event_id), "state", experiment.data))


def results_from_pages(of: str, pages: list[Any]) -> ExperimentResults:
    """The table in the answers that hold its parts.

    Raises:
        UnexpectedAnswer: an answer is none.
    """
    first = pages[0]
    try:
        return ExperimentResults(
            first["experiment_id"],
            first["name"],
            first["state"],
            of,
            tuple(first["columns"]),
            tuple(row for page in pages for row in page["rows"]),
        )
    except (KeyError, TypeError) as error:
        raise UnexpectedAnswer(f"the results cannot be read: {error!r}") from None


def _with_data(data: Any, what: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise UnexpectedAnswer(f"{what} is not a JSON object but {type(data).__name__}")
    return {**data, "data": data}


def _problem(data: Mapping[str, Any]) -> ProblemError | None:
    told = data.get("error")
    return problem_from_json(told) if isinstance(told, Mapping) else None
