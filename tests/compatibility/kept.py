"""What an experiment gives in the end, number by number, without times and ids."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import numpy as np

from tests.compatibility.bodies import array_of

TIMES = ("compute_ms", "flow_steps_per_second", "mean_step_ms", "max_step_ms")
"""Metrics that no two runs have the same of."""


def results_of(client: httpx.Client, name: str) -> dict[str, Any]:
    """Return the trials and the tables of an experiment that has ended."""
    trials = _json(client, f"/v1/experiments/{name}/trials?limit=1000")["items"]
    return {
        "kind": _json(client, f"/v1/experiments/{name}")["kind"],
        "trials": [_trial(client, trial) for trial in trials],
        "points": _points(_json(client, f"/v1/experiments/{name}/results?of=points")),
    }


def _trial(client: httpx.Client, trial: dict[str, Any]) -> dict[str, Any]:
    kept = {name: trial[name] for name in ("trial", "state", "seed", "parameters", "samples_done")}
    kept["metrics"] = {name: value for name, value in trial["metrics"].items() if name not in TIMES}
    if trial["makes_model"] is not None:
        model = _json(client, f"/v1/models/{trial['makes_model']}")
        kept["model"] = {"trained": model["trained"], "digest": model["digest"]}
        curves = _json(client, f"{trial['url']}/curves")["curves"]
        kept["curves"] = {
            name: column
            for name, column in curves.items()
            if not name.endswith(("seconds", "rows_per_second"))
        }
        return kept
    url = trial["run_url"]
    lines = client.get(f"{url}/trace?format=ndjson").text.splitlines()
    records = [json.loads(line) for line in lines]
    return {
        **kept,
        "recorded": {**trial["trace"], "url": None},
        "samples": _json(client, f"{url}/samples?limit=1000")["items"],
        "records": {name: [record[name] for record in records] for name in records[0]},
        "outputs": {
            output: _output(client, f"{url}/outputs/{output}?format=npy")
            for output in _json(client, url)["outputs"]
        },
    }


def _output(client: httpx.Client, path: str) -> dict[str, Any]:
    content = client.get(path).content
    return array_of(np.load(io.BytesIO(content), allow_pickle=False))


def _points(table: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows without columns such as ``compute_ms.mean``."""
    return [
        {name: value for name, value in row.items() if name.rpartition(".")[0] not in TIMES}
        for row in table["rows"]
    ]


def _json(client: httpx.Client, path: str) -> dict[str, Any]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document
