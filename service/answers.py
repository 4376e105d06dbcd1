"""What callers are told about simulations and runs, as JSON data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.engine import Engine
from energy_flow.trace.records import COLUMN_DTYPES, KINDS
from service.json_answers import large_to_json, names_fragment
from service.live_run import LiveRun
from service.models import Model
from service.orders import Order
from service.store.datasets import Dataset
from service.store.tables import RunRow


def simulation_answer(live: LiveRun, order: Order, model: Model, total_ms: float) -> bytes:
    """The answer to a simulation that succeeded, serialised; may take long."""
    gathered, summary = live.gathered, live.summary
    assert gathered is not None
    records = joined(gathered.records, order.fields.trace.inline)
    stored = order.fields.store
    return large_to_json(
        {
            "run_id": live.run_id,
            "model": _model_of(order, model),
            "seed": order.seed,
            "outputs": concatenated(gathered.outputs),
            "trace": {
                **(summary.trace or {}),
                "records": {**records, "kind": names_fragment(KINDS, records["kind"])},
                "inline_truncated": gathered.record_count > len(records["seq"]),
                "url": f"{run_url(live.run_id)}/trace" if stored else None,
            },
            "memory": summary.memory,
            "metrics": summary.metrics,
            "timing": {**live.timing(), "total_ms": total_ms},
            "samples": gathered.samples,
            "warnings": summary.warnings,
        }
    )


def estimate_answer(engine: Engine, order: Order, model: Model) -> dict[str, Any]:
    """What a simulation would cost."""
    estimate = engine.estimate(order.config, order.samples)
    return {
        "model": _model_of(order, model),
        "samples": order.samples,
        "flows": estimate.flows,
        "predicted_bytes": estimate.predicted_bytes,
        "flow_steps_bound": estimate.flow_steps_bound,
        "queue_wait_ms": estimate.queue_wait_seconds * 1e3,
        "warnings": list(order.config.warnings()),
    }


def run_answer(row: RunRow, live: LiveRun | None) -> dict[str, Any]:
    """A run as a resource; while it goes on, as it is at this moment."""
    state, progress = (
        row.state,
        {
            "samples": row.samples,
            "samples_done": row.samples_done,
            "step": None,
            "fraction": row.samples_done / row.samples,
        },
    )
    if live is not None and row.state in ("queued", "running"):
        progress = live.progress()
        # How a run ended is told once its results are in their place.
        state = "running" if live.state == "running" else row.state
    url = run_url(row.run_id)
    return {
        "run_id": row.run_id,
        "kind": row.kind,
        "state": state,
        "model": model_view(row.model, row.trained, row.config["coord_version"], row.model_digest),
        "dataset": None
        if row.dataset is None
        else {
            "name": row.dataset,
            "digest": row.dataset_digest,
            "rows": [row.dataset_from or 0, (row.dataset_from or 0) + row.samples],
        },
        "seed": row.seed,
        "outputs": row.request["outputs"],
        "options": row.request["options"],
        "config": row.config,
        "created_at": timestamp(row.created_at),
        "started_at": timestamp(row.started_at),
        "ended_at": timestamp(row.ended_at),
        "progress": progress,
        "metrics": row.metrics,
        "trace": None if row.trace is None else {**row.trace, "url": f"{url}/trace"},
        "timing": row.timing,
        "warnings": row.warnings,
        "error": row.error,
        "bytes": row.bytes,
        "experiment": None
        if row.experiment_id is None
        else {"experiment_id": row.experiment_id, "trial": row.trial},
        "url": url,
    }


def model_answer(model: Model) -> dict[str, Any]:
    """A model as a resource."""
    return {
        **model_view(model.name, model.trained, model.config.coord_version, model.digest),
        "loaded": model.processor is not None,
        "config": model.config.to_dict(),
        "created_at": timestamp(model.created_at),
        "warnings": list(model.config.warnings()),
        "url": f"/v1/models/{model.name}",
    }


def dataset_answer(dataset: Dataset) -> dict[str, Any]:
    """A dataset as a resource."""
    return {
        "name": dataset.name,
        "digest": dataset.content.digest,
        "rows": dataset.content.rows,
        "dim": dataset.content.dim,
        "targets_dim": dataset.content.targets_dim,
        "bytes": dataset.content.bytes,
        "created_at": timestamp(dataset.created_at),
        "url": f"/v1/datasets/{dataset.name}",
    }


def model_view(name: str, trained: bool, coord_version: int, digest: str) -> dict[str, Any]:
    """The model of a run, in short."""
    return {"name": name, "trained": trained, "coord_version": coord_version, "digest": digest}


def _model_of(order: Order, model: Model) -> dict[str, Any]:
    return model_view(model.name, model.trained, order.config.coord_version, model.digest)


def run_url(run_id: str) -> str:
    """Where a run is."""
    return f"/v1/runs/{run_id}"


def timestamp(seconds: float | None) -> str | None:
    """A moment as RFC 3339 has it, in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def concatenated(chunks: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The outputs of consecutive chunks."""
    if len(chunks) == 1:
        return chunks[0]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def joined(parts: list[dict[str, NDArray[Any]]], most: int) -> Mapping[str, NDArray[Any]]:
    """The first records of consecutive chunks."""
    return {
        name: np.concatenate([np.zeros(0, dtype), *(part[name] for part in parts)])[:most]
        for name, dtype in COLUMN_DTYPES.items()
    }
