"""Answers as a server gives them: documents of runs and simulations, refusals and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from energy_flow.choices import (
    ENDED_STATES,
    TALLIED,
    Output,
    Plane,
    Precision,
    Reason,
    RunKind,
    RunState,
    TraceKind,
    arithmetic_of,
)
from energy_flow.testing.tiny_model import TINY_FIELDS
from energy_flow.trace.records import COLUMN_DTYPES

TIME: Final = "2025-01-01T00:00:00.000+00:00"
"""Time at which runs are created, start and end."""

MODEL: Final[Mapping[str, Any]] = {
    "name": "default",
    "trained": False,
    "coord_version": 2,
    "digest": "0" * 64,
}

MEMORY: Final[Mapping[str, Any]] = {
    "device": dict.fromkeys(("allocated_bytes", "reserved_bytes", "peak_bytes", "limit_bytes")),
    "host": {"rss_bytes": 0, "peak_rss_bytes": 0},
    "state_bytes": 0,
    "trace_bytes": 0,
    "predicted_bytes": 0,
    "steps": [],
}


def problem_answer(
    status: int, headers: Mapping[str, str] | None = None, **members: Any
) -> httpx.Response:
    """Return a refusal as a problem document (RFC 9457).

    Args:
        status: status of the answer, from 400.
        headers: further headers, such as ``Retry-After``.
        **members: members of the document, such as ``detail`` and ``errors``.
    """
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": "the test refuses this request",
        "errors": [],
        **members,
    }
    return httpx.Response(
        status,
        content=orjson.dumps(document),
        headers={"content-type": "application/problem+json", **(headers or {})},
    )


def model_document(name: str, embedding_dim: int | None) -> dict[str, Any]:
    """Return a model as the server describes it.

    Args:
        name: name of the model.
        embedding_dim: numbers of a row that it takes; ``None`` leaves them open.
    """
    return {
        **MODEL,
        "name": name,
        "loaded": True,
        "output_width": TINY_FIELDS["embedding_dim"] if embedding_dim is None else embedding_dim,
        "config": {} if embedding_dim is None else {"embedding_dim": embedding_dim},
        "created_at": TIME,
        "warnings": [],
        "description": None,
        "read_only": True,
        "sample_url": None,
        "url": f"/v1/models/{name}",
    }


def encode_event(number: int, name: str, data: Any) -> bytes:
    """Return an event as the server sends it.

    Args:
        number: id of the event.
        name: a name of ``choices.EventName``.
        data: JSON data of the event.
    """
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, name.encode(), orjson.dumps(data))


def run_document(state: str = RunState.RUNNING, **members: Any) -> dict[str, Any]:
    """Return a run as the server describes it.

    Args:
        state: state of the run.
        **members: members of the document that differ; by default, those of two samples.
    """
    run_id = members.get("run_id", "r1")
    is_ended = state in ENDED_STATES
    samples = 2
    return {
        "run_id": run_id,
        "name": None,
        "tags": [],
        "note": None,
        "kind": RunKind.RUN,
        "state": state,
        "model": dict(MODEL),
        "dataset": None,
        "seed": 0,
        "outputs": [Output.SURFACE],
        "options": {},
        "config": dict(TINY_FIELDS),
        "created_at": TIME,
        "started_at": None if state == RunState.QUEUED else TIME,
        "ended_at": TIME if is_ended else None,
        "progress": {
            "samples": samples,
            "samples_done": samples if is_ended else 0,
            "step": None,
            "fraction": float(is_ended),
        },
        "metrics": None,
        "trace": None,
        "timing": None,
        "warnings": [],
        "error": None,
        "bytes": 0,
        "experiment": None,
        "version": version("energy-flow"),
        "arithmetic": arithmetic_of(Precision.FLOAT32),
        "worker": None,
        "worker_kinds": [],
        "attempts": 0,
        "url": f"/v1/runs/{run_id}",
        **members,
    }


def simulation_document(
    outputs: Mapping[str, NDArray[Any]],
    *,
    run_id: str = "r1",
    seed: int = 0,
    sample_keys: Sequence[int] | None = None,
    is_stored: bool = True,
) -> dict[str, Any]:
    """Return the answer to a simulation, in which every flow reaches plane z0 in its first step.

    Its trace keeps no records.

    Args:
        outputs: arrays by name, [samples, ...]; at least one.
        run_id: id of the run.
        seed: of the noise.
        sample_keys: one for each sample; by default the index of the sample.
        is_stored: whether the server stores the run.
    """
    samples = len(next(iter(outputs.values())))
    keys = range(samples) if sample_keys is None else sample_keys
    return {
        "run_id": run_id,
        "model": dict(MODEL),
        "seed": seed,
        "outputs": {name: np.asarray(array).tolist() for name, array in outputs.items()},
        "trace": {
            **trace_counts(samples),
            "records": {name: [] for name in COLUMN_DTYPES},
            "inline_truncated": False,
            "url": f"/v1/runs/{run_id}/trace" if is_stored else None,
        },
        "memory": dict(MEMORY),
        "metrics": run_metrics(samples),
        "timing": {
            "queue_ms": 0.0,
            "compute_ms": 1.0,
            "total_ms": 1.0,
            "flow_steps_per_second": None,
        },
        "samples": sample_metrics(keys),
        "warnings": [],
    }


def run_metrics(samples: int) -> dict[str, Any]:
    """Return the counts of a run.

    Args:
        samples: number of its samples.
    """
    return {**_counters(samples), "mean_step_ms": 1.0, "max_step_ms": 1.0}


def sample_metrics(keys: Sequence[int]) -> list[dict[str, Any]]:
    """Return the counts of each sample.

    Args:
        keys: sample keys, in the order of the samples.
    """
    return [{**_counters(1), "sample": row, "sample_key": key} for row, key in enumerate(keys)]


def trace_counts(samples: int) -> dict[str, Any]:
    """Return the counts of a trace that keeps no records.

    Args:
        samples: number of the samples.
    """
    none = {kind.value: 0 for kind in TraceKind}
    totals = {**none, TraceKind.TERMINATE.value: samples * _FLOWS}
    return {"totals": totals, "recorded": none, "dropped": totals}


_FLOWS = TINY_FIELDS["lattice_width"] * TINY_FIELDS["lattice_height"]
"""Flows of a sample."""


def _counters(samples: int) -> dict[str, Any]:
    flows = samples * _FLOWS
    return {
        "created": flows,
        "initial": flows,
        "spawned": 0,
        "completed": flows,
        "stalled": 0,
        "terminated": {reason.value: flows * (reason is Reason.PLANE) for reason in Reason},
        "planes": {plane.value: flows * (plane is Plane.Z0) for plane in Plane},
        "exits": {
            plane.value: {
                reason.value: flows * (plane is Plane.Z0 and reason is Reason.PLANE)
                for reason in TALLIED
            }
            for plane in Plane
        },
        "reflected": 0,
        "spawns_suppressed": 0,
        "steps": 1,
        "flow_steps": flows,
        "mean_path_steps": 1.0,
        "mean_path_length": 0.5,
        "z_displacement_variance": 0.0,
        "completion_ratio": 1.0,
        "overflow": [],
    }
