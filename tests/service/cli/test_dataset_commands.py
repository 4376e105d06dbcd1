"""``energy-flow dataset``, ``energy-flow model`` and ``simulate --dataset``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from energy_flow.client import FlowClient
from tests.support.command_line import Caller, assert_refused, run
from tests.support.live_server import LiveServer


@pytest.mark.parametrize(
    "command", [("dataset",), ("dataset", "put"), ("model",), ("model", "put")]
)
def test_help(command: tuple[str, ...]) -> None:
    done = run(*command, "--help", COLUMNS="100")
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_datasets(call: Caller, server: LiveServer, embeddings_file: Path, tmp_path: Path) -> None:
    at = ("--url", server.url)
    sent = call("dataset", "put", "sentences", embeddings_file, *at)
    assert sent.returncode == 0, sent.stderr
    assert "6 × 8" in sent.stdout
    assert sent.stderr == f"read {embeddings_file}: 6 rows of 8 numbers\n"
    sent_dataset = json.loads(
        call("dataset", "put", "sentences", embeddings_file, *at, "--json").stdout
    )
    assert sent_dataset.pop("source") is None
    assert sent_dataset == json.loads(call("dataset", "show", "sentences", *at, "--json").stdout)
    assert sent_dataset["digest"] in call("dataset", "show", "sentences", *at).stdout
    assert "sentences" in call("dataset", "list", *at).stdout
    assert sent_dataset in json.loads(call("dataset", "list", *at, "--json").stdout)
    other = tmp_path / "other.npy"
    np.save(other, np.ones((2, 3)))
    assert_refused(call("dataset", "put", "sentences", other, *at), "409", "sentences")
    copy = other.rename(tmp_path / "other.bin")
    assert_refused(call("dataset", "put", "other", copy, *at), "other.bin: the suffix", "parquet")
    toml = ("--format", "toml")
    assert_refused(call("dataset", "put", "x", copy, *toml, *at), "--format cannot be 'toml'")
    named = call("dataset", "put", "other", copy, "--format", "npy", *at)
    assert named.returncode == 0, named.stderr
    assert_refused(call("dataset", "put", "x", tmp_path / "none.npy", *at), "none.npy")
    np.save(other, np.array([[1.0, np.inf]]))
    assert_refused(call("dataset", "put", "x", other, *at), "422", "inputs.0.1")
    assert_refused(call("dataset", "show", "sentence", *at), "404", "did you mean 'sentences'?")
    assert_refused(call("dataset", "delete", "othr", *at), "did you mean 'other'?")
    for name in ("sentences", "other"):
        assert call("dataset", "delete", name, *at).returncode == 0
    assert_refused(call("dataset", "show", "sentences", *at), "404", "sentences")


def test_a_dataset_is_simulated(
    call: Caller,
    server: LiveServer,
    client: FlowClient,
    embeddings: NDArray[np.float32],
    embeddings_file: Path,
    tmp_path: Path,
) -> None:
    client.datasets.put("simulated", embeddings)
    at = ("--url", server.url, "--seed", "5", "--rows", "2:5")
    for name, source in (("set", ("--dataset", "simulated")), ("file", (embeddings_file,))):
        done = call("simulate", *source, *at, "--out", tmp_path / name, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["sample_keys"] == [2, 3, 4]
    surfaces = [np.load(tmp_path / name / "surface.npy") for name in ("set", "file")]
    np.testing.assert_array_equal(*surfaces)
    there = ("simulate", "--url", server.url)
    assert_refused(call(*there, "--dataset", "simulated", "--rows", "4:9"), "simulated", "0:6")
    assert_refused(call(*there, "--dataset", "nowhere"), "404", "nowhere")
    assert_refused(call(*there, "--dataset", "simulatd"), "did you mean 'simulated'?")
    assert_refused(call(*there), "--dataset")
    assert_refused(call(*there, embeddings_file, "--dataset", "simulated"), "either FILE")
    assert_refused(call(*there, "--dataset", "simulated", "--tensor", "x"), "--tensor")
    assert_refused(call("simulate", "--dataset", "simulated"), "--url")


def test_models(call: Caller, server: LiveServer, client: FlowClient, tmp_path: Path) -> None:
    at = ("--url", server.url)
    fields = ("--set", "embedding_dim=8", "--set", "output_dim=3")
    made = call("model", "create", "made", *fields, "--seed", "7", *at)
    assert made.returncode == 0, made.stderr
    assert "untrained" in made.stdout
    assert "8 → 3 numbers an embedding" in made.stdout
    assert client.model("made").output_width == 3
    assert "8 → 3" in call("model", "list", *at).stdout
    checkpoint = client.download_model("made", tmp_path / "made.safetensors")
    sent = call("model", "put", "sent", checkpoint, *at)
    assert sent.returncode == 0, sent.stderr
    assert client.model("made").digest in sent.stdout
    listed = json.loads(call("model", "list", *at, "--json").stdout)
    assert [model["name"] for model in listed][-1] == "default"
    assert "sent" in call("model", "list", *at).stdout
    assert json.loads(call("model", "unload", "sent", *at, "--json").stdout)["loaded"] is False
    assert json.loads(call("model", "load", "sent", *at, "--json").stdout)["loaded"] is True
    assert json.loads(call("model", "show", "sent", *at, "--json").stdout)["loaded"] is True
    assert "weights" in call("model", "show", "sent", *at).stdout
    checkpoint.write_bytes(b"\x80\x04.")
    assert_refused(call("model", "put", "pickled", checkpoint, *at), "400", "pickle")
    assert_refused(call("model", "create", "made", *at), "409", "made")
    assert_refused(call("model", "create", "energy_flow", *at), "NAME", "/v2")
    assert_refused(call("model", "create", "x", "--set", "gravity=1", *at), "gravity")
    assert_refused(call("model", "unload", "default", *at), "409")
    for name in ("made", "sent"):
        assert call("model", "delete", name, *at).returncode == 0
    assert_refused(call("model", "show", "made", *at), "404")
