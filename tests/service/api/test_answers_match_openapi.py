"""JSON answers below ``/v1`` have the members that the OpenAPI document describes, no others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from safetensors.numpy import save

from energy_flow.choices import Output, names_of
from tests.support.bodies import NPY, npy
from tests.support.experiments import put_dataset, start_experiment
from tests.support.experiments import wait_until_ended as experiment_ended
from tests.support.pairs import put_pairs
from tests.support.servers import (
    ENDLESS,
    RunningServer,
    cancel,
    queue,
    rows,
    serving,
    wait_until_ended,
)
from tests.support.waits import until

OUTPUTS = list(names_of(Output))
TRAINING = {
    "losses": {"cosine": {"weight": 1.0}},
    "data.held_out": 0.25,
    "batch.rows": 8,
    "length.steps": 4,
    "validation.every": 2,
}


class Described:
    """The document, with schemas that allow only the members that they name."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._paths = document["paths"]
        self._components = _close(document["components"])

    def check(self, response: httpx.Response) -> Any:
        """Compare an answer with its schema and return it."""
        method, path = response.request.method, response.request.url.path
        template = next(
            template
            for template in sorted(self._paths, key=lambda one: one.count("{"))
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
        )
        described = self._paths[template][method.lower()]["responses"][str(response.status_code)]
        media_type = response.headers["content-type"].partition(";")[0]
        answer = response.json()
        assert not self.faults(described["content"][media_type]["schema"], answer), path
        return answer

    def check_events(self, text: str, path: str) -> set[str]:
        """Compare the data of events with their schemas and return the names of the events."""
        content = self._paths[path]["get"]["responses"]["200"]["content"]["text/event-stream"]
        data = content["schema"]["properties"]["data"]["contentSchema"]
        names = re.findall(r"^event: (.*)$", text, re.MULTILINE)
        for line in re.findall(r"^data: (.*)$", text, re.MULTILINE):
            assert not self.faults(data, json.loads(line)), line
        assert set(names) <= set(content["schema"]["properties"]["event"]["enum"])
        return set(names)

    def faults(self, schema: dict[str, Any], value: Any) -> list[str]:
        """Return how a value differs from a schema."""
        whole = {**schema, "components": self._components}
        validator = jsonschema_rs.Draft202012Validator(whole)
        return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value)]


def _close(schema: Any) -> Any:
    """Return schemas that allow only the members that they name."""
    if isinstance(schema, list):
        return [_close(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _close(entry) for name, entry in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        closed["additionalProperties"] = False
    return closed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("described"), max_body_bytes=100_000) as running:
        yield running


@pytest.fixture(scope="module")
def described(server: RunningServer) -> Described:
    return Described(server.client.get("/openapi.json").json())


@pytest.mark.slow
def test_simulations(client: httpx.Client, described: Described) -> None:
    body = {"embeddings": rows().tolist(), "outputs": OUTPUTS}
    described.check(client.post("/v1/simulate", json=body))
    described.check(client.post("/v1/simulate", json={**body, "outputs": [], "store": False}))
    described.check(client.post("/v1/simulate?dry_run=true", json=body))
    without_trace = {**body, "trace": {"capacity": 0}}
    described.check(client.post("/v1/simulate", json=without_trace))
    described.check(client.post("/v1/simulate", json={}))
    described.check(client.post("/v1/simulate", content=b"{"))


@pytest.mark.slow
def test_runs(client: httpx.Client, described: Described) -> None:
    put_dataset(client, "rows", 4)
    dataset = {"dataset": "rows", "rows": [1, 3], "outputs": OUTPUTS}
    described.check(client.post("/v1/runs", json=dataset))
    run_ids = [queue(client, 3, outputs=OUTPUTS, seed=seed) for seed in (1, 2)]
    endless = queue(client, 1, options=ENDLESS)
    described.check(client.get("/v1/runs"))
    described.check(client.get(f"/v1/runs/{endless}"))
    until(lambda: client.get(f"/v1/runs/{endless}").json()["state"] == "running")
    described.check(client.get(f"/v1/runs/{endless}"))
    cancel(client, endless)
    described.check(client.get(f"/v1/runs/{endless}"))
    described.check(client.post(f"/v1/runs/{endless}/cancel"))
    for run_id in run_ids:
        wait_until_ended(client, run_id)
    url = f"/v1/runs/{run_ids[0]}"
    parts = ("", "/inputs", "/memory", "/profile", "/samples?limit=2", f"/compare/{run_ids[1]}")
    for part in parts:
        described.check(client.get(url + part))
    for output in OUTPUTS:
        described.check(client.get(f"{url}/outputs/{output}"))
    for body in ({"sample": 1}, {"sample": 1, "flow": 0}, {"sample": 9}):
        described.check(client.post(f"{url}/replay", json=body))
    described.check(client.get("/v1/runs/nothing"))


@pytest.mark.slow
def test_events_of_runs(client: httpx.Client, described: Described) -> None:
    run_id = queue(client, 3)
    path, template = f"/v1/runs/{run_id}/events", "/v1/runs/{run_id}/events"
    names = described.check_events(client.get(path).text, template)
    assert names == {"state", "progress", "step"}
    wait_until_ended(client, run_id)
    assert "state" in described.check_events(client.get(path).text, template)
    endless = queue(client, 1, options=ENDLESS)
    # More events than are held.
    until(lambda: (client.get(f"/v1/runs/{endless}").json()["progress"]["step"] or 0) > 1100)
    cancel(client, endless)
    path = f"/v1/runs/{endless}/events"
    assert "gap" in described.check_events(client.get(path).text, template)


@pytest.mark.slow
def test_models_and_datasets(client: httpx.Client, described: Described) -> None:
    described.check(client.post("/v1/models", json={"name": "small", "config": {"seed": 1}}))
    for path in ("/v1/models", "/v1/models/small", "/v1/models/nothing"):
        described.check(client.get(path))
    for name in ("spectrometer", "small"):
        described.check(client.get(f"/v1/models/{name}/sample"))
    for action in ("load", "unload"):
        described.check(client.post(f"/v1/models/small/{action}"))
    checkpoint = client.get("/v1/models/small?format=safetensors").content
    for _ in range(2):
        described.check(client.put("/v1/models/copy", content=checkpoint))
    headers = NPY
    for _ in range(2):
        described.check(client.put("/v1/datasets/more", content=npy(rows(5)), headers=headers))
    for path in ("/v1/datasets", "/v1/datasets/more", "/v1/datasets/nothing"):
        described.check(client.get(path))


@pytest.mark.slow
def test_ablations(client: httpx.Client, described: Described) -> None:
    put_pairs(client, "measured", 4)
    path = "/v1/models/default/ablations"
    body = {"dataset": "measured", "resamples": 100, "options": {"noise_std": 0}}
    url = described.check(client.post(path, json=body))["url"]
    until(lambda: client.get(url).json()["state"] == "succeeded")
    described.check(client.get(url))
    described.check(client.get(path))
    described.check(client.post(path, json={}))
    described.check(client.get(f"{path}/nothing"))
    with_huge_options = {**body, "options": {"max_steps": 2**31 - 1, "displacement_scale": 1e-9}}
    running = described.check(client.post(path, json=with_huge_options))["url"]
    described.check(client.delete(running))
    described.check(client.get(running))


def test_experiments(client: httpx.Client, described: Described) -> None:
    put_dataset(client, "swept", 4)
    sweep = {"grid": {"noise_std": [0.1, 0.2]}}
    body = {"name": "sweep", "dataset": "swept", "sweep": sweep, "seeds": [0, 1]}
    described.check(client.post("/v1/experiments", json=body))
    path = "/v1/experiments/sweep"
    names = described.check_events(
        client.get(f"{path}/events").text, "/v1/experiments/{experiment_id}/events"
    )
    assert {"state", "trial"} <= names
    experiment_ended(client, "sweep")
    parts = ("", "/trials?limit=3", "/trials/0", "/results", "/results?of=points", "/trials/9")
    for part in parts:
        described.check(client.get(path + part))
    described.check(client.get("/v1/experiments"))
    described.check(client.post(f"{path}/pause"))
    described.check(client.post("/v1/experiments", json={**body, "seed": 1}))
    random = {"random": {"noise_std": {"low": 0.1, "high": 0.2}, "max_steps": [2, 3]}, "count": 2}
    start_experiment(client, name="random", dataset="swept", sweep=random)
    experiment_ended(client, "random")
    described.check(client.get("/v1/experiments/random"))


@pytest.mark.slow
def test_trainings(client: httpx.Client, described: Described) -> None:
    pairs = save({"inputs": rows(16), "targets": rows(16, seed=2)})
    client.put("/v1/datasets/pairs?format=safetensors", content=pairs).raise_for_status()
    start_experiment(client, name="learned", kind="train", dataset="pairs", train=TRAINING)
    path = "/v1/experiments/learned"
    described.check_events(
        client.get(f"{path}/events").text, "/v1/experiments/{experiment_id}/events"
    )
    assert experiment_ended(client, "learned")["state"] == "succeeded"
    for part in ("", "/trials", "/trials/0", "/trials/0/curves", "/results"):
        described.check(client.get(path + part))
    trial = described.check(client.get(f"{path}/trials/0"))
    described.check(client.get(trial["run_url"]))
    described.check(client.get("/v1/runs?kind=training"))


def test_the_server(client: httpx.Client, described: Described, tmp_path: Path) -> None:
    described.check(client.get("/v1/system"))
    described.check(client.get("/livez"))
    described.check(client.get("/readyz"))
    with serving(tmp_path, api_key="secret") as locked:
        described.check(locked.client.get("/v1/system"))
