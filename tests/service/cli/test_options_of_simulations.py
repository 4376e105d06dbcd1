"""Models that are used where none is chosen, and refused options, here and on a server."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from energy_flow import pretrained
from energy_flow.client import FlowClient, Run
from tests.support.command_line import Caller, assert_refused
from tests.support.live_server import TINY_FLAGS, LiveServer


def write_rows(path: Path, width: int) -> Path:
    np.save(path, np.random.default_rng(3).normal(size=(1, width)).astype(np.float32) * 0.1)
    return path


def test_the_default_model_is_that_of_a_new_server(call: Caller, tmp_path: Path) -> None:
    done = call("simulate", write_rows(tmp_path / "rows.npy", 384), "--json")
    assert done.returncode == 0, done.stderr
    model = json.loads(done.stdout)["model"]
    assert (model["name"], model["trained"]) == (pretrained.DEFAULT, True)
    assert done.stderr == ""
    fields = [flag.replace("embedding_dim=8", "embedding_dim=384") for flag in TINY_FLAGS]
    done = call("simulate", tmp_path / "rows.npy", *fields, "--json")
    assert json.loads(done.stdout)["model"]["name"] == "debug"


def test_another_default_than_that_of_a_server_is_named(call: Caller, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.npy", 768)
    done = call("simulate", rows, "--set", "max_steps=1", "--json")
    assert json.loads(done.stdout)["model"]["trained"] is False
    assert "preset debug" in done.stderr
    assert "dictionary" in done.stderr
    done = call("simulate", rows, "--preset", "debug", "--set", "max_steps=1", "--json")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--seed", "3"), "--seed: a deterministic run has the config's seed"),
        (("--set", "noise_std=0.2"), "a deterministic run has no noise"),
        (("--set", "spawn.treshold=1"), "--set spawn.treshold: unknown field"),
        (("--set", "max_steps=-1"), "--set max_steps: "),
    ],
)
def test_a_refused_option_has_the_same_words_here_and_on_a_server(
    call: Caller, server: LiveServer, tmp_path: Path, given: tuple[str, ...], words: str
) -> None:
    rows = write_rows(tmp_path / "rows.npy", 384)
    command: tuple[str | Path, ...] = ("simulate", rows, "--model", "dictionary", *given)
    here, there = call(*command), call(*command, "--url", server.url)
    for done in (here, there):
        assert_refused(done, words)
        assert done.returncode == 2
    assert here.stderr == there.stderr


def test_the_page_of_a_stored_run_is_named(
    call: Caller, server: LiveServer, embeddings_file: Path
) -> None:
    done = call("simulate", embeddings_file, "--url", server.url, "--json")
    report = json.loads(done.stdout)
    assert report["page"] == f"{server.url}/#/runs/{report['run_id']}"
    shown = call("simulate", embeddings_file, "--url", server.url).stdout
    assert f"{server.url}/#/runs/" in shown


def test_a_trained_model_of_the_package_can_be_ablated(call: Caller, tmp_path: Path) -> None:
    sample = load_file(pretrained.find("spectrometer").sample)
    save_file({name: rows[:4].copy() for name, rows in sample.items()}, tmp_path / "p.safetensors")
    at = ("ablate", "spectrometer", tmp_path / "p.safetensors", "--resamples", "100")
    done = call(*at, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"]["name"] == "spectrometer"
    assert_refused(call("ablate", "spectrometre", tmp_path / "p.safetensors"), "spectrometer")


def test_a_replay(call: Caller, server: LiveServer, client: FlowClient, traced_run: Run) -> None:
    at = ("runs", "replay", traced_run.run_id, "--url", server.url)
    assert "record for record" in call(*at, "--sample", "2").stdout
    whole = client.replay(traced_run.run_id, 2)
    replayed = json.loads(call(*at, "--sample", "2", "--json").stdout)
    assert replayed["agrees"]
    assert replayed["path"]["x"] == whole.path["x"].tolist()
    refused = call(*at, "--sample", "99")
    assert_refused(refused, "--sample", "0 to 5")
    assert refused.returncode == 2


def test_a_sample_that_a_run_lacks_has_no_trace(
    call: Caller, server: LiveServer, traced_run: Run, tmp_path: Path
) -> None:
    at = ("trace", traced_run.run_id, "--sample", "99", "--url", server.url)
    for more in ((), ("--out", tmp_path / "t.csv")):
        done = call(*at, *more)
        assert_refused(done, "--sample 99", "6 samples")
        assert done.returncode == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "given",
    [
        ("runs", "list", "--url", "ftp://x"),
        ("model", "create", "refused", "--preset", "nonsense"),
        ("model", "create", "refused", "--set", "spawn.treshold=1"),
        ("model", "create", "no/name"),
    ],
)
def test_wrong_options_exit_with_2(
    call: Caller, server: LiveServer, given: tuple[str, ...]
) -> None:
    done = call(*given, *(() if "--url" in given else ("--url", server.url)))
    assert_refused(done)
    assert done.returncode == 2


def test_rows_that_a_file_lacks_exit_with_2(call: Caller, embeddings_file: Path) -> None:
    done = call("simulate", embeddings_file, *TINY_FLAGS, "--rows", "4:9")
    assert_refused(done, "0:6")
    assert done.returncode == 2


def test_an_unknown_variable_is_named_with_the_nearest_one(
    call: Caller, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_FLOW_ULR", server.url)
    done = call("runs", "list")
    assert_refused(done, "ENERGY_FLOW_ULR", "did you mean 'ENERGY_FLOW_URL'?")
    assert done.returncode == 2
    monkeypatch.delenv("ENERGY_FLOW_ULR")
    # A variable of the server.
    monkeypatch.setenv("ENERGY_FLOW_PORT", "1")
    assert call("runs", "list", "--url", server.url).returncode == 0


def test_wide_rows_are_refused_before_a_model_is_made(
    call: Caller, tmp_path: Path, embeddings: NDArray[np.float32]
) -> None:
    np.save(tmp_path / "rows.npy", embeddings)
    assert_refused(call("simulate", tmp_path / "rows.npy"), "embedding_dim=8", "dictionary")
