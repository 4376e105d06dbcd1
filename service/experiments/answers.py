"""What callers are told about experiments and trials, as JSON data."""

from __future__ import annotations

from typing import Any

from service.experiments.live_experiment import LiveExperiment, number_of
from service.runs.views import model_view, run_answer, run_url, timestamp
from service.states import ENDED, State
from service.store.tables import ExperimentRow, RunRow


def experiment_answer(row: ExperimentRow, live: LiveExperiment | None) -> dict[str, Any]:
    """An experiment as a resource; while it has not ended, as it is at this moment."""
    if live is not None:
        row = live.row
    request = row.request
    return {
        "experiment_id": row.experiment_id,
        "name": row.name,
        "kind": row.kind,
        "state": row.state,
        "created_at": timestamp(row.created_at),
        "started_at": timestamp(row.started_at),
        "ended_at": timestamp(row.ended_at),
        "model": model_view(row.model, row.trained, row.coord_version, row.model_digest),
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
        "trials": _counts(row) if live is None else live.trial_counts(),
        "progress": _progress(row) if live is None else live.progress(),
        "last_event_id": row.last_event_id if live is None else live.events.last_id,
        "error": row.error,
        "warnings": row.warnings,
        "url": experiment_url(row.experiment_id),
    }


def trial_answer(row: RunRow, live: LiveExperiment | None) -> dict[str, Any]:
    """A trial as a resource; while its experiment goes on, as it is at this moment.

    What is in memory is ahead of the index, where it can be written at all.
    """
    number = number_of(row)
    at_work = None if live is None else live.at_work.get(number)
    run = run_answer(row, at_work)
    assert row.experiment_id is not None
    return {
        "trial": number,
        "state": row.state if live is None else live.state_of(number),
        "seed": row.seed,
        "parameters": row.request["parameters"],
        "run_id": row.run_id,
        "samples": row.samples,
        "samples_done": row.samples_done if live is None else live.samples_of(number),
        **{name: run[name] for name in ("metrics", "timing", "trace", "error", "warnings")},
        "started_at": run["started_at"],
        "ended_at": run["ended_at"],
        "url": f"{experiment_url(row.experiment_id)}/trials/{number}",
        "run_url": run_url(row.run_id),
        "makes_model": row.request.get("makes_model"),
    }


def experiment_url(experiment_id: str) -> str:
    """Where an experiment is."""
    return f"/v1/experiments/{experiment_id}"


def _counts(row: ExperimentRow) -> dict[str, int]:
    counts = row.counts or {State.QUEUED: row.trials}
    return {"total": row.trials} | {str(state): counts.get(state, 0) for state in State}


def _progress(row: ExperimentRow) -> dict[str, Any]:
    samples = row.samples * row.trials
    return {
        "samples": samples,
        "samples_done": row.samples_done,
        "fraction": row.samples_done / samples,
        "flow_steps": row.flow_steps,
        "seconds_left": 0.0 if State(row.state) in ENDED else None,
    }
