"""``energy-flow embed``: a row for each text, whatever the format of the file."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from energy_flow.client import FlowClient, TextEncoder
from energy_flow.testing import TINY_FIELDS
from tests.support.command_line import Caller, assert_refused
from tests.support.live_server import LiveServer
from tests.support.text_model import WIDTH, save_text_model

# They load a library of models.
pytestmark = pytest.mark.slow

TEXTS = ["A cat sat.", 'He said "no", twice', "Größe; and more", "a\ttab", "[1, 2]"]
NUMBERED = [f"text number {number}" for number in range(2500)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_text_model(tmp_path_factory.mktemp("models") / "words")


@pytest.fixture(scope="module")
def expected(model: Path) -> NDArray[np.float32]:
    return TextEncoder(str(model)).encode(TEXTS)


def lines(*texts: str) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def objects(**columns: Sequence[str | int | None]) -> bytes:
    rows = zip(*columns.values(), strict=True)
    return lines(*(json.dumps(dict(zip(columns, row, strict=True))) for row in rows))


def table(delimiter: str, *rows: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue().encode()


def parquet(**columns: list[str] | list[int]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


NUMBERS = list(range(5))
WITH_NUMBERS = [["id", "text"], *([str(n), text] for n, text in enumerate(TEXTS))]
SOUND: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "lines": ("a.txt", lines(*TEXTS), ()),
    "lines without a suffix": ("a", lines(*TEXTS), ()),
    "lines of Windows": ("a.txt", b"\xef\xbb\xbf" + lines(*TEXTS).replace(b"\n", b"\r\n"), ()),
    "no last line break": ("a.txt", lines(*TEXTS).rstrip(), ()),
    "empty lines at the end": ("a.txt", lines(*TEXTS) + b"\n \n", ()),
    "gzip": ("a.txt.gz", gzip.compress(lines(*TEXTS)), ()),
    "gzip by its content": ("a.txt", gzip.compress(lines(*TEXTS)), ()),
    "named format": ("a.log", lines(*TEXTS), ("--format", "text")),
    "objects": ("a.jsonl", objects(id=NUMBERS, sentence=TEXTS), ()),
    "strings": ("a.jsonl", lines(*map(json.dumps, TEXTS)), ()),
    "the only texts": ("a.jsonl", objects(id=NUMBERS, title=TEXTS), ()),
    "a column": ("a.ndjson", objects(text=["x"] * 5, title=TEXTS), ("--column", "title")),
    "commas": ("a.csv", table(",", *WITH_NUMBERS), ()),
    "semicolons": ("a.csv", table(";", *WITH_NUMBERS), ()),
    "tabs": ("a.tsv.gz", gzip.compress(table("\t", *WITH_NUMBERS)), ()),
    "one column": ("a.csv", table(",", ["sentence"], *([text] for text in TEXTS)), ()),
    "parquet": ("a.parquet", parquet(id=NUMBERS, text=TEXTS, title=["x"] * 5), ()),
}


@pytest.mark.parametrize("kind", SOUND)
def test_texts_become_rows(
    call: Caller, tmp_path: Path, model: Path, expected: NDArray[np.float32], kind: str
) -> None:
    name, content, options = SOUND[kind]
    file = tmp_path / name
    file.write_bytes(content)
    done = call("embed", file, "--encoder", model, *options)
    assert done.returncode == 0, done.stderr
    assert f"5 × {WIDTH}" in done.stdout
    rows = np.load(tmp_path / "a.npy")
    # Encoders compute a text alone and in a batch with other last digits.
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    assert rows.dtype == np.float32


WRONG: dict[str, tuple[str, bytes, tuple[str, ...], str]] = {
    "an empty line": ("a.txt", b"one\n\ntwo\n", (), "a.txt: line 2 is empty"),
    "nothing": ("a.txt", b"\n", (), "no texts"),
    "a column of lines": ("a.txt", b"one\n", ("--column", "text"), "lines of text have no columns"),
    "no text": ("a.txt", b"\xff\xfe\x00", (), "a.txt: the file is not text in UTF-8"),
    "half a file": ("a.txt.gz", gzip.compress(lines(*NUMBERED))[:100], (), "the file is damaged"),
    "another suffix": ("a.docx", b"one\n", (), "the suffix belongs to no format"),
    "another format": ("a.txt", b"one\n", ("--format", "npy"), "--format cannot be 'npy'"),
    "no JSON": ("a.jsonl", b'{"text": "a"}\n{"text"\n', (), "line 2 is not JSON"),
    "null": (
        "a.jsonl",
        objects(text=["a", None]),
        (),
        "text in line 2 must be a text, not missing",
    ),
    "a number": ("a.jsonl", objects(text=["a", 1]), (), "text in line 2 must be a text"),
    "an empty text": ("a.jsonl", objects(text=["a", " "]), (), "text in line 2 is empty"),
    "no member": ("a.jsonl", b'{"text": "a"}\n{"id": 1}\n', (), "line 2 has no member text"),
    "a list": ("a.jsonl", b"[1, 2]\n", (), "line 1 must be an object or a string"),
    "two columns": (
        "a.jsonl",
        objects(text=["a"], sentence=["b"]),
        (),
        "text and sentence are columns of texts; choose one with --column",
    ),
    "two unknown columns": ("a.jsonl", objects(x=["a"], y=["b"]), (), "x and y are columns"),
    "no column": ("a.jsonl", objects(id=[1]), (), "no column has texts; there are id"),
    "an unknown column": ("a.jsonl", objects(text=["a"]), ("--column", "tex"), "mean 'text'?"),
    "a comma too many": ("a.csv", b"id,text\n1,a,b\n", (), "line 2 has 3 fields"),
    "an open quote": ("a.csv", b'id,text\n1,"a\n', (), "is no row of a .csv file"),
    "an empty field": ("a.csv", b"id,text\n1,a\n2,\n", (), "text in line 3 is empty"),
    "numbers": ("a.parquet", parquet(id=NUMBERS), (), "no column has texts"),
    "a column of numbers": (
        "a.parquet",
        parquet(id=NUMBERS, text=TEXTS),
        ("--column", "id"),
        "id must be a column of texts, not int64",
    ),
    "no parquet": ("a.parquet", b"PAR1", (), "no .parquet file"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_files_without_texts_are_refused(
    call: Caller, tmp_path: Path, model: Path, kind: str
) -> None:
    name, content, options, words = WRONG[kind]
    file = tmp_path / name
    file.write_bytes(content)
    assert_refused(call("embed", file, "--encoder", model, *options), words)
    assert list(tmp_path.iterdir()) == [file]


def test_the_output_is_chosen_and_never_overwritten_by_chance(
    call: Caller, tmp_path: Path, model: Path, expected: NDArray[np.float32]
) -> None:
    file, out = tmp_path / "a.jsonl", tmp_path / "new" / "rows.safetensors"
    file.write_bytes(objects(text=TEXTS))
    done = call("embed", file, "-o", out, "--encoder", model, "--json")
    assert json.loads(done.stdout) == {
        "file": str(out),
        "rows": 5,
        "dim": WIDTH,
        "encoder": str(model),
    }
    np.testing.assert_allclose(load_file(out)["embeddings"], expected, atol=1e-6)
    before = out.read_bytes()
    file.write_bytes(objects(text=["one"]))
    assert_refused(call("embed", file, "-o", out, "--encoder", model), "exists", "--force")
    assert out.read_bytes() == before
    assert call("embed", file, "-o", out, "--encoder", model, "--force").returncode == 0
    assert load_file(out)["embeddings"].shape == (1, WIDTH)
    for wrong in (tmp_path / "rows.csv", tmp_path / "new"):
        assert_refused(call("embed", file, "-o", wrong, "--encoder", model), str(wrong), "--out")
    assert_refused(call("embed", tmp_path / "no.txt", "--encoder", model), "does not exist")
    assert_refused(call("embed", file, "--encoder", tmp_path / "no"), "no does not exist")


def test_texts_come_from_stdin(
    call: Caller, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rows.npy"
    for content, options in (
        (lines(*NUMBERED), ()),
        (objects(text=NUMBERED), ("--format", "jsonl")),
    ):
        stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(content)))
        monkeypatch.setattr(sys, "stdin", stdin)
        done = call("embed", "-", "-o", out, "--encoder", model, "--force", *options)
        assert done.returncode == 0, done.stderr
        rows = np.load(out)
        assert rows.shape == (2500, WIDTH)
        alone = TextEncoder(str(model)).encode([NUMBERED[2100]])
        np.testing.assert_allclose(rows[2100:2101], alone, atol=1e-6)
    assert_refused(call("embed", "-", "--encoder", model), "--out")
    given = ("embed", "-", "-o", out, "--encoder", model, "--force", "--format", "parquet")
    assert_refused(call(*given), "cannot be read from stdin")


def test_the_rows_are_simulated(
    call: Caller, server: LiveServer, client: FlowClient, tmp_path: Path, model: Path
) -> None:
    config = {**TINY_FIELDS, "embedding_dim": WIDTH}
    client.create_model("for-texts-of-a-file", config=config)
    file = tmp_path / "a.txt"
    file.write_bytes(lines(*TEXTS))
    assert call("embed", file, "--encoder", model).returncode == 0
    at = ("--url", server.url, "--model", "for-texts-of-a-file", "--json")
    done = call("simulate", tmp_path / "a.npy", *at)
    assert done.returncode == 0, done.stderr
    run = client.run(json.loads(done.stdout)["run_id"])
    rows = client.inputs(run.run_id)
    np.testing.assert_array_equal(rows, np.load(tmp_path / "a.npy"), strict=True)
    client.delete_run(run.run_id)
    client.delete_model("for-texts-of-a-file")


def test_a_missing_package_is_named(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(lines(*TEXTS))
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    assert_refused(call("embed", file), "pip install 'energy-flow[text]'")
