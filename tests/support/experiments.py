"""Experiments of a tiny model: started, followed and compared."""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import orjson

from service.lifespan import ServiceLimits
from tests.support.bodies import NPY, npy
from tests.support.servers import HeldEngine, count_done, rows, serving
from tests.support.waits import until

ENDED = ("succeeded", "failed", "cancelled")
TIMES = {"mean_step_ms", "max_step_ms"}

experiment_server = partial(
    serving, limits=ServiceLimits(max_wait_seconds=0.05, max_pool_flows=640)
)
"""Run a server that answers at once, also while its engine is held, and splits runs.

No more than thirty new samples of the tiny model are in the engine at once. Otherwise it depends on
the speed of the machine whether a whole run enters in one round.
"""


def put_dataset(client: httpx.Client, name: str, count: int) -> None:
    """Store embeddings for the tiny model under a name."""
    answer = client.put(f"/v1/datasets/{name}", content=npy(rows(count)), headers=NPY)
    assert answer.status_code in (200, 201), answer.text


def start_experiment(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    """Start an experiment and return the answer."""
    answer = client.post("/v1/experiments", json=fields)
    assert answer.status_code == 201, answer.text
    experiment: dict[str, Any] = answer.json()
    return experiment


def read_experiment(client: httpx.Client, name: str) -> dict[str, Any]:
    """Return an experiment."""
    answer = client.get(f"/v1/experiments/{name}")
    assert answer.status_code == 200, answer.text
    experiment: dict[str, Any] = answer.json()
    return experiment


def wait_for_state(client: httpx.Client, name: str, *states: str) -> dict[str, Any]:
    """Wait until an experiment is in one of the states."""

    def seen() -> dict[str, Any] | None:
        experiment = read_experiment(client, name)
        return experiment if experiment["state"] in states else None

    found: dict[str, Any] = until(seen)
    return found


def wait_until_ended(client: httpx.Client, name: str) -> dict[str, Any]:
    """Wait for the end of an experiment."""
    return wait_for_state(client, name, *ENDED)


def advance(client: httpx.Client, engine: HeldEngine, name: str, samples: int) -> dict[str, Any]:
    """Let a held engine run until so many samples have ended and are stored."""

    def computed() -> int:
        return sum(count_done(client, trial["run_id"]) for trial in read_trials(client, name))

    engine.run_until(lambda: computed() >= samples)
    until(lambda: count_stored(client, name) >= samples)
    return read_experiment(client, name)


def count_stored(client: httpx.Client, name: str) -> int:
    """Return the stored samples."""
    samples: int = read_experiment(client, name)["progress"]["samples_done"]
    return samples


def wait_until_quiet(client: httpx.Client, name: str) -> dict[str, Any]:
    """Wait until no trial is running."""
    until(lambda: not read_experiment(client, name)["trials"]["running"])
    return read_experiment(client, name)


def change_state(client: httpx.Client, name: str, action: str) -> dict[str, Any]:
    """Pause, resume or cancel an experiment."""
    answer = client.post(f"/v1/experiments/{name}/{action}")
    assert answer.status_code in (200, 202), answer.text
    experiment: dict[str, Any] = answer.json()
    return experiment


def read_trials(client: httpx.Client, name: str) -> list[dict[str, Any]]:
    """Return all trials."""
    answer = client.get(f"/v1/experiments/{name}/trials", params={"limit": 1000})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def read_stored_results(client: httpx.Client, name: str) -> list[dict[str, Any]]:
    """Return what is stored of every trial, without times and ids."""
    return [_kept(client, trial) for trial in read_trials(client, name)]


def _kept(client: httpx.Client, trial: dict[str, Any]) -> dict[str, Any]:
    url = trial["run_url"]
    run = client.get(url).json()
    outputs = {
        output: client.get(f"{url}/outputs/{output}?format=npy").content
        for output in run["outputs"]
    }
    lines = client.get(f"{url}/trace?format=ndjson").text.splitlines()
    return {
        "trial": trial["trial"],
        "state": trial["state"],
        "seed": trial["seed"],
        "parameters": trial["parameters"],
        "samples": client.get(f"{url}/samples?limit=1000").json()["items"],
        "metrics": {
            name: value for name, value in (trial["metrics"] or {}).items() if name not in TIMES
        },
        "trace": {**(trial["trace"] or {}), "url": None},
        "records": [orjson.loads(line) for line in lines],
        "outputs": outputs,
        "warnings": trial["warnings"],
    }
