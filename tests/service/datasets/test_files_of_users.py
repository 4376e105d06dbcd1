"""Files as users write them: read exactly wherever they are given, or refused in words."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load
from safetensors.torch import save

from energy_flow.choices import DatasetFormat
from energy_flow.client import FlowClient, FlowClientError
from service.cli.execute.embeddings_file import EmbeddingsFile, RowRange
from service.cli.execute.pairs_file import PairsOptions, read_pairs
from service.cli.input.failures import CommandFailed
from service.media_types import OCTET_STREAM
from tests.support.bodies import arrow, csv, npy, parquet
from tests.support.servers import RunningServer, rows, wait_until_ended

INPUTS = rows(6, seed=3)
LISTS = INPUTS.tolist()
TARGETS = np.arange(12, dtype=np.float32).reshape(6, 2)
LABELS = np.arange(6, dtype=np.float32).reshape(6, 1)
HALF = INPUTS.astype(np.float16).astype(np.float32)
BFLOAT16 = torch.tensor(INPUTS).bfloat16()
INTEGERS = np.arange(48).reshape(6, 8) * 1000
WORDS = ["one", "two, and more", 'three "3"', "vier\nVier", "", "sechs"]
ALL = RowRange()


@dataclass(frozen=True)
class Sound:
    """A file that is read.

    Attributes:
        name: its name.
        content: its bytes.
        inputs: the embeddings in it.
        targets: the targets in it.
        column: the column that is named.
    """

    name: str
    content: bytes
    inputs: NDArray[Any] = field(default_factory=lambda: INPUTS)
    targets: NDArray[np.float32] | None = None
    column: str | None = None


@dataclass(frozen=True)
class Wrong:
    """A file that is refused.

    Attributes:
        name: its name.
        content: its bytes.
        words: words of the refusal.
        column: the column that is named.
    """

    name: str
    content: bytes
    words: str
    column: str | None = None


def written(write: Callable[..., object], **options: Any) -> bytes:
    """Return what a library writes to a file."""
    file = io.BytesIO()
    write(file, **options)
    return file.getvalue()


def tensors(**arrays: Any) -> bytes:
    return save({name: torch.as_tensor(array).clone() for name, array in arrays.items()})


def shaped() -> pa.Table:
    """Return a table with a column of tensors of a fixed shape."""
    kind = pa.fixed_shape_tensor(pa.float32(), [8])
    storage = pa.FixedSizeListArray.from_arrays(pa.array(INPUTS.reshape(-1)), 8)
    return pa.table({"embedding": pa.ExtensionArray.from_storage(kind, storage)})


LISTED = pd.DataFrame({"id": range(6), "text": WORDS, "embedding": LISTS})
WIDE = pd.DataFrame(INPUTS)
NAMED = pd.DataFrame(INPUTS, columns=[f"e{place}" for place in range(8)])
LABELLED = pd.DataFrame({"input": WORDS, "embedding": LISTS, "target": range(6)})
POLARS = pl.DataFrame({"text": WORDS, "vector": pl.Series(LISTS, dtype=pl.List(pl.Float32))})
POLARS_ARRAY = pl.DataFrame({"inputs": pl.Series(INPUTS, dtype=pl.Array(pl.Float32, 8))})
NUMPY_TEXTS = pd.DataFrame({"text": WORDS, "embedding": list(INPUTS.astype(np.float64))})

DOCUMENT = {"seed": 3, "options": {"a": [[1, "]"]]}, "embeddings": LISTS}
PAIRS_DOCUMENT = {"targets": TARGETS.tolist(), "inputs": LISTS}

SOUND = [
    Sound("rows.json", json.dumps(LISTS).encode()),
    Sound("rows_over_lines.json", json.dumps(LISTS, indent=1).encode()),
    Sound("records.json", written(LISTED.to_json, orient="records")),
    Sound(
        "records_over_lines.json",
        written(LABELLED.to_json, orient="records", indent=2),
        targets=LABELS,
    ),
    Sound("body.json", json.dumps(DOCUMENT, indent=2).encode()),
    Sound("body_mark.json", "\ufeff".encode() + json.dumps(DOCUMENT).encode()),
    Sound("body.json.gz", gzip.compress(json.dumps(DOCUMENT).encode())),
    Sound("pairs.json", json.dumps(PAIRS_DOCUMENT).encode(), targets=TARGETS),
    Sound("named.json", json.dumps({"embeddings": [[1]], "mine": LISTS}).encode(), column="mine"),
    Sound("f2.npy", npy(INPUTS.astype(np.float16)), HALF),
    Sound("f4.npy", npy(INPUTS)),
    Sound("f8.npy", npy(INPUTS.astype(np.float64))),
    Sound("big_endian.npy", npy(INPUTS.astype(">f4"))),
    Sound("columns.npy", npy(np.asfortranarray(INPUTS))),
    Sound("integers.npy", npy(INTEGERS), INTEGERS),
    Sound("bytes.npy", npy(INTEGERS.astype(np.uint8)), INTEGERS.astype(np.uint8)),
    Sound("f4.npy.gz", gzip.compress(npy(INPUTS))),
    Sound("gzip_without_suffix.npy", gzip.compress(npy(INPUTS))),
    Sound("bf16.safetensors", tensors(embeddings=BFLOAT16), BFLOAT16.float().numpy()),
    Sound("f16.safetensors", tensors(inputs=torch.tensor(INPUTS).half()), HALF),
    Sound("f64.safetensors", tensors(input=INPUTS.astype(np.float64))),
    Sound("i64.safetensors", tensors(vector=INTEGERS), INTEGERS),
    Sound("single.safetensors", tensors(weights=INPUTS)),
    Sound("single_bf16.safetensors", tensors(x=BFLOAT16), BFLOAT16.float().numpy()),
    Sound("pairs.safetensors", tensors(inputs=INPUTS, targets=TARGETS), targets=TARGETS),
    Sound(
        "labels.safetensors",
        tensors(embedding=INPUTS, target=torch.arange(6), input=torch.arange(6)),
        targets=LABELS,
    ),
    Sound("named.safetensors", tensors(inputs=INPUTS * 2, mine=INPUTS), column="mine"),
    Sound("pairs.safetensors.gz", gzip.compress(tensors(inputs=INPUTS)), targets=None),
    Sound("pandas.parquet", written(LISTED.to_parquet)),
    Sound("pandas_wide.parquet", written(NAMED.to_parquet)),
    Sound("pandas_wide_index.parquet", written(NAMED.set_index(NAMED.index + 5).to_parquet)),
    Sound("pandas_labels.parquet", written(LABELLED.to_parquet), targets=LABELS),
    Sound("polars.parquet", written(POLARS.write_parquet)),
    Sound("polars_array.parquet", written(POLARS_ARRAY.write_parquet)),
    Sound("shaped.parquet", parquet(shaped())),
    Sound("half.parquet", parquet(pa.table({"input": list(INPUTS.astype(np.float16))})), HALF),
    Sound("integers.parquet", parquet(pa.table({"input": INTEGERS.tolist()})), INTEGERS),
    Sound("zstd.parquet", parquet(pa.table({"inputs": LISTS}), compression="zstd")),
    Sound("single.parquet", parquet(pa.table({"emb.x": LISTS}))),
    Sound(
        "named.parquet",
        parquet(pa.table({"embedding": LISTS, "vector": (INPUTS + 1).tolist()})),
        INPUTS + 1,
        column="vector",
    ),
    Sound("pandas.parquet.gz", gzip.compress(written(LISTED.to_parquet))),
    Sound("file.arrow", arrow(pa.table({"embedding": LISTS}))),
    Sound("stream.arrows", arrow(pa.table({"embedding": LISTS, "text": WORDS}), is_stream=True)),
    Sound("large.arrow", arrow(pa.table({"x": pa.array(LISTS, pa.large_list(pa.float64()))}))),
    Sound("lz4.arrow", arrow(pa.table({"inputs": LISTS}), compression="lz4")),
    Sound("pandas.feather", written(LISTED.to_feather)),
    Sound("polars.ipc", written(POLARS.write_ipc)),
    Sound("polars_stream.arrows", written(POLARS_ARRAY.write_ipc_stream)),
    Sound("shaped.arrow", arrow(shaped())),
    Sound("wide.arrow", arrow(pa.Table.from_pandas(NAMED))),
    Sound("labels.arrow", arrow(pa.Table.from_pandas(LABELLED)), targets=LABELS),
    Sound("file.arrow.gz", gzip.compress(arrow(pa.table({"embedding": LISTS})))),
    Sound(
        "pandas.jsonl", LISTED.to_json(orient="records", lines=True, double_precision=15).encode()
    ),
    Sound("lists.jsonl", "\r\n".join(map(str, LISTS)).encode()),
    Sound("mark.jsonl", b"\xef\xbb\xbf" + "\n".join(map(str, LISTS)).encode()),
    Sound("polars.ndjson", written(POLARS.write_ndjson)),
    Sound(
        "labels.jsonl",
        LABELLED.to_json(orient="records", lines=True, double_precision=15).encode(),
        targets=LABELS,
    ),
    Sound("lists.jsonl.gz", gzip.compress("\n".join(map(str, LISTS)).encode())),
    Sound("pandas_index.csv", WIDE.to_csv().encode()),
    Sound("pandas.csv", WIDE.to_csv(index=False).encode()),
    Sound("no_names.csv", csv(LISTS)),
    Sound("mark.csv", b"\xef\xbb\xbf" + NAMED.to_csv(index=False, lineterminator="\r\n").encode()),
    Sound("semicolons.csv", NAMED.to_csv(sep=";").encode()),
    Sound("tabs.tsv", NAMED.to_csv(sep="\t", index_label="id").encode()),
    Sound("texts.csv", NAMED.assign(text=WORDS).to_csv(index=False).encode()),
    Sound("labels.csv", NAMED.assign(target=range(6)).to_csv(index=False).encode(), targets=LABELS),
    Sound("lists.csv", LISTED.to_csv().encode()),
    Sound("labelled.csv", LABELLED.to_csv(index=False).encode(), targets=LABELS),
    Sound("integers.csv", csv(INTEGERS.tolist()), INTEGERS),
    Sound("polars.csv", written(pl.from_pandas(NAMED).write_csv)),
    Sound("savetxt.csv", written(lambda file: np.savetxt(file, INPUTS, delimiter=","))),
    Sound("pandas.csv.gz", gzip.compress(WIDE.to_csv(index=False).encode())),
]


def spoilt(value: Any) -> list[list[Any]]:
    """Return the rows with another value in row 4, column 3."""
    changed = [list(row) for row in LISTS]
    changed[4][3] = value
    return changed


WRONG = [
    Wrong("two.safetensors", tensors(inputs=INPUTS, embedding=INPUTS), "choose one with column"),
    Wrong("two.parquet", parquet(pa.table({"vector": LISTS, "input": LISTS})), "several times"),
    Wrong("two.jsonl", b'{"input": [1], "vector": [2]}', "several times, as input, vector"),
    Wrong("two.csv", b'input,vector\n"[1, 2]","[1, 2]"\n', "several times, as input, vector"),
    Wrong("f8.safetensors", tensors(input=BFLOAT16.to(torch.float8_e4m3fn)), "F8_E4M3"),
    Wrong("booleans.npy", npy(INPUTS > 0), "must be float16, float32, float64 or integers"),
    Wrong("long.npy", npy(INPUTS.astype(np.longdouble)), "must be float16, float32, float64"),
    Wrong("beyond.npy", npy(np.array(spoilt(1e39))), "4.3: is beyond float32"),
    Wrong("beyond.csv", csv(spoilt(-1e39)), "4: is beyond float32"),
    Wrong("beyond.parquet", parquet(pa.table({"input": spoilt(1e39)})), "input.4.3: is beyond"),
    Wrong("beyond.jsonl", "\n".join(map(str, spoilt(1e39))).encode(), "4.3: is beyond float32"),
    Wrong("nan.arrow", arrow(pa.table({"input": spoilt(np.nan)})), "input.4.3: must be a finite"),
    Wrong("nan.csv", csv(spoilt("nan")), "3.4: must be a finite number"),
    Wrong("inf.csv", csv(spoilt("-Infinity")), "3.4: must be a finite number"),
    Wrong(
        "null.parquet",
        parquet(pa.table({"x": [[1.0], None]})),
        "x.1: must be a list of numbers, not null",
    ),
    Wrong("null.arrow", arrow(pa.table({"x": spoilt(None)})), "x.4.3: must be a number, not null"),
    Wrong(
        "null_wide.parquet",
        written(pd.DataFrame(spoilt(None), columns=NAMED.columns, dtype="Float32").to_parquet),
        "e3.4: must be a number, not null",
    ),
    Wrong(
        "null.jsonl",
        "\n".join(map(str, spoilt(None))).replace("None", "null").encode(),
        "4.3: must be a number, not null",
    ),
    Wrong("missing.csv", csv(spoilt("")), "3.4: must be a number, not missing"),
    Wrong("text.csv", csv(spoilt("x")), "3.4: must be a number"),
    Wrong("comma.csv", b"a;b\n0,5;0,7\n", "a.0: must have a decimal point, not a comma"),
    Wrong("late_comma.csv", b"a;b\n1;2\n0,5;7\n", "points (line 3)"),
    Wrong("comma_no_names.csv", b"0,5;-0,7;2\n", "line 1 has numbers with decimal commas"),
    Wrong("texts.csv", b"title\na text\n", "title: holds texts, and no column"),
    Wrong("texts_only.parquet", parquet(pa.table({"title": WORDS})), "energy-flow embed FILE"),
    Wrong("texts.jsonl", b'{"title": "a"}\n', "energy-flow embed FILE"),
    Wrong("one_row.npy", npy(INPUTS[0]), "one row is [[...]] (shape [1, 8])"),
    Wrong("one_row.safetensors", tensors(x=INPUTS[0]), "one row is [[...]] (shape [1, 8])"),
    Wrong("columns.json", written(LISTED.to_json), "orient='records', can be read"),
    Wrong("over_lines.json", b"[\n1,\n2\n]", "line 1 is not JSON: unexpected end"),
    Wrong("ragged.json", b"[[1, 2], [3]]", "embeddings.1: has length 1"),
    Wrong("text.json", b'[[1, 2], [3, "x"]]', "embeddings.1.1: must be a number, not a string"),
    Wrong("half.json", b"[[1, 2], [3, 4]", "it ends within a list or an object"),
    Wrong("no_comma.json", b"[[1, 2] [3, 4]]", "with a comma between them"),
    Wrong("bracket.json", b"[[1, 2], [3, 4]}", "a list ends with }"),
    Wrong("after.json", b"[[1, 2], [3, 4]] x", "text follows"),
    Wrong("twice.json", b'{"inputs": [[1]], "inputs": [[1]]}', "inputs: is given twice"),
    Wrong("two.json", b'{"inputs": [[1]], "embeddings": [[1]]}', "inputs: is there several times"),
    Wrong("record.json", b'[{"embedding": [1, 2]}, {"id": 1}]', "row 1.embeddings: is required"),
    Wrong("column.json", b"[[1, 2]]", "leave column out", "inputs"),
    Wrong("nan.json", b'{"embeddings": [[1, NaN]]}', "1 is NaN; give a finite number"),
    Wrong("short.csv", b"a,b\n1,2\n3\n", "line 3 has 1 fields, and the first line has 2"),
    Wrong("quotes.csv", b'a,b\n1,"2\n3,4\n', "ends within quotes"),
    Wrong(
        "dots.csv", NUMPY_TEXTS.assign(embedding="[0.1 0.2 ... 0.8]").to_csv().encode(), "shortened"
    ),
    Wrong("either.csv", b"dog,0.1,0.2\ncat,0.3,0.4\n", "names of all columns"),
    Wrong("lists.csv", b"id,embedding\n1,[0.1,0.2]\n", "line 2 has 3 fields"),
    Wrong("utf16.csv", WIDE.to_csv().encode("utf-16"), "UTF-16"),
    Wrong("utf16.jsonl", "[1.0]".encode("utf-16"), "UTF-16"),
    Wrong(
        "texts.parquet",
        parquet(pa.table({"input": WORDS})),
        "must be a column of lists of numbers, not string",
    ),
    Wrong(
        "decimals.parquet",
        parquet(pa.table({"input": [[Decimal("1.5")]]})),
        "not list<element: decimal",
    ),
    Wrong("ragged.arrow", arrow(pa.table({"input": [[1.0], [1.0, 2.0]]})), "input.1: has length 2"),
    Wrong(
        "one_number.parquet",
        parquet(pa.table({"score": [1.0], "text": ["a"]})),
        "embeddings: is required",
    ),
    Wrong("matrices.arrow", arrow(pa.table({"input": [[[1.0]]]})), "not list<"),
    Wrong(
        "no_column.parquet", written(LISTED.to_parquet), "known are id, text, embedding", "embeding"
    ),
    Wrong(
        "text_column.parquet", written(LISTED.to_parquet), "text: must be a column of lists", "text"
    ),
    Wrong("column.npy", npy(INPUTS), "leave column out", "inputs"),
    Wrong("column.jsonl", b"[1.0]", "leave column out", "inputs"),
    Wrong("feather_1.feather", b"FEA1" + bytes(16), "version 1 of Feather"),
    Wrong("other.parquet", npy(INPUTS), "does not begin with PAR1"),
    Wrong("other.arrow", parquet(pa.table({"x": LISTS})), "begins neither with ARROW1"),
    Wrong("half.arrow", arrow(pa.table({"input": LISTS}))[:-200], "is damaged"),
    Wrong("half.npy.gz", gzip.compress(npy(INPUTS))[:-20], "ends too early"),
    Wrong("noise.csv.gz", b"\x1f\x8b" + bytes(range(200)), "is not gzip"),
]


@pytest.fixture(scope="module")
def flow(server: RunningServer) -> Iterator[FlowClient]:
    with FlowClient(str(server.client.base_url)) as client:
        yield client


def media_type(name: str) -> str:
    found = DatasetFormat.of_file(name)
    assert found is not None
    return found.media_type or OCTET_STREAM


@pytest.mark.parametrize("file", SOUND, ids=lambda file: file.name)
def test_a_file_is_read_exactly(
    server: RunningServer, flow: FlowClient, tmp_path: Path, file: Sound
) -> None:
    path = tmp_path / file.name
    path.write_bytes(file.content)
    expected = file.inputs.astype(np.float32)

    simulated = EmbeddingsFile(path, file.column).read(ALL)
    np.testing.assert_array_equal(simulated.embeddings, expected, strict=True)
    assert simulated.targets is None
    part = EmbeddingsFile(path, file.column).read(RowRange(1, 4))
    np.testing.assert_array_equal(part.embeddings, expected[1:4], strict=True)
    assert part.sample_keys == [1, 2, 3]

    put = flow.datasets.put(file.name, path, column=file.column)
    stored = load(flow.datasets.download(file.name, tmp_path / "stored").read_bytes())
    np.testing.assert_array_equal(stored["inputs"], expected, strict=True)
    assert put.targets_dim == (None if file.targets is None else file.targets.shape[1])
    if file.targets is None:
        with pytest.raises(CommandFailed, match="has no targets"):
            read_pairs(path, ALL, PairsOptions(file.column))
    else:
        np.testing.assert_array_equal(stored["targets"], file.targets, strict=True)
        pairs = read_pairs(path, RowRange(2), PairsOptions(file.column))
        np.testing.assert_array_equal(pairs.inputs, expected[2:], strict=True)
        np.testing.assert_array_equal(pairs.targets, file.targets[2:], strict=True)
        assert pairs.rows.tolist() == [2, 3, 4, 5]

    query = {"column": file.column} if file.column is not None else {}
    queued = server.client.post(
        "/v1/runs",
        params=query,
        content=file.content,
        headers={"content-type": media_type(file.name)},
    )
    assert queued.status_code == 202, queued.text
    run_id = wait_until_ended(server.client, queued.json()["run_id"])["run_id"]
    kept = server.client.get(f"/v1/runs/{run_id}/inputs?format=npy").raise_for_status()
    np.testing.assert_array_equal(np.load(io.BytesIO(kept.content)), expected, strict=True)


@pytest.mark.parametrize("file", WRONG, ids=lambda file: file.name)
def test_a_file_is_refused_in_words(
    server: RunningServer, flow: FlowClient, tmp_path: Path, file: Wrong
) -> None:
    path = tmp_path / file.name
    path.write_bytes(file.content)
    with pytest.raises(CommandFailed) as simulated:
        EmbeddingsFile(path, file.column).read(ALL)
    assert file.words in str(simulated.value)
    assert str(path) in str(simulated.value)
    with pytest.raises(CommandFailed) as trained:
        read_pairs(path, ALL, PairsOptions(file.column))
    assert file.words in str(trained.value)
    with pytest.raises(FlowClientError) as put:
        flow.datasets.put(file.name, path, column=file.column)
    assert file.words in str(put.value)
    query = {"column": file.column} if file.column is not None else {}
    answer = server.client.post(
        "/v1/simulate?store=false",
        params=query,
        content=file.content,
        headers={"content-type": media_type(file.name)},
    )
    assert 400 <= answer.status_code < 500, answer.text
    assert file.words in answer.json()["detail"] or file.name.endswith((".npy", ".safetensors"))
