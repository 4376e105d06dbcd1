"""Commands state what they read of a file, and read stdin and pipes as files."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from energy_flow import FlowProcessor
from energy_flow.client import FlowClient
from energy_flow.simulation.checkpoint import save
from energy_flow.testing import tiny_config
from tests.service.cli.test_train_command import CONFIG
from tests.support.command_line import Caller, Done, assert_refused
from tests.support.live_server import TINY_FLAGS, LiveServer, energy_flow
from tests.support.waits import LIMIT_SECONDS

NAMES = [f"e{place}" for place in range(8)]


@pytest.fixture
def wide(tmp_path: Path, embeddings: NDArray[np.float32]) -> Path:
    """Return the path of a table with a number a column, other columns and a label."""
    path = tmp_path / "wide.parquet"
    frame = pd.DataFrame(embeddings, columns=NAMES)
    frame.assign(id=range(6), title="a", target=range(6)).to_parquet(path)
    return path


@pytest.fixture
def lists(tmp_path: Path, embeddings: NDArray[np.float32]) -> Path:
    """Return the path of a table with a column of embeddings, and one of scores."""
    path = tmp_path / "lists.parquet"
    pd.DataFrame({"embedding": list(embeddings), "score": range(6)}).to_parquet(path)
    return path


def feed(content: bytes, *words: str | Path) -> Done:
    """Run ``energy-flow`` with a pipe as its stdin."""
    command = energy_flow(*map(str, words))
    done = subprocess.run(
        command, input=content, capture_output=True, timeout=LIMIT_SECONDS, check=False
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def pipe_of(content: bytes, path: Path) -> Iterator[Path]:
    """Make a named pipe that gives bytes once, as a shell does for ``<(...)``."""
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    yield path
    writer.join()


def test_simulate_states_what_it_read(call: Caller, wide: Path, lists: Path) -> None:
    done = call("simulate", wide, *TINY_FLAGS)
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        f"read {wide}: 6 rows of 8 numbers from 8 columns 'e0' to 'e7'; not read: 'id', 'title', "
        "'target'\n"
    )
    done = call("simulate", lists, "--rows", "2:5", *TINY_FLAGS)
    assert done.stderr == (
        f"read {lists}: 3 rows of 8 numbers from column 'embedding'; not read: 'score'\n"
    )
    assert call("simulate", lists, "--json", *TINY_FLAGS).stderr == ""


def test_an_upload_states_what_was_read(
    call: Caller, server: LiveServer, wide: Path, tmp_path: Path
) -> None:
    at = ("--url", server.url)
    done = call("dataset", "put", "wide-table", wide, *at)
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        f"read {wide}: 6 rows of 8 numbers from 8 columns 'e0' to 'e7', with targets of 1 number "
        "from column 'target'; not read: 'id', 'title'\n"
    )
    quiet = call("dataset", "put", "wide-table", wide, "--json", *at)
    assert quiet.stderr == ""
    assert json.loads(quiet.stdout)["source"]["parts"]["inputs"] == {
        "count": 8,
        "first": "e0",
        "last": "e7",
        "unlike": [],
    }


def test_a_column_unlike_the_others_is_named(
    call: Caller, server: LiveServer, tmp_path: Path
) -> None:
    path = tmp_path / "labelled.csv"
    values = np.ones((3, 14), dtype=np.float32)
    names = ["score", *(f"e{place}" for place in range(12)), "class"]
    pd.DataFrame(values, columns=names).to_csv(path, index=False)
    done = call("dataset", "put", "labelled", path, "--url", server.url)
    assert done.returncode == 0, done.stderr
    assert "from 14 columns 'score' to 'class'\nwarning: 'score', 'class': are not" in done.stderr
    # Names without a common form say nothing.
    pd.DataFrame(values, columns=list("abcdefghijklmn")).to_csv(path, index=False)
    assert "warning" not in call("dataset", "put", "letters", path, "--url", server.url).stderr


def test_the_only_column_of_rows_is_read(
    call: Caller, tmp_path: Path, embeddings: NDArray[np.float32]
) -> None:
    path = tmp_path / "named.parquet"
    rows = list(embeddings)
    frame = pd.DataFrame({"id": range(6), "text": "a", "emb vec (small)": rows, "target": rows})
    frame.to_parquet(path)
    done = call("simulate", path, *TINY_FLAGS)
    assert done.returncode == 0, done.stderr
    assert "from column 'emb vec (small)'; not read: 'id', 'text', 'target'" in done.stderr
    frame.assign(other=rows).to_parquet(path)
    done = call("simulate", path, *TINY_FLAGS)
    assert done.returncode != 0
    assert "can be any of 'emb vec (small)', 'other'; choose one with column" in done.stderr


def test_a_url_that_is_not_used_is_noted(
    call: Caller, lists: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_FLOW_URL", "http://127.0.0.1:1")
    done = call("simulate", lists, *TINY_FLAGS)
    assert done.returncode == 0
    assert "ENERGY_FLOW_URL is used with --url URL alone" in done.stderr


def test_a_folder_has_the_results_of_one_run(call: Caller, lists: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    outputs = [word for name in ("hits", "reached", "surface") for word in ("--output", name)]
    assert call("simulate", lists, "--out", out, *outputs, *TINY_FLAGS).returncode == 0
    (out / "mine.npy").write_bytes(b"kept")
    assert call("simulate", lists, "--rows", "0:2", "--out", out, *TINY_FLAGS).returncode == 0
    assert {path.name for path in out.iterdir()} == {
        "surface.npy",
        "trace.parquet",
        "metrics.json",
        "surface.png",
        "mine.npy",
    }
    # What lies in another folder is nobody's result.
    other = tmp_path / "other"
    other.mkdir()
    (other / "hits.npy").write_bytes(b"kept")
    assert call("simulate", lists, "--out", other, *TINY_FLAGS).returncode == 0
    assert (other / "hits.npy").read_bytes() == b"kept"


def test_another_width_names_what_takes_it(call: Caller, tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.ones((2, 100), dtype=np.float32))
    done = call("simulate", path)
    assert done.returncode != 0
    assert "the rows have 100 numbers, and the default model dictionary takes 384" in done.stderr
    assert "--model spectrometer" in done.stderr
    assert "--model dictionary" not in done.stderr
    done = call("simulate", path, "--preset", "debug")
    assert "the preset debug takes 768" in done.stderr
    done = call("simulate", path, "--model", "dictionary")
    assert "the model dictionary takes 384" in done.stderr


def test_a_long_list_of_columns_is_cut(
    call: Caller, tmp_path: Path, embeddings: NDArray[np.float32]
) -> None:
    tensors = {f"t{number}": embeddings for number in range(9)}
    path = tmp_path / "many.safetensors"
    save_file(tensors, path)
    done = call("simulate", path, "--column", "t4", *TINY_FLAGS)
    assert "from tensor 't4'; not read: " in done.stderr
    assert done.stderr.endswith(" and 3 more\n")


def test_simulate_reads_stdin_and_pipes(
    call: Caller, tmp_path: Path, embeddings_file: Path
) -> None:
    content = embeddings_file.read_bytes()
    named = feed(content, "simulate", "-", "--format", "npy", "--json", *TINY_FLAGS)
    assert named.returncode == 0, named.stderr
    assert json.loads(named.stdout)["sample_keys"] == list(range(6))
    device = feed(content, "simulate", "/dev/stdin", "--format", "npy", *TINY_FLAGS)
    assert device.stderr == "read /dev/stdin: 6 rows of 8 numbers\n"
    with pipe_of(content, tmp_path / "63") as pipe:
        done = call("simulate", pipe, "--format", "npy", *TINY_FLAGS)
    assert done.returncode == 0, done.stderr
    assert_refused(call("simulate", "-", *TINY_FLAGS), "stdin has no suffix; add --format")


def test_an_upload_reads_stdin(
    server: LiveServer, client: FlowClient, embeddings_file: Path
) -> None:
    put = ("dataset", "put", "from-stdin", "-", "--format", "npy", "--url", server.url)
    done = feed(embeddings_file.read_bytes(), *put)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "read stdin: 6 rows of 8 numbers\n"
    assert client.datasets.get("from-stdin").rows == 6


def test_texts_are_pointed_to_embed(call: Caller, tmp_path: Path) -> None:
    path = tmp_path / "sentences.txt"
    path.write_text("a sentence\n")
    assert_refused(call("simulate", path, *TINY_FLAGS), "energy-flow embed FILE", "--format")


@pytest.mark.slow
def test_pairs_of_stdin_and_named_targets(call: Caller, tmp_path: Path) -> None:
    inputs, targets = np.random.default_rng(0).normal(size=(2, 40, 8))
    path = tmp_path / "pairs.jsonl"
    frame = pd.DataFrame({"vector": list(inputs), "wanted": list(targets), "target": "a"})
    frame.to_json(path, orient="records", lines=True)
    config = tmp_path / "train.toml"
    config.write_text(CONFIG.replace("[data]", f'[data]\ntrain = "{path}"'))
    refused = call("train", config, "--out", tmp_path / "none")
    assert_refused(refused, "has no targets", "--target-column NAME")
    options = ("--target-column", "wanted")
    done = call("train", config, "--out", tmp_path / "file", *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(
        f"read {path}: 40 rows of 8 numbers from member 'vector', with targets of 8 numbers from "
        "member 'wanted'; not read: 'target'\n"
    )
    twice = ("--column", "vector", "--target-column", "vector")
    assert_refused(
        call("train", config, "--out", tmp_path / "x", *twice),
        "vector: is the column of the embeddings",
    )
    config.write_text(CONFIG.replace("[data]", '[data]\ntrain = "-"'))
    pairs = path.read_bytes()
    train = ("train", config, "--format", "jsonl", "--json", *options)
    done = feed(pairs, *train, "--out", tmp_path / "stdin")
    assert done.returncode == 0, done.stderr
    assert not done.stderr.startswith("read")
    of_file, of_stdin = (
        load_file(tmp_path / name / "model.safetensors") for name in ("file", "stdin")
    )
    assert of_file.keys() == of_stdin.keys()
    for name, weights in of_file.items():
        np.testing.assert_array_equal(of_stdin[name], weights)


@pytest.mark.slow
def test_ablate_reads_a_pipe(call: Caller, tmp_path: Path) -> None:
    save(FlowProcessor(tiny_config()), tmp_path / "model.safetensors")
    inputs, targets = np.random.default_rng(2).normal(size=(2, 30, 8)).tolist()
    content = json.dumps({"inputs": inputs, "targets": targets}).encode()
    model, options = tmp_path / "model.safetensors", ("--format", "jsonl", "--resamples", "100")
    with pipe_of(content, tmp_path / "63") as pipe:
        done = call("ablate", model, pipe, *options)
    assert done.returncode == 0, done.stderr
    assert f"read {pipe}: 30 rows of 8 numbers from member 'inputs', with" in done.stderr
    at = ("--url", "http://127.0.0.1:1")
    assert_refused(call("ablate", "m", "d", "--target-column", "x", *at), "--target-column is for")


def test_an_experiment_uploads_a_column(
    call: Caller, server: LiveServer, client: FlowClient, lists: Path, tmp_path: Path
) -> None:
    table = tmp_path / "two.parquet"
    frame = pd.read_parquet(lists)
    frame.assign(vector=frame["embedding"]).to_parquet(table)
    path = tmp_path / "experiment.toml"
    path.write_text('name = "of-a-column"\ndataset = "of-a-column"\n')
    create = ("experiment", "create", path, "--url", server.url)
    assert_refused(call(*create, "--upload", table), "several times", "--column")
    done = call(*create, "--upload", table, "--column", "vector")
    assert done.returncode == 0, done.stderr
    assert "from column 'vector'; not read: 'embedding', 'score'" in done.stderr
    assert client.datasets.get("of-a-column").rows == 6
    assert_refused(call(*create, "--column", "vector"), "--column is for --upload")
