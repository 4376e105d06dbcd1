"""Commands read files of embeddings of any format, and check names before they read them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from energy_flow import checkpoint
from energy_flow.client import FlowClient, Unprocessable
from tests.service.cli.test_train_command import CONFIG
from tests.support.command_line import Caller, assert_refused, run
from tests.support.live_server import TINY_FLAGS, LiveServer
from tests.support.repository import ROOT
from tests.support.waits import LIMIT_SECONDS

SERVER_PACKAGES = (
    *("alembic", "backports", "fastapi", "matplotlib", "numba", "pandas", "pyarrow", "pydantic"),
    *("sqlalchemy", "starlette", "torch", "uvicorn"),
)

WITHOUT_A_SERVER = """
import sys
from importlib.machinery import PathFinder
from pathlib import Path

class Plain(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        is_missing = name.partition(".")[0] in {packages!r}
        return None if is_missing else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Plain
from service.cli.execute.embeddings_file import EmbeddingsFile, RowRange
from service.cli.input.failures import CommandFailed

folder = Path(sys.argv[1])
for path in sorted(folder.iterdir()):
    try:
        print(path.name, EmbeddingsFile(path).read(RowRange()).embeddings.shape)
    except CommandFailed as failed:
        print(path.name, failed)
"""


@pytest.fixture
def table(tmp_path: Path, embeddings: NDArray[np.float32]) -> Path:
    """Return the path of a Parquet file with two columns of embeddings and a label."""
    path = tmp_path / "table.parquet"
    frame = pd.DataFrame({"embedding": list(embeddings), "vector": list(embeddings * 2)})
    frame.assign(target=range(len(frame)), text="some").to_parquet(path)
    return path


def test_a_client_without_a_server_reads_files(
    tmp_path: Path, embeddings: NDArray[np.float32]
) -> None:
    frame = pd.DataFrame(embeddings)
    np.save(tmp_path / "a.npy", embeddings)
    frame.to_csv(tmp_path / "b.csv.gz")
    (tmp_path / "c.jsonl").write_text("\n".join(map(str, embeddings.tolist())))
    frame.to_parquet(tmp_path / "d.parquet")
    (tmp_path / "e.jsonl").write_text("[1, 2")
    script = WITHOUT_A_SERVER.format(packages=SERVER_PACKAGES)
    printed = subprocess.check_output(
        [sys.executable, "-c", script, tmp_path], cwd=ROOT, text=True, timeout=LIMIT_SECONDS
    )
    *read, parquet, damaged = printed.splitlines()
    assert read == [f"{name} (6, 8)" for name in ("a.npy", "b.csv.gz", "c.jsonl")]
    assert "needs the package pyarrow; install it with: pip install 'energy-flow[sim]'" in parquet
    assert "line 1 is not JSON" in damaged


def test_a_column_is_chosen(
    call: Caller, server: LiveServer, table: Path, embeddings: NDArray[np.float32], tmp_path: Path
) -> None:
    for place in (TINY_FLAGS, ("--url", server.url)):
        refused = call("simulate", table, *place)
        assert_refused(refused, str(table), "several times, as embedding, vector", "--column")
    np.save(tmp_path / "rows.npy", embeddings[1:3] * 2)
    flags = ("--seed", "3", *TINY_FLAGS)
    for name, source in (
        ("table", (table, "--column", "vector", "--rows", "1:3")),
        ("former", (table, "--tensor", "vector", "--rows", "1:3")),
    ):
        done = call("simulate", *source, *flags, "--out", tmp_path / name, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["sample_keys"] == [1, 2]
    surfaces = [np.load(tmp_path / name / "surface.npy") for name in ("table", "former")]
    np.testing.assert_array_equal(*surfaces)
    assert_refused(call("simulate", table, "--column", "vectr", *TINY_FLAGS), "did you mean")


def test_a_dataset_is_put_with_a_column_and_labels(
    call: Caller, server: LiveServer, client: FlowClient, table: Path
) -> None:
    at = ("--url", server.url)
    assert_refused(call("dataset", "put", "columns", table, *at), "several times", "--column")
    done = call("dataset", "put", "columns", table, "--column", "vector", "--json", *at)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["dim"], json.loads(done.stdout)["targets_dim"]) == (8, 1)
    assert client.datasets.get("columns").rows == 6


def test_a_format_is_named(call: Caller, tmp_path: Path, embeddings: NDArray[np.float32]) -> None:
    path = tmp_path / "table.txt"
    np.savetxt(path, embeddings, delimiter="\t")
    assert_refused(call("simulate", path, *TINY_FLAGS), "add --format")
    done = call("simulate", path, "--format", "csv", *TINY_FLAGS)
    assert done.returncode == 0, done.stderr


def test_a_file_that_ends_its_parser_is_refused_in_one_line() -> None:
    done = run("simulate", ROOT / "tests/service/datasets/aborts.parquet", *TINY_FLAGS)
    assert_refused(done, "aborts.parquet: the file cannot be read: the parser ended on it")
    assert len(done.stderr.splitlines()) == 1


def test_names_are_checked_before_a_file_is_read(
    call: Caller, server: LiveServer, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.npy"
    damaged.write_bytes(b"no array")
    at = ("--url", server.url)
    assert_refused(call("simulate", damaged, "--model", "no-model", *at), "no-model")
    assert_refused(call("simulate", damaged, "--model", "no-model"), "there is no checkpoint")
    assert_refused(call("simulate", damaged, *at), "damaged.npy is not a .npy file")
    both = call("simulate", damaged, "--model", "spectrometer", "--preset", "debug")
    assert_refused(both, "give only one of them")


def test_a_name_is_refused_before_a_file_is_sent(client: FlowClient, tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    # Zeros that are not on the disk.
    np.lib.format.open_memmap(path, "w+", np.float32, shape=(2**20, 64)).flush()
    sent = [0]
    for name in ("con", "a b", "x" * 65):
        with pytest.raises(Unprocessable, match="name: "):
            client.datasets.put(name, path, on_progress=lambda now, _: sent.append(now))
    assert max(sent) < path.stat().st_size / 2


def test_a_model_is_trained_on_files_of_two_formats(call: Caller, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    train, val = tmp_path / "train.parquet", tmp_path / "val.jsonl.gz"
    frame = pd.DataFrame({"input": "a text", "embedding": list(rows), "target": range(40)})
    frame.to_parquet(train)
    frame.to_json(val, orient="records", lines=True, double_precision=15, compression="gzip")
    path = tmp_path / "train.toml"
    data = f'[data]\ntrain = "{train}"\nval = "{val}"\nrows = [4, 36]'
    path.write_text(CONFIG.replace("[data]", data).replace("cosine", "mse"))
    done = call("train", path, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    described = checkpoint.describe(tmp_path / "out" / "model.safetensors")
    assert described["config"].output_dim == 1
    pyarrow.parquet.write_table(pyarrow.table({"embedding": list(rows)}), train)
    refused = call("train", path, "--out", tmp_path / "other")
    assert_refused(refused, str(train), "has no targets", "targets or target")
    assert_refused(
        call("train", path, "--out", tmp_path / "other", "--column", "x"), "x: is not in the file"
    )
