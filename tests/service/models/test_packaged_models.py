"""Models that are part of Energy Flow: every server has them, and no request changes them."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import load, load_file, save

from energy_flow import checkpoint, pretrained
from service.models.checkpoint_checks import check_file
from service.models.packaged import find_packaged
from service.problems import Problem
from tests.support.bodies import NPY, npy
from tests.support.damage import DAMAGES, Damage
from tests.support.experiments import start_experiment, wait_for_state
from tests.support.servers import (
    CONFIG,
    DIMENSION,
    RunningServer,
    queue,
    rows,
    serving,
    wait_until_ended,
)
from tests.support.stored_rows import change_rows

NAMES = pretrained.names()
BYTES = {"accept": "application/octet-stream"}


def run_sample(client: httpx.Client, name: str, count: int = 2) -> dict[str, Any]:
    """Simulate the first sample rows of a model."""
    inputs = load_file(pretrained.find(name).sample)["inputs"][:count].astype(np.float32)
    query = {"model": name, "outputs": "embedding,planes"}
    answer = client.post("/v1/simulate", params=query, content=npy(inputs), headers=NPY)
    answer.raise_for_status()
    result: dict[str, Any] = answer.json()
    return result


def test_models_are_listed_before_the_default(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.client
        client.post("/v1/models", json={"name": "own", "config": CONFIG}).raise_for_status()
        items = client.get("/v1/models").json()["items"]
        assert [item["name"] for item in items] == ["own", *NAMES, "default"]
        assert [item["read_only"] for item in items] == [False, True, True, True]
        has_sample = [item["sample_url"] is not None for item in items]
        assert has_sample == [False, True, True, False]
        assert [item["description"] for item in items] == [
            None,
            *(pretrained.find(name).description for name in NAMES),
            None,
        ]
        by_one, cursor = [], ""
        while cursor is not None:
            query = {"limit": 1} | ({"cursor": cursor} if cursor else {})
            page = client.get("/v1/models", params=query).json()
            by_one += [item["name"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert by_one == ["own", *NAMES, "default"]


def test_a_model_is_loaded_by_its_first_run(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.client
        for name in NAMES:
            assert client.get(f"/v1/models/{name}").json()["loaded"] is False
        result = run_sample(client, "spectrometer")
        described = client.get("/v1/models/spectrometer").json()
        assert described["loaded"] is True
        assert result["model"]["digest"] == described["digest"]
        model = pretrained.find("spectrometer")
        expected = checkpoint.load(model.checkpoint).simulate(
            load_file(model.sample)["inputs"][:2], outputs=("embedding",)
        )
        np.testing.assert_array_equal(
            np.array(result["outputs"]["embedding"], np.float32), expected.outputs["embedding"]
        )
        assert client.get("/v1/models/dictionary").json()["loaded"] is False
        assert client.post("/v1/models/spectrometer/unload").json()["loaded"] is False
        assert run_sample(client, "spectrometer")["outputs"] == result["outputs"]
        assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_downloaded(client: httpx.Client, name: str) -> None:
    sent = client.get(f"/v1/models/{name}", headers=BYTES).content
    assert sent == pretrained.find(name).checkpoint.read_bytes()


def test_no_request_deletes_or_replaces_a_model(server: RunningServer) -> None:
    client = server.client
    before = client.get("/v1/models").json()
    files = sorted((server.data_dir / "models").iterdir())
    for name, other in zip(NAMES, NAMES[::-1], strict=True):
        path = f"/v1/models/{name}"
        deleted = client.delete(path)
        made = client.post("/v1/models", json={"name": name, "config": CONFIG})
        put = client.put(path, content=pretrained.find(other).checkpoint.read_bytes())
        for answer in (deleted, made, put):
            assert answer.status_code == 409, answer.text
            assert "is part of Energy Flow" in answer.json()["detail"]
        same = client.put(path, content=pretrained.find(name).checkpoint.read_bytes())
        assert same.status_code == 200
    after = client.get("/v1/models").json()
    assert after == before
    assert sorted((server.data_dir / "models").iterdir()) == files


@pytest.mark.parametrize("name", NAMES)
def test_sample_rows(client: httpx.Client, name: str) -> None:
    path = f"/v1/models/{name}/sample"
    model = pretrained.find(name)
    expected = load_file(model.sample)
    document = client.get(path).json()
    assert document["model"] == name
    for part in ("inputs", "targets"):
        np.testing.assert_array_equal(
            np.array(document[part], np.float32), expected[part].astype(np.float32)
        )
    tensors = load(client.get(path, headers=BYTES).content)
    np.testing.assert_array_equal(tensors["targets"], expected["targets"])
    # As it is, the file is the body of a run.
    sent = client.get(path, params={"format": "npy"})
    assert sent.headers["content-type"] == "application/x-npy"
    query = {"model": name, "dry_run": "true"}
    estimate = client.post("/v1/simulate", params=query, content=sent.content, headers=NPY)
    assert estimate.json()["samples"] == len(expected["inputs"])


def test_a_model_without_a_sample(client: httpx.Client) -> None:
    answer = client.get("/v1/models/default/sample")
    assert answer.status_code == 404
    assert "dictionary, spectrometer" in answer.json()["detail"]
    assert client.get("/v1/models/nothing/sample").status_code == 404
    unknown = client.get("/v1/models/dictionary/sample", params={"format": "csv"})
    assert unknown.status_code == 406


def test_inference_with_a_model(client: httpx.Client) -> None:
    loaded = client.post("/v2/repository/models/spectrometer/load", json={})
    assert loaded.status_code == 200, loaded.text
    inputs = client.get("/v1/models/spectrometer/sample").json()["inputs"][:2]
    tensor = {"name": "embeddings", "datatype": "FP32", "shape": [2, 100], "data": inputs}
    body = {"inputs": [tensor], "outputs": [{"name": "embedding"}]}
    (output,) = client.post("/v2/models/spectrometer/infer", json=body).json()["outputs"]
    assert output["shape"] == [2, 200]
    expected = run_sample(client, "spectrometer")["outputs"]["embedding"]
    np.testing.assert_array_equal(
        np.array(output["data"], np.float32), np.array(expected, np.float32).ravel()
    )
    client.post("/v1/models/spectrometer/unload").raise_for_status()


def test_a_stored_model_hides_the_one_of_the_package(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path) as server:
        made = server.client.post("/v1/models", json={"name": "own", "config": CONFIG}).json()
    # As an earlier version, which had no models of its own, left them.
    change_rows(tmp_path, "models", name="dictionary")
    (tmp_path / "models" / "own.safetensors").rename(tmp_path / "models" / "dictionary.safetensors")
    with caplog.at_level(logging.INFO), serving(tmp_path) as server:
        client = server.client
        logged = [line for line in caplog.messages if "'dictionary'" in line]
        assert len(logged) == 1
        found = client.get("/v1/models/dictionary").json()
        assert (found["digest"], found["read_only"]) == (made["digest"], False)
        assert client.get("/v1/models/dictionary/sample").status_code == 404
        run_id = queue(client, 2, model="dictionary")
        assert wait_until_ended(client, run_id)["state"] == "succeeded"
        assert client.post(f"/v1/runs/{run_id}/replay", json={"sample": 0}).json()["agrees"] is True
        assert client.delete("/v1/models/dictionary").status_code == 204
        packaged = client.get("/v1/models/dictionary").json()
        assert packaged["read_only"] is True
        assert packaged["digest"] != made["digest"]
        assert client.get("/v1/models/dictionary/sample").status_code == 200
        assert client.delete("/v1/models/dictionary").status_code == 409
        replayed = client.post(f"/v1/runs/{run_id}/replay", json={"sample": 0})
        assert replayed.status_code == 409
    with serving(tmp_path) as server:
        assert server.client.get("/v1/models/dictionary").json() == packaged


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_checkpoint_is_refused_with_what_to_do(tmp_path: Path, damage: Damage) -> None:
    model = find_packaged()["spectrometer"]
    copy = tmp_path / "spectrometer.safetensors"
    copy.write_bytes(pretrained.find("spectrometer").checkpoint.read_bytes())
    check_file(model, copy)
    damage(copy)
    with pytest.raises(Problem, match="install Energy Flow again") as refused:
        check_file(model, copy)
    assert refused.value.status == 409


def test_a_run_of_other_weights_is_not_replayed(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        run_id = run_sample(server.client, "spectrometer")["run_id"]
    # As after an upgrade to a version whose model was trained again.
    change_rows(tmp_path, "runs", model_digest="0" * 64)
    with serving(tmp_path) as server:
        replayed = server.client.post(f"/v1/runs/{run_id}/replay", json={"sample": 0})
        assert replayed.status_code == 409
        assert "has other weights" in replayed.json()["detail"]
        assert replayed.json()["run_digest"] == "0" * 64
        assert server.client.get(f"/v1/runs/{run_id}").json()["state"] == "succeeded"


def test_experiments_use_a_model(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.client
        sample = pretrained.find("spectrometer").sample.read_bytes()
        path = "/v1/datasets/pictures?format=safetensors"
        client.put(path, content=sample).raise_for_status()
        fields: dict[str, Any] = {"model": "spectrometer", "dataset": "pictures"}
        start_experiment(client, name="runs", rows=[0, 4], **fields)
        training = {"length": {"steps": 1}, "batch": {"rows": 8}, "losses": {"mse": {}}}
        train: dict[str, Any] = {"kind": "train", "train": training, **fields}
        refused = client.post("/v1/experiments", json={"name": "dictionary", **train})
        assert refused.status_code == 422
        assert "part of Energy Flow" in refused.json()["errors"][0]["msg"]
        start_experiment(client, name="trained", **train)
        for name in ("runs", "trained"):
            ended = wait_for_state(client, name, "succeeded", "failed")
            assert ended["state"] == "succeeded", ended["error"]
        made = client.get("/v1/models/trained").json()
        assert (made["trained"], made["read_only"]) == (True, False)
        assert made["digest"] != client.get("/v1/models/spectrometer").json()["digest"]
        ablation = {"dataset": "pictures", "rows": [0, 8]}
        started = client.post("/v1/models/spectrometer/ablations", json=ablation)
        assert started.status_code == 202, started.text


def test_a_training_of_an_earlier_version_makes_its_model(tmp_path: Path) -> None:
    """Its name was free when it was started."""
    with serving(tmp_path) as server:
        client = server.client
        inputs, targets = rows(32), rows(32, seed=1)
        content = save({"inputs": inputs, "targets": targets})
        client.put("/v1/datasets/pairs?format=safetensors", content=content).raise_for_status()
        training = {"length": {"steps": 1}, "batch": {"rows": 8}, "losses": {"mse": {}}}
        with server.engine_held():
            start_experiment(client, name="own", kind="train", dataset="pairs", train=training)
            server.stop_while_held()
    with closing(sqlite3.connect(tmp_path / "index.sqlite3")) as index, index:
        index.execute("UPDATE runs SET request = json_set(request, '$.makes_model', 'dictionary')")
    with serving(tmp_path) as server:
        client = server.client
        assert wait_for_state(client, "own", "succeeded", "failed")["state"] == "succeeded"
        made = client.get("/v1/models/dictionary").json()
        assert (made["read_only"], made["config"]["embedding_dim"]) == (False, DIMENSION)
        client.delete("/v1/experiments/own").raise_for_status()
        assert client.delete("/v1/models/dictionary").status_code == 204
        assert client.get("/v1/models/dictionary").json()["read_only"] is True


def test_rows_of_the_tiny_model_do_not_fit(client: httpx.Client) -> None:
    refused = client.post("/v1/simulate", json={"embeddings": rows().tolist(), "model": NAMES[0]})
    assert refused.status_code == 422
