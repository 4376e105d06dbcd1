"""Runs, models and datasets as callers see them, as JSON data."""

from __future__ import annotations

from typing import Any

from energy_flow.choices import RunState
from energy_flow.engine import Executor
from service.json_encoding import format_timestamp
from service.models.model import Model
from service.requests.simulation_request import SimulationRequest
from service.runs.active_run import ActiveRun
from service.store.catalog import UNFINISHED
from service.store.datasets import Dataset
from service.store.tables import RunRow


def render_estimate(executor: Executor, request: SimulationRequest, model: Model) -> dict[str, Any]:
    """Return what a simulation would cost.

    Args:
        executor: Would carry it out.
        request: The request.
        model: Its model.
    """
    estimate = executor.estimate(request.config, request.samples, model.digest)
    return {
        "model": render_model_of(request, model),
        "samples": request.samples,
        "flows": estimate.flows,
        "predicted_bytes": estimate.predicted_bytes,
        "flow_steps_bound": estimate.flow_steps_bound,
        "queue_wait_ms": estimate.queue_wait_seconds * 1e3,
        "warnings": list(request.config.warnings()),
    }


def render_run(row: RunRow, active: ActiveRun | None) -> dict[str, Any]:
    """Return a run as a resource.

    Args:
        row: Row of the run.
        active: The run itself, if it has not ended or is one of the last that have.
    """
    state = row.state
    progress = {
        "samples": row.samples,
        "samples_done": row.samples_done,
        "step": None,
        "fraction": row.samples_done / row.samples,
    }
    if active is not None and row.state in UNFINISHED:
        progress = active.progress()
        # The final state is shown once the results are stored.
        state = RunState.RUNNING if active.state is RunState.RUNNING else row.state
    url = run_url(row.run_id)
    return {
        "run_id": row.run_id,
        "name": row.name or None,
        "tags": row.tags,
        "note": row.note or None,
        "kind": row.kind,
        "state": state,
        "model": render_model_reference(
            row.model, row.trained, row.config["coord_version"], row.model_digest
        ),
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
        "created_at": format_timestamp(row.created_at),
        "started_at": format_timestamp(row.started_at),
        "ended_at": format_timestamp(row.ended_at),
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
        "version": row.version,
        "arithmetic": row.arithmetic,
        "worker": row.worker,
        "worker_kinds": row.worker_kinds,
        "attempts": row.attempts,
        "url": url,
    }


def render_model(model: Model) -> dict[str, Any]:
    """Return a model as a resource."""
    url = f"/v1/models/{model.name}"
    return {
        **render_model_reference(
            model.name, model.trained, model.config.coord_version, model.digest
        ),
        "loaded": model.is_loaded,
        "output_width": model.config.output_width,
        "config": model.config.to_dict(),
        "created_at": format_timestamp(model.created_at),
        "warnings": list(model.config.warnings()),
        "description": model.description,
        "read_only": model.is_read_only,
        "sample_url": None if model.sample is None else f"{url}/sample",
        "url": url,
    }


def render_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return a dataset as a resource."""
    return {
        "name": dataset.name,
        "digest": dataset.content.digest,
        "rows": dataset.content.rows,
        "dim": dataset.content.dim,
        "targets_dim": dataset.content.targets_dim,
        "bytes": dataset.content.bytes,
        "created_at": format_timestamp(dataset.created_at),
        "url": f"/v1/datasets/{dataset.name}",
    }


def render_model_reference(
    name: str, trained: bool, coord_version: int, digest: str
) -> dict[str, Any]:
    """Return a reference to the model of a run.

    Args:
        name: Name of the model.
        trained: Whether its weights come from training.
        coord_version: Version of its coordinates.
        digest: Digest of its weights.
    """
    return {"name": name, "trained": trained, "coord_version": coord_version, "digest": digest}


def render_model_of(request: SimulationRequest, model: Model) -> dict[str, Any]:
    """Return a reference to the model of a request."""
    return render_model_reference(
        model.name, model.trained, request.config.coord_version, model.digest
    )


def run_url(run_id: str) -> str:
    """Return the URL of a run."""
    return f"/v1/runs/{run_id}"
