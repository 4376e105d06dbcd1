"""The default model: the settings choose it, or else the data directory."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.numpy import load_file

from energy_flow import pretrained
from service.settings import Settings
from service.store.recovery.adopt import adopt
from service.store.recovery.rebuild import find_rows, rebuild_index
from tests.support.bodies import NPY, npy
from tests.support.data_directories import fill, make_earlier, refusal
from tests.support.servers import CONFIG, DIMENSION, rows, serving, wait_until_ended

NO_SETTINGS: dict[str, Any] = {"set": ()}
DICTIONARY = pretrained.find("dictionary")
WIDTH = 384
WIDTH_OF_DEBUG = 768


def read_mark(data_dir: Path) -> dict[str, Any]:
    mark: dict[str, Any] = json.loads((data_dir / "identity.json").read_bytes())
    return mark


def read_default(data_dir: Path, **settings: Any) -> dict[str, Any]:
    """Start a server, and return the description of its default model."""
    with serving(data_dir, **(NO_SETTINGS | settings)) as server:
        described: dict[str, Any] = server.client.get("/v1/models/default").json()
        return described


def width(data_dir: Path, **settings: Any) -> int:
    """Return the numbers of a row of the default model."""
    found: int = read_default(data_dir, **settings)["config"]["embedding_dim"]
    return found


def test_a_new_directory_has_the_dictionary(tmp_path: Path) -> None:
    with serving(tmp_path, **NO_SETTINGS) as server:
        client = server.client
        default = client.get("/v1/models/default").json()
        dictionary = client.get("/v1/models/dictionary").json()
        for name in ("digest", "config", "trained", "description", "output_width", "read_only"):
            assert default[name] == dictionary[name], name
        assert default["trained"] is True
        assert default["read_only"] is True
        assert default["loaded"] is True
        sample = client.get(default["sample_url"]).json()["inputs"][:2]
        run = client.post("/v1/simulate", json={"embeddings": sample, "outputs": ["embedding"]})
        assert run.json()["model"]["name"] == "default"
        assert run.json()["model"]["trained"] is True
        assert client.delete("/v1/models/default").status_code == 409
        sent = {"accept": "application/octet-stream"}
        file = client.get("/v1/models/default", params={"format": "safetensors"}, headers=sent)
        assert file.content == DICTIONARY.checkpoint.read_bytes()
    assert width(tmp_path) == WIDTH


def test_the_dictionary_is_unloaded_and_the_default_stays(tmp_path: Path) -> None:
    inputs = load_file(DICTIONARY.sample)["inputs"][:2].astype("float32")
    with serving(tmp_path, **NO_SETTINGS) as server:
        client = server.client
        for action in ("load", "unload"):
            client.post(f"/v1/models/dictionary/{action}").raise_for_status()
            answer = client.post("/v1/simulate", content=npy(inputs), headers=NPY)
            assert answer.status_code == 200, answer.text
        assert client.get("/v1/models/default").json()["loaded"] is True


@pytest.mark.parametrize("settings", [{"preset": "debug"}, {"set": ("embedding_dim=8",)}])
def test_settings_choose_at_each_start(tmp_path: Path, settings: dict[str, Any]) -> None:
    small = {"set": (*settings.pop("set", ()), "lattice_width=4", "carrier_hidden_size=8")}
    with_flags = read_default(tmp_path, **small, **settings)
    assert with_flags["trained"] is False
    assert with_flags["sample_url"] is None
    assert width(tmp_path) == WIDTH
    assert read_default(tmp_path, **small, **settings)["digest"] == with_flags["digest"]


def test_a_checkpoint_is_chosen(tmp_path: Path) -> None:
    other = pretrained.find("spectrometer").checkpoint
    assert width(tmp_path, model=other) == 100
    assert width(tmp_path) == WIDTH


def test_a_directory_of_an_earlier_version_keeps_its_default(tmp_path: Path) -> None:
    fill(tmp_path)
    make_earlier(tmp_path)
    for _ in range(2):
        default = read_default(tmp_path)
        assert default["trained"] is False
        assert default["config"]["embedding_dim"] == WIDTH_OF_DEBUG
    assert "default_model" not in read_mark(tmp_path)


def test_runs_that_an_earlier_version_queued_continue(tmp_path: Path) -> None:
    with serving(tmp_path, **NO_SETTINGS, preset="debug") as server:
        body = {"embeddings": [[0.05] * WIDTH_OF_DEBUG]}
        with server.engine_held():
            run_id = server.client.post("/v1/runs", json=body).json()["run_id"]
            server.stop_while_held()
    mark = read_mark(tmp_path)
    del mark["default_model"]
    (tmp_path / "identity.json").write_text(json.dumps(mark))
    with serving(tmp_path, **NO_SETTINGS) as server:
        assert wait_until_ended(server.client, run_id)["state"] == "succeeded"


def test_an_empty_directory_of_an_earlier_version_is_not_new(tmp_path: Path) -> None:
    with serving(tmp_path):
        pass
    (tmp_path / "identity.json").unlink()
    with closing(sqlite3.connect(tmp_path / "index.sqlite3")) as index, index:
        index.execute("DELETE FROM identity")
    assert width(tmp_path) == WIDTH_OF_DEBUG


def test_a_first_start_that_was_interrupted_is_repeated(tmp_path: Path) -> None:
    with serving(tmp_path, **NO_SETTINGS):
        pass
    mark = read_mark(tmp_path)
    # Before the index had the id, and before there was an index.
    (tmp_path / "identity.json").write_text(json.dumps({**mark, "before": None}))
    with closing(sqlite3.connect(tmp_path / "index.sqlite3")) as index, index:
        index.execute("DELETE FROM identity")
    assert width(tmp_path) == WIDTH
    (tmp_path / "identity.json").write_text(json.dumps({**mark, "before": None}))
    for path in tmp_path.glob("index.sqlite3*"):
        path.unlink()
    assert width(tmp_path) == WIDTH


def test_repairs_keep_the_default(tmp_path: Path) -> None:
    fill(tmp_path)
    url = Settings(data_dir=tmp_path).index_url
    (tmp_path / "index.sqlite3").unlink()
    rebuild_index(tmp_path, url, find_rows(tmp_path, lambda *_: None))
    assert read_mark(tmp_path)["default_model"] == "dictionary"
    adopt(tmp_path, url)
    assert width(tmp_path) == WIDTH
    # What a damaged file said is not known.
    (tmp_path / "identity.json").write_text("{}")
    adopt(tmp_path, url)
    assert width(tmp_path) == WIDTH_OF_DEBUG


def test_a_default_model_that_is_not_known_is_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    mark = read_mark(tmp_path)
    (tmp_path / "identity.json").write_text(json.dumps({**mark, "default_model": "encyclopedia"}))
    why = refusal(tmp_path, **NO_SETTINGS)
    for word in ("encyclopedia", "--preset", "--model"):
        assert word in why
    assert width(tmp_path, set=("embedding_dim=8", "lattice_width=4")) == 8
    (tmp_path / "identity.json").write_text(json.dumps({**mark, "default_model": 3}))
    assert "damaged" in refusal(tmp_path, **NO_SETTINGS)


def test_examples_of_the_document_are_those_of_the_default(tmp_path: Path) -> None:
    with serving(tmp_path, **NO_SETTINGS) as server:
        client = server.client
        rows_of_sample = client.get("/v1/models/default/sample", params={"format": "safetensors"})
        for name in ("pairs", "sentences"):
            put = client.put(
                f"/v1/datasets/{name}",
                content=rows_of_sample.content,
                params={"format": "safetensors"},
            )
            assert put.status_code == 201, put.text
        paths = client.get("/openapi.json").json()["paths"]
        answered = 0
        for path, methods in paths.items():
            content = methods.get("post", {}).get("requestBody", {}).get("content", {})
            for example in content.get("application/json", {}).get("examples", {}).values():
                name = "energy_flow" if path.startswith("/v2") else "default"
                url = path.replace("{name}", name).replace("{version}", "1")
                answer = client.post(url, json=example["value"])
                assert answer.status_code in (200, 201, 202), f"{url}: {answer.text}"
                answered += 1
        assert answered >= 7
        assert client.get("/v1/models/quiet").json()["config"]["embedding_dim"] == WIDTH


def fault_of_width(answer: httpx.Response) -> str:
    assert answer.status_code == 422, answer.text
    (message,) = (fault["msg"] for fault in answer.json()["errors"] if "numbers" in fault["msg"])
    return str(message)


def test_a_refusal_for_width_names_the_models_that_fit(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.client
        wide = {"embeddings": [[0.1] * 9]}
        message = fault_of_width(client.post("/v1/simulate", json=wide))
        assert message.startswith(
            f"embeddings have 9 numbers, the model 'default' takes {DIMENSION}; no model takes 9"
        )
        assert "POST /v1/models" in message
        assert "energy-flow model create NAME --set embedding_dim=9" in message
        for name in ("b", "a"):
            config = {**CONFIG, "embedding_dim": 9}
            client.post("/v1/models", json={"name": name, "config": config}).raise_for_status()
        expected = (
            f"embeddings have 9 numbers, the model 'default' takes {DIMENSION}; "
            "models that take 9: a, b"
        )
        assert fault_of_width(client.post("/v1/simulate", json=wide)) == expected
        client.put("/v1/datasets/wide", content=npy(rows(4).repeat(2, 1)[:, :9]), headers=NPY)
        run = client.post("/v1/runs", json={"dataset": "wide"})
        assert fault_of_width(run) == expected
        sweep = {"name": "x", "dataset": "wide"}
        assert fault_of_width(client.post("/v1/experiments", json=sweep)) == expected
        ablation = client.post("/v1/models/default/ablations", json={"dataset": "wide"})
        assert fault_of_width(ablation) == expected
        tensor = {"name": "embeddings", "shape": [1, 9], "datatype": "FP32", "data": [0.1] * 9}
        infer = client.post("/v2/models/energy_flow/infer", json={"inputs": [tensor]})
        assert "models that take 9: a, b" in infer.text


def test_a_refusal_for_width_names_not_too_many_models(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for number in range(10):
            config = {**CONFIG, "embedding_dim": 9}
            body = {"name": f"m{number}", "config": config}
            server.client.post("/v1/models", json=body).raise_for_status()
        message = fault_of_width(
            server.client.post("/v1/simulate", json={"embeddings": [[0.1] * 9]})
        )
        assert message.endswith("models that take 9: m0, m1, m2, m3, m4, m5, m6, m7 and 2 more")
