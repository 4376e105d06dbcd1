"""Runs on a server, and the requests about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from energy_flow.choices import ENDED_STATES, PictureFormat, RunKind, TraceFormat
from energy_flow.client import calls
from energy_flow.client.answers import convert
from energy_flow.client.datasets import DatasetRows
from energy_flow.client.displayed import Displayed
from energy_flow.client.errors import ProblemError
from energy_flow.client.exchange import Request, problem_of
from energy_flow.client.json_values import integers
from energy_flow.client.measurements import Metrics
from energy_flow.client.models import ModelVersion
from energy_flow.client.simulation import request_members, simulate


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of a run is done.

    Attributes:
        samples: of the run.
        samples_done: those that have ended.
        step: the last step of the running samples.
        fraction: between 0 and 1.
    """

    samples: int
    samples_done: int
    step: int | None
    fraction: float


@dataclass(frozen=True, slots=True, repr=False)
class Run(Displayed):
    """A run on the server.

    Attributes:
        run_id: its id.
        state: ``queued``, ``running``, ``succeeded``, ``failed`` or ``cancelled``.
        model: the model that it uses.
        seed: of the noise.
        created_at: time of the request (ISO 8601).
        started_at: time of its start; ``None`` before.
        ended_at: time of its end; ``None`` before.
        progress: how much of it is done.
        warnings: settings that cannot have the effect one would expect.
        data: the whole answer of the server.
        dataset: where its embeddings come from; ``None`` if they came with the request.
        version: of Energy Flow, that started it; ``None`` if it is not known.
        arithmetic: its number; bits of runs with another number can differ.
        worker: name of the worker that has started it last; ``None`` before, or if not known.
        worker_kinds: kinds of the workers that have computed it; bits of several are mixed.
        attempts: times that a worker has started it; ``None`` if it is not known.
        name: what it is called; ``None`` if it has no name.
        tags: its tags, sorted.
        note: text about it.
    """

    run_id: str
    state: str
    model: ModelVersion
    seed: int
    created_at: str
    started_at: str | None
    ended_at: str | None
    progress: Progress
    warnings: tuple[str, ...]
    data: Mapping[str, Any] = field(repr=False)
    dataset: DatasetRows | None = None
    # Servers that do not send it compute with arithmetic 1.
    version: str | None = None
    arithmetic: int = 1
    name: str | None = None
    tags: tuple[str, ...] = ()
    note: str | None = None
    worker: str | None = None
    worker_kinds: tuple[str, ...] = ()
    attempts: int | None = None

    def _facts(self) -> Mapping[str, object]:
        progress = self.progress
        return {
            "run_id": self.run_id,
            "state": self.state,
            "model": self.model.name,
            "samples": f"{progress.samples_done} of {progress.samples}",
            "created_at": self.created_at,
            "warnings": len(self.warnings) or None,
        }

    @property
    def ended(self) -> bool:
        """Return whether the run is in a state that it never leaves."""
        return self.state in ENDED_STATES

    @property
    def metrics(self) -> Metrics | None:
        """Return counts and means, once there are some.

        The run of a training has none; its figures are in ``data["metrics"]``.
        """
        measured = self.data.get("metrics")
        if measured is None or self.data.get("kind") == RunKind.TRAINING:
            return None
        return convert(measured, Metrics)

    @property
    def problem(self) -> ProblemError | None:
        """Return why the run failed, if it did."""
        return problem_of(self.data)


def run_path(run_id: str, *parts: str) -> str:
    """Return the path of a run, or of something below it."""
    return calls.api_path("runs", run_id, *parts)


def submit(
    embeddings: ArrayLike | None,
    *,
    dataset: str | None = None,
    rows: Sequence[int] | None = None,
    key: str | None = None,
    **members: Any,
) -> Request:
    """Return a request to queue a run.

    Args:
        embeddings: [samples, dimension]; ``None`` with a dataset.
        dataset: name of a dataset on the server.
        rows: of the dataset: the first row, and the row after the last.
        key: the ``Idempotency-Key``; by default a new one.
        members: arguments of :func:`request_members`.

    Raises:
        ValueError: rows are given without a dataset, or the embeddings are not rows of numbers.
    """
    if dataset is None and rows is not None:
        raise ValueError("rows select from a dataset; name the dataset, or leave rows out")
    path = calls.api_path("runs")
    if embeddings is None:
        part = {"dataset": dataset, "rows": None if rows is None else integers(rows, "rows")}
        return calls.post_once(path, {**part, **request_members(**members)}, key)
    request = simulate(embeddings, **members)
    headers = {
        **request.headers,
        "accept": calls.JSON,
        "idempotency-key": calls.idempotency_key(key),
    }
    return replace(request, path=path, headers=headers, repeatable=True)


def inputs(run_id: str) -> Request:
    """Return a request for the embeddings of a run."""
    return calls.get(run_path(run_id, "inputs"), "application/x-npy", format="npy")


def output(run_id: str, name: str) -> Request:
    """Return a request for the array of an output."""
    return calls.get(run_path(run_id, "outputs", name), "application/x-npy", format="npy")


def heat_map(run_id: str, sample: int, to: Path, format: str | None) -> Request:
    """Return a request that writes a picture of the surface of one sample to a file.

    Raises:
        ValueError: no format is given, and the suffix of the file belongs to none.
    """
    chosen = format or PictureFormat.require_of_file(to.name)
    path = run_path(run_id, "outputs", "surface")
    return calls.get_file(path, to, format=chosen, sample=sample)


def trace(run_id: str, **filters: Any) -> Request:
    """Return a request for records of a trace, one a line."""
    return calls.get(
        run_path(run_id, "trace"),
        TraceFormat.NDJSON.media_type,
        format=TraceFormat.NDJSON,
        **filters,
    )


def trace_counts(run_id: str, **filters: Any) -> Request:
    """Return a request for the numbers of records of a trace."""
    return calls.get(run_path(run_id, "trace", "counts"), **filters)


def trace_file(run_id: str, to: Path, format: str | None, **filters: Any) -> Request:
    """Return a request that writes a trace, or a part of it, to a file.

    Raises:
        ValueError: no format is given, and the suffix of the file belongs to none.
    """
    chosen = format or TraceFormat.require_of_file(to.name)
    return calls.get_file(run_path(run_id, "trace"), to, format=chosen, **filters)


def replay(run_id: str, sample: int, flow: int | None) -> Request:
    """Return a request to simulate a sample again, which changes nothing."""
    request = calls.post(run_path(run_id, "replay"), {"sample": sample, "flow": flow})
    return replace(request, repeatable=True)


def compare(run_id: str, other: str) -> Request:
    """Return a request to compare two runs."""
    return calls.get(run_path(run_id, "compare", other))
