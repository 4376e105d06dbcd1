"""Experiments on a server, their trials, and the requests about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from energy_flow.choices import ENDED_STATES
from energy_flow.client import calls
from energy_flow.client.datasets import DatasetRows
from energy_flow.client.displayed import Displayed
from energy_flow.client.errors import ProblemError
from energy_flow.client.exchange import Request, problem_of
from energy_flow.client.models import ModelVersion

# Members of a range of values, which distinguish it from a group of fields.
RANGE = frozenset({"low", "high", "log"})


@dataclass(frozen=True, slots=True)
class TrialCounts:
    """The number of trials, and how many are in each state."""

    total: int
    queued: int
    running: int
    paused: int
    succeeded: int
    failed: int
    cancelled: int

    @property
    def ended(self) -> int:
        """Return how many trials are in a state that they never leave."""
        return self.succeeded + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class ExperimentProgress:
    """How much of an experiment is done.

    Attributes:
        samples: of all trials together.
        samples_done: those that have ended.
        fraction: between 0 and 1.
        flow_steps: of all trials so far.
        seconds_left: the server's estimate; ``None`` where it has none.
    """

    samples: int
    samples_done: int
    fraction: float
    flow_steps: int | None
    seconds_left: float | None


@dataclass(frozen=True, slots=True, repr=False)
class Experiment(Displayed):
    """An experiment on the server.

    Attributes:
        experiment_id: its id.
        name: its name, which no other experiment has.
        kind: ``simulate`` or ``train``.
        state: ``queued``, ``running``, ``paused``, ``succeeded``, ``failed`` or ``cancelled``.
        created_at: time of the request (ISO 8601).
        started_at: time of its start; ``None`` before.
        ended_at: time of its end; ``None`` before.
        model: the model that its trials begin with.
        dataset: the rows that its trials use.
        seeds: a trial for each, at each point of the sweep.
        fields: names of the fields that the sweep varies.
        trials: the number of trials, and how many are in each state.
        progress: how much of it is done.
        last_event_id: of its newest event, after which ``watch`` can begin.
        warnings: settings that cannot have the effect one would expect.
        data: the whole answer of the server.
        version: of Energy Flow, that created it; ``None`` if it is not known.
        arithmetic: its number; a server with another number does not continue the experiment.
        tags: its tags, sorted.
        note: text about it.
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
    # Servers that do not send it compute with arithmetic 1.
    version: str | None = None
    arithmetic: int = 1
    tags: tuple[str, ...] = ()
    note: str | None = None

    def _facts(self) -> Mapping[str, object]:
        trials = self.trials
        return {
            "name": self.name,
            "experiment_id": self.experiment_id,
            "kind": self.kind,
            "state": self.state,
            "model": self.model.name,
            "dataset": self.dataset.name,
            "trials": f"{trials.ended} of {trials.total}",
            "failed": trials.failed or None,
        }

    @property
    def ended(self) -> bool:
        """Return whether the experiment is in a state that it never leaves."""
        return self.state in ENDED_STATES

    @property
    def problem(self) -> ProblemError | None:
        """Return why the experiment failed, or why the server paused it."""
        return problem_of(self.data)


@dataclass(frozen=True, slots=True, repr=False)
class Trial(Displayed):
    """One trial of an experiment.

    Attributes:
        trial: its number, from 0.
        state: one of the states of an experiment.
        seed: of the noise.
        parameters: values of the fields that the sweep varies.
        run_id: the run that holds its results, for ``trace``, ``outputs``, ``replay`` and so on.
        samples: of the trial.
        samples_done: those that have ended.
        metrics: once it has ended; of a simulation, those of a run.
        started_at: time of its start (ISO 8601); ``None`` before.
        ended_at: time of its end; ``None`` before.
        warnings: settings that cannot have the effect one would expect.
        data: the whole answer of the server.
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

    def _facts(self) -> Mapping[str, object]:
        return {
            "trial": self.trial,
            "state": self.state,
            "seed": self.seed,
            **self.parameters,
            "run_id": self.run_id,
            "samples": f"{self.samples_done} of {self.samples}",
        }

    @property
    def ended(self) -> bool:
        """Return whether the trial is in a state that it never leaves."""
        return self.state in ENDED_STATES

    @property
    def problem(self) -> ProblemError | None:
        """Return why the trial failed, if it did."""
        return problem_of(self.data)


def experiment_path(experiment: str, *parts: str) -> str:
    """Return the path of an experiment, or of something below it."""
    return calls.api_path("experiments", experiment, *parts)


def create(document: Mapping[str, Any], key: str | None) -> Request:
    """Return a request for an experiment.

    Groups of fields in its sweep, which a dotted key of TOML makes, become dotted names again.

    Args:
        document: members of the request; those that are ``None`` are left out.
        key: the ``Idempotency-Key``; by default a new one.

    Raises:
        ValueError: a number is missing, masked, infinite or not a number, or a field of the sweep
            is given twice.
    """
    sweep = document.get("sweep")
    if isinstance(sweep, Mapping):
        dotted = {
            name: _dotted(value) if name in ("grid", "random") else value
            for name, value in sweep.items()
        }
        document = {**document, "sweep": dotted}
    return calls.post_once(calls.api_path("experiments"), document, key)


def _dotted(fields: Any) -> Any:
    if not isinstance(fields, Mapping):
        return fields
    names: dict[str, Any] = {}
    for name, value in fields.items():
        inner = {name: value}
        if isinstance(value, Mapping) and value and not RANGE & set(value):
            inner = {f"{name}.{member}": choice for member, choice in _dotted(value).items()}
        twice = sorted(names.keys() & inner.keys())
        if twice:
            raise ValueError(f"the sweep has {', '.join(twice)} twice; leave one out")
        names |= inner
    return names
