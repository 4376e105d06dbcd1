"""Experiments of a tiny model: started, followed, and looked at number by number."""

from __future__ import annotations

from typing import Any

import httpx
import orjson

from tests.service.servers import HeldEngine, npy, rows, samples_done, until

NPY = {"content-type": "application/x-npy"}
ENDED = ("succeeded", "failed", "cancelled")
TIMES = {"mean_step_ms", "max_step_ms"}


def put_dataset(client: httpx.Client, name: str, count: int) -> None:
    """Embeddings that the tiny model takes, under a name."""
    answer = client.put(f"/v1/datasets/{name}", content=npy(rows(count)), headers=NPY)
    assert answer.status_code in (200, 201), answer.text


def start(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    """Starts an experiment; as it was answered."""
    answer = client.post("/v1/experiments", json=fields)
    assert answer.status_code == 201, answer.text
    experiment: dict[str, Any] = answer.json()
    return experiment


def look(client: httpx.Client, name: str) -> dict[str, Any]:
    """An experiment as it is."""
    answer = client.get(f"/v1/experiments/{name}")
    assert answer.status_code == 200, answer.text
    experiment: dict[str, Any] = answer.json()
    return experiment


def reached(client: httpx.Client, name: str, *states: str) -> dict[str, Any]:
    """Waits until an experiment is in one of the states."""

    def seen() -> dict[str, Any] | None:
        experiment = look(client, name)
        return experiment if experiment["state"] in states else None

    found: dict[str, Any] = until(seen)
    return found


def ended(client: httpx.Client, name: str) -> dict[str, Any]:
    """Waits for the end of an experiment."""
    return reached(client, name, *ENDED)


def advance(client: httpx.Client, engine: HeldEngine, name: str, samples: int) -> dict[str, Any]:
    """Lets a held engine go on until so many samples have ended, and are kept."""

    def computed() -> int:
        return sum(samples_done(client, trial["run_id"]) for trial in trials(client, name))

    engine.go_until(lambda: computed() >= samples)
    until(lambda: done(client, name) >= samples)
    return look(client, name)


def done(client: httpx.Client, name: str) -> int:
    """Samples whose chunks have ended, and are kept."""
    samples: int = look(client, name)["progress"]["samples_done"]
    return samples


def quiet(client: httpx.Client, name: str) -> dict[str, Any]:
    """Waits until no trial is at work."""
    until(lambda: not look(client, name)["trials"]["running"])
    return look(client, name)


def act(client: httpx.Client, name: str, action: str) -> dict[str, Any]:
    """Pauses, resumes or cancels an experiment."""
    answer = client.post(f"/v1/experiments/{name}/{action}")
    assert answer.status_code in (200, 202), answer.text
    experiment: dict[str, Any] = answer.json()
    return experiment


def trials(client: httpx.Client, name: str) -> list[dict[str, Any]]:
    """All trials."""
    answer = client.get(f"/v1/experiments/{name}/trials", params={"limit": 1000})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def kept(client: httpx.Client, name: str) -> list[dict[str, Any]]:
    """What is kept of every trial, without times and ids."""
    return [_kept(client, trial) for trial in trials(client, name)]


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
