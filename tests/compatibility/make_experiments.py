"""Makes experiments: finished, cancelled, paused, and cut off by the death of their server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import numpy as np

from tests.compatibility.make_runs import ENDED, ENDLESS, ended, rows
from tests.compatibility.make_training import LEARNING_RATE
from tests.support.bodies import NPY, npy
from tests.support.waits import until

SWEEP: dict[str, Any] = {
    "dataset": "trials",
    "sweep": {"grid": {"noise_std": [0.1, 0.3], "spawn.threshold": [0.2, 0.4]}},
    "seeds": [0, 5],
    "outputs": ["surface", "hits"],
    "trace": {"capacity": 12},
    "max_parallel": 2,
    "chunk_samples": 1,
}
TRAINING: dict[str, Any] = {
    "kind": "train",
    "dataset": "pairs",
    "model": "other",
    "options": {"max_steps": 3, "noise_std": 0.1},
    "train": {
        "losses": {"cosine": {"weight": 1.0}, "info_nce": {"weight": 0.1}},
        "data.held_out": 0.2,
        "batch.rows": 8,
        "length.steps": 12,
        "validation.every": 4,
        "checkpoints.every": 2,
        "checkpoints.keep": 1,
        "optimiser.learning_rate": LEARNING_RATE,
    },
    "seeds": [0, 1],
}

FINISHED: dict[str, dict[str, Any]] = {
    "swept": {
        **SWEEP,
        "sweep": {"grid": {"noise_std": [0.1, 0.3], "spawn.mode": ["threshold", "off"]}},
        "rows": [1, 4],
        "chunk_samples": None,
    },
    "random": {
        "dataset": "parquet",
        "model": "half",
        "sweep": {
            "random": {
                "noise_std": {"low": 0.01, "high": 1.0, "log": True},
                "max_steps": {"low": 3, "high": 6},
            },
            "count": 3,
            "seed": 4,
        },
        "outputs": ["embedding"],
        "trace": {"kinds": ["terminate"], "capacity": 8},
        "options": {"projection_age": 2},
    },
    "trained": {
        **TRAINING,
        "sweep": {"grid": {"optimiser.weight_decay": [0.0, 0.1]}},
        "seeds": [0],
    },
}
"""That have ended well."""

UNFINISHED: dict[str, dict[str, Any]] = {"sweep": SWEEP, "training": TRAINING}
"""What was begun and is to be finished by another server: paused, and cut off."""

PAUSED = {kind: f"paused-{kind}" for kind in UNFINISHED}
KILLED = {kind: f"killed-{kind}" for kind in UNFINISHED}


def make_finished(client: httpx.Client) -> None:
    """Make experiments and wait for their end."""
    for name, fields in FINISHED.items():
        _start(client, name, fields)
        assert finished(client, name)["state"] == "succeeded"


def make_cancelled(client: httpx.Client) -> None:
    """Cancel an experiment that has results of some samples of a trial."""
    with _filled_in_part(client):
        _start(client, "cancelled", {**SWEEP, "sweep": None, "seeds": [0, 1, 2, 3]})
        until(partial(_is_midway, client, "cancelled"))
        assert client.post("/v1/experiments/cancelled/cancel").status_code in (200, 202)
        assert finished(client, "cancelled")["state"] == "cancelled"
    assert _shares_of_trials_begun(client, "cancelled")


def make_paused(client: httpx.Client) -> None:
    """Pause experiments with trials that are done, one that is midway, and others."""
    with _filled_in_part(client):
        for kind, name in PAUSED.items():
            _start(client, name, UNFINISHED[kind])
            until(partial(_is_midway, client, name))
            assert client.post(f"/v1/experiments/{name}/pause").status_code == 200
            until(partial(_is_quiet, client, name))
            _check_midway(client, name)


def start_killed(client: httpx.Client) -> dict[str, str]:
    """Begin experiments that are midway when their server is killed next.

    A sweep is stopped midway: other runs fill the engine and leave no room for another chunk.
    Behind it a run waits that has not begun. A training is not stopped by this, but made so slow
    that it cannot end before the server does.

    Returns:
        Ids of the runs by name.
    """
    sweep, training = KILLED["sweep"], KILLED["training"]
    filling = _fill_in_part(client)
    _start(client, sweep, UNFINISHED["sweep"])
    until(partial(_is_midway, client, sweep))
    filling.append(_fill(client, MOST_SAMPLES))
    until(partial(_has_started, client, filling[-1]))
    until(partial(_is_blocked, client, sweep))
    made = {f"interrupted-{number}": run_id for number, run_id in enumerate(filling)}
    asked = {"embeddings": rows(2, 50).tolist(), "outputs": ["surface", "hits"], "seed": 9}
    made["waiting"] = client.post("/v1/runs", json=asked).json()["run_id"]
    _start(client, training, UNFINISHED["training"])
    until(partial(_is_midway, client, training))
    for name in (sweep, training):
        _check_midway(client, name)
    waiting = client.get(f"/v1/runs/{made['waiting']}").json()
    assert (waiting["state"], waiting["started_at"]) == ("queued", None), waiting
    return made


def make_undisturbed(client: httpx.Client) -> None:
    """Carry out what other servers are to finish, each under the name of its kind."""
    for kind, fields in UNFINISHED.items():
        _start(client, kind, fields)
        assert finished(client, kind)["state"] == "succeeded"


def look(client: httpx.Client, name: str) -> dict[str, Any]:
    """An experiment as it is."""
    answer = client.get(f"/v1/experiments/{name}")
    assert answer.status_code == 200, answer.text
    experiment: dict[str, Any] = answer.json()
    return experiment


def finished(client: httpx.Client, name: str) -> dict[str, Any]:
    """Wait until an experiment has ended, or is paused because it cannot go on; return it."""
    until(lambda: look(client, name)["state"] in (*ENDED, "paused"))
    return look(client, name)


FLOWS = 30
MOST_SAMPLES = 273
"""Of so many flows each: no more of a run enter the engine at once."""

FILLING = (MOST_SAMPLES, MOST_SAMPLES, 270)
"""Samples of runs that leave room for three chunks: runs that enter in several chunks, as trials,
may take three quarters of the 32,768 flows of a CPU. One more such run leaves no room."""


def _fill(client: httpx.Client, samples: int) -> str:
    # Equal rows, so that they take no room in the archive. Not endless, should a server ever begin
    # them again.
    body = npy(np.tile(rows(1), (samples, 1)))
    options = {**ENDLESS, "max_steps": 5000, "projection_age": 5000}
    query = {"options": json.dumps(options), "outputs": "hits", "trace": '{"capacity": 0}'}
    answer = client.post("/v1/runs", params=query, content=body, headers=NPY)
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["run_id"]
    return run_id


def _fill_in_part(client: httpx.Client) -> list[str]:
    """Make trials advance three chunks at a time, and slowly; return the runs that do it."""
    filling = [_fill(client, samples) for samples in FILLING]
    for run_id in filling:
        until(partial(_has_started, client, run_id))
    return filling


@contextmanager
def _filled_in_part(client: httpx.Client) -> Iterator[None]:
    """The same until the block ends."""
    filling = _fill_in_part(client)
    yield
    for run_id in filling:
        assert client.post(f"/v1/runs/{run_id}/cancel").status_code in (200, 202)
        assert ended(client, run_id)["state"] == "cancelled"
        assert client.delete(f"/v1/runs/{run_id}").status_code == 204


def _start(client: httpx.Client, name: str, fields: dict[str, Any]) -> None:
    answer = client.post(
        "/v1/experiments",
        json={"name": name, **fields},
        headers={"Idempotency-Key": f"experiment-{name}"},
    )
    assert answer.status_code == 201, answer.text


def _has_started(client: httpx.Client, run_id: str) -> bool:
    run = client.get(f"/v1/runs/{run_id}").json()
    return run["state"] == "running" and run["started_at"] is not None


def _is_blocked(client: httpx.Client, name: str) -> bool:
    """Whether for a while nothing moves but what fills the engine."""
    before = look(client, name)["progress"]["samples_done"]
    for _ in range(20):
        flows = client.get("/v1/system").json()["engine"]["active_flows"]
        if flows != FLOWS * (sum(FILLING) + MOST_SAMPLES):
            return False
        time.sleep(0.05)
    return bool(look(client, name)["progress"]["samples_done"] == before)


def _is_midway(client: httpx.Client, name: str) -> bool:
    """Whether a trial is done and another is not far from a quarter done."""
    experiment = look(client, name)
    assert experiment["state"] in ("queued", "running"), "it was too quick"
    shares = _shares_of_trials_begun(client, name)
    return bool(experiment["trials"]["succeeded"]) and any(0.1 < share < 0.4 for share in shares)


def _shares_of_trials_begun(client: httpx.Client, name: str) -> list[float]:
    """The share that is done of each trial that has begun and has not ended well."""
    trials = client.get(f"/v1/experiments/{name}/trials?limit=1000").json()["items"]
    shares = [trial["samples_done"] / trial["samples"] for trial in trials]
    return [share for share in shares if 0 < share < 1]


def _is_quiet(client: httpx.Client, name: str) -> bool:
    return not look(client, name)["trials"]["running"]


def _check_midway(client: httpx.Client, name: str) -> None:
    """At least one trial is done, one is midway, and the experiment has not ended."""
    experiment = look(client, name)
    assert experiment["trials"]["succeeded"] >= 1, experiment
    assert experiment["state"] in ("running", "paused"), experiment
    assert _shares_of_trials_begun(client, name), experiment
