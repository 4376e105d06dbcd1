"""Several faults of a request are reported at once."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.pairs import put_pairs
from tests.support.servers import rows


def read_faults(answer: httpx.Response) -> dict[str, str]:
    """Return the messages of a refusal by their place."""
    assert answer.status_code == 422, answer.text
    return {".".join(map(str, one["loc"])): one["msg"] for one in answer.json()["errors"]}


def test_all_faults_of_a_query_are_reported(client: httpx.Client) -> None:
    answer = client.get("/v1/runs?limit=-1&state=succeded&kinds=run&kind=trail")
    faults = read_faults(answer)
    assert set(faults) == {"limit", "state", "kinds", "kind.0"}
    assert "did you mean 'succeeded'?" in faults["state"]
    assert "did you mean 'kind'?" in faults["kinds"]
    assert "did you mean 'trial'?" in faults["kind.0"]
    assert "limit" in read_faults(client.get("/v1/runs?limit=-1"))


RUN = {"dataset": "nowhere", "seed": -1, "options": {"spawn.treshold": 1}, "sample_keys": [-1]}
EXPERIMENT = {
    "name": "many-faults",
    "max_parallel": 0,
    "dataset": "nowhere",
    "options": {"spawn.treshold": 1},
    "seeds": [1, 1],
    "sweep": {"grid": {"noise_sdt": [0.1]}},
}
ABLATION = {"dataset": "nowhere", "resamples": 1, "options": {"spawn.treshold": 1}}


@pytest.mark.parametrize(
    ("path", "body", "places"),
    [
        ("/v1/runs", RUN, {"dataset", "seed", "options.spawn.treshold", "sample_keys.0"}),
        (
            "/v1/experiments",
            EXPERIMENT,
            {
                "max_parallel",
                "dataset",
                "options.spawn.treshold",
                "seeds.1",
                "sweep.grid.noise_sdt",
            },
        ),
        (
            "/v1/models/default/ablations",
            ABLATION,
            {"dataset", "resamples", "options.spawn.treshold"},
        ),
    ],
)
def test_an_unknown_dataset_is_reported_with_all_other_faults(
    client: httpx.Client, path: str, body: dict[str, Any], places: set[str]
) -> None:
    assert set(read_faults(client.post(path, json=body))) == places
    good = {"name": "unknown-dataset", "dataset": "nowhere"}
    alone = client.post(path, json={name: good[name] for name in good if name in body})
    assert alone.status_code == 404
    assert "nowhere" in alone.json()["detail"]


def test_an_unknown_model_is_reported_with_all_other_faults(client: httpx.Client) -> None:
    body = {"embeddings": rows().tolist(), "model": "nowhere", "seed": -1}
    assert set(read_faults(client.post("/v1/simulate", json=body))) == {"model", "seed"}
    assert client.post("/v1/simulate", json={**body, "seed": 1}).status_code == 404


def test_all_faults_of_an_ablation_of_a_dataset_are_reported(client: httpx.Client) -> None:
    put_pairs(client, "pairs-with-faults", 12)
    body = {"dataset": "pairs-with-faults", "rows": [0, 99], "resamples": 1}
    faults = read_faults(client.post("/v1/models/default/ablations", json=body))
    assert set(faults) == {"rows", "resamples"}
