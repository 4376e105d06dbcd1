"""Experiments that are interrupted, and compared with one that is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.support.experiments import (
    advance,
    change_state,
    put_dataset,
    read_stored_results,
    read_trials,
    start_experiment,
    wait_until_ended,
    wait_until_quiet,
)
from tests.support.servers import RunningServer, find_leftovers

SAMPLES = 100
TRIALS = 4
SWEEP: dict[str, Any] = {
    "dataset": "some",
    "sweep": {"grid": {"noise_std": [0.1, 0.3]}},
    "options": {"spawn.threshold": 0.1},
    "seeds": [0, 5],
    "outputs": ["surface", "hits"],
    "trace": {"capacity": 40},
    "max_parallel": 2,
    "chunk_samples": 4,
}
FILES = (
    *(
        "surface.npy",
        "hits.npy",
        "reached.npy",
        "trace.parquet",
        "chunks.jsonl",
        "memory.json",
        "profile.json",
    ),
    "run.json",
)


def check_as_if_undisturbed(client: httpx.Client, data_dir: Path, name: str) -> None:
    """Compare an interrupted experiment with one that is not interrupted."""
    experiment = wait_until_ended(client, name)
    assert experiment["state"] == "succeeded"
    assert experiment["trials"]["succeeded"] == TRIALS
    assert experiment["progress"]["samples_done"] == TRIALS * SAMPLES
    found = read_trials(client, name)
    assert experiment["progress"]["flow_steps"] == sum(
        trial["metrics"]["flow_steps"] for trial in found
    )
    runs = [trial["run_id"] for trial in found]
    assert sorted(find_leftovers(data_dir)) == sorted(set(runs))
    for run in runs:
        assert {path.name for path in (data_dir / "runs" / run).iterdir()} == set(FILES)
    start_experiment(client, name="undisturbed", **SWEEP)
    assert wait_until_ended(client, "undisturbed")["state"] == "succeeded"
    assert read_stored_results(client, name) == read_stored_results(client, "undisturbed")


def paused_midway(server: RunningServer, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Pause an experiment after its first chunks, and return it and its trials."""
    client = server.client
    put_dataset(client, "some", SAMPLES)
    with server.engine_held() as engine:
        start_experiment(client, name=name, **SWEEP)
        advance(client, engine, name, 20)
        change_state(client, name, "pause")
    return wait_until_quiet(client, name), read_trials(client, name)
