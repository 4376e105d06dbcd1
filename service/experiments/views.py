"""Experiments and trials as callers see them, as JSON data."""

from __future__ import annotations

from typing import Any

from energy_flow.choices import ENDED_STATES, RunState
from service.experiments.active_experiment import ActiveExperiment, trial_number
from service.json_encoding import format_timestamp
from service.runs.views import render_model_reference, render_run, run_url
from service.store.tables import ExperimentRow, RunRow


def render_experiment(row: ExperimentRow, active: ActiveExperiment | None) -> dict[str, Any]:
    """Return an experiment as a resource.

    Args:
        row: Its row.
        active: The experiment itself, if it has not ended.
    """
    if active is not None:
        row = active.row
    request = row.request
    return {
        "experiment_id": row.experiment_id,
        "name": row.name,
        "tags": row.tags,
        "note": row.note or None,
        "kind": row.kind,
        "state": row.state,
        "created_at": format_timestamp(row.created_at),
        "started_at": format_timestamp(row.started_at),
        "ended_at": format_timestamp(row.ended_at),
        "model": render_model_reference(
            row.model, row.trained, row.coord_version, row.model_digest
        ),
        "dataset": {
            "name": row.dataset,
            "digest": row.dataset_digest,
            "rows": [row.dataset_from, row.dataset_from + row.samples],
        },
        "options": request["options"],
        "outputs": request["outputs"],
        "sweep": request["sweep"],
        "seeds": request["seeds"],
        "trace_options": request["trace"],
        "max_parallel": request["max_parallel"],
        "fail_fast": request["fail_fast"],
        "chunk_samples": request["chunk_samples"],
        "train": request["train"],
        "fields": request["fields"],
        "trials": _counts(row) if active is None else active.trial_counts(),
        "progress": _progress(row) if active is None else active.progress(),
        "last_event_id": row.last_event_id if active is None else active.events.last_id,
        "error": row.error,
        "warnings": row.warnings,
        "version": row.version,
        "arithmetic": row.arithmetic,
        "url": experiment_url(row.experiment_id),
    }


def render_trial(row: RunRow, active: ActiveExperiment | None) -> dict[str, Any]:
    """Return a trial as a resource.

    Args:
        row: Its row. What is in memory is newer, and a full disk can keep it out of the row.
        active: Its experiment, if that has not ended.
    """
    number = trial_number(row)
    run = render_run(row, None if active is None else active.active_trials.get(number))
    assert row.experiment_id is not None
    return {
        "trial": number,
        "state": row.state if active is None else active.trial_state(number),
        "seed": row.seed,
        "parameters": row.request["parameters"],
        "run_id": row.run_id,
        "samples": row.samples,
        "samples_done": row.samples_done if active is None else active.trial_samples(number),
        **{name: run[name] for name in ("metrics", "timing", "trace", "error", "warnings")},
        "started_at": run["started_at"],
        "ended_at": run["ended_at"],
        "url": f"{experiment_url(row.experiment_id)}/trials/{number}",
        "run_url": run_url(row.run_id),
        "makes_model": row.request.get("makes_model"),
    }


def experiment_url(experiment_id: str) -> str:
    """Return the URL of an experiment."""
    return f"/v1/experiments/{experiment_id}"


def _counts(row: ExperimentRow) -> dict[str, int]:
    counts = row.counts or {RunState.QUEUED: row.trials}
    return {"total": row.trials} | {str(state): counts.get(state, 0) for state in RunState}


def _progress(row: ExperimentRow) -> dict[str, Any]:
    samples = row.samples * row.trials
    return {
        "samples": samples,
        "samples_done": row.samples_done,
        "fraction": row.samples_done / samples,
        "flow_steps": row.flow_steps,
        "seconds_left": 0.0 if RunState(row.state) in ENDED_STATES else None,
    }
