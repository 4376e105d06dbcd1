"""What callers are told about simulations and runs, as JSON data."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from energy_flow.engine import Engine
from service.models.registry import Model
from service.requests.validate import Order
from service.runs.active_run import LiveRun
from service.store.datasets import Dataset
from service.store.tables import RunRow


def estimate_answer(engine: Engine, order: Order, model: Model) -> dict[str, Any]:
    """What a simulation would cost."""
    estimate = engine.estimate(order.config, order.samples)
    return {
        "model": model_of(order, model),
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
        "loaded": model.is_loaded,
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


def model_of(order: Order, model: Model) -> dict[str, Any]:
    """The model of a request, in short."""
    return model_view(model.name, model.trained, order.config.coord_version, model.digest)


def run_url(run_id: str) -> str:
    """Where a run is."""
    return f"/v1/runs/{run_id}"


def timestamp(seconds: float | None) -> str | None:
    """A moment as RFC 3339 has it, in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
