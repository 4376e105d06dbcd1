"""Files of datasets: accepted content, any division into pieces, and refusals."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save

from energy_flow.choices import DatasetFormat
from service.datasets.formats.upload import DatasetUpload
from service.datasets.parsing.parsers import Parsers
from service.datasets.parsing.process import ParserLimits
from service.problems import Problem
from service.store.database import Database
from service.store.dataset_files import DatasetRows
from service.store.datasets import DatasetRegistry
from tests.support.bodies import arrow, csv, npy, parquet
from tests.support.servers import RunningServer, rows


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[DatasetRegistry]:
    database = Database(f"sqlite:///{tmp_path / 'index.sqlite3'}")
    yield DatasetRegistry(database, tmp_path / "datasets", 2**24)
    database.close()


@pytest.fixture(scope="module")
def parsers() -> Iterator[Parsers]:
    parsers = Parsers(ParserLimits(seconds=600, memory_bytes=2**30, file_bytes=2**30))
    yield parsers
    parsers.close()


def upload(
    registry: DatasetRegistry,
    parsers: Parsers,
    name: str,
    body: bytes,
    file_format: str,
    piece: int,
    size: int | None = None,
) -> DatasetRows:
    """Send a file in pieces of a size."""
    sink = DatasetUpload(registry, name, DatasetFormat(file_format), None, size, parsers)
    try:
        for start in range(0, len(body), piece):
            sink.feed(body[start : start + piece])
        sink.finish()
    finally:
        sink.close()
    return registry.rows_of(name)


def tensors(*entries: tuple[str, str, list[int], bytes]) -> bytes:
    """Return a ``.safetensors`` file with tensors in the given order."""
    header, data = {}, b""
    for name, dtype, shape, content in entries:
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


INPUTS = rows(9, seed=3)
TARGETS = np.arange(18, dtype=np.float32).reshape(9, 2)
INTEGERS = np.arange(72, dtype=">u2").reshape(9, 8)
BFLOAT16 = (INPUTS.view(np.uint32) >> 16).astype("<u2")
OF_BFLOAT16 = (BFLOAT16.astype(np.uint32) << 16).view(np.float32)

SOUND: dict[str, tuple[str, bytes]] = {
    "npy": ("npy", npy(INPUTS)),
    "npy in columns": ("npy", npy(np.asfortranarray(INPUTS.astype(np.float64)))),
    "safetensors": ("safetensors", save({"inputs": INPUTS, "targets": TARGETS})),
    "targets first": (
        "safetensors",
        tensors(
            ("target", "F32", [9, 2], TARGETS.tobytes()),
            ("nothing", "F32", [0], b""),
            ("names", "U8", [5], b"abcde"),
            ("embedding", "F64", [9, 8], INPUTS.astype("<f8").tobytes()),
        ),
    ),
    "bfloat16": ("safetensors", tensors(("input", "BF16", [9, 8], BFLOAT16.tobytes()))),
    "jsonl": ("jsonl", b"\r\n".join(json.dumps(row).encode() for row in INPUTS.tolist())),
    "jsonl with targets": (
        "jsonl",
        b"\n\n".join(
            json.dumps({"id": i, "target": TARGETS[i].tolist(), "inputs": row}).encode()
            for i, row in enumerate(INPUTS.tolist())
        ),
    ),
    "parquet": (
        "parquet",
        parquet(pa.table({"input": INPUTS.tolist(), "x": range(9)}), row_group_size=4),
    ),
    "large lists": (
        "parquet",
        parquet(
            pa.table(
                {
                    "embeddings": pa.array(INPUTS.tolist(), pa.large_list(pa.float64())),
                    "targets": pa.array(list(TARGETS), pa.list_(pa.float32(), 2)),
                }
            ),
            compression="zstd",
        ),
    ),
    "integers": ("npy", npy(INTEGERS)),
    "integers in tensors": ("safetensors", save({"inputs": INTEGERS.astype(np.int8)})),
    "integers in columns": ("parquet", parquet(pa.table({"inputs": INTEGERS.tolist()}))),
    "the only tensor": ("safetensors", save({"weights": INPUTS})),
    "half": (
        "parquet",
        parquet(pa.table({"embedding": pa.array(list(INPUTS.astype(np.float16)))})),
    ),
    "csv": ("csv", csv(INPUTS.tolist())),
    "csv of lists with targets": (
        "csv",
        b"text;target;vector\r\n"
        + b"\r\n".join(
            b'"a ""quoted""\nword; and more";%b;"%b"'
            % (str(TARGETS[i].tolist()).encode(), str(row).encode())
            for i, row in enumerate(INPUTS.tolist())
        ),
    ),
    "arrow": ("arrow", arrow(pa.table({"inputs": INPUTS.tolist(), "x": range(9)}))),
    "arrow stream": ("arrow", arrow(pa.table({"inputs": list(INPUTS)}), is_stream=True)),
    "csv in gzip": ("csv", gzip.compress(csv(INPUTS.tolist()))),
    "npy in gzip": ("npy", gzip.compress(npy(INPUTS)[:300]) + gzip.compress(npy(INPUTS)[300:])),
    "arrow in gzip": ("arrow", gzip.compress(arrow(pa.table({"inputs": list(INPUTS)})))),
}


@pytest.mark.parametrize("piece", [1, 13, 4096])
@pytest.mark.parametrize("kind", SOUND)
def test_a_file_is_read_however_it_is_cut(
    registry: DatasetRegistry, parsers: Parsers, kind: str, piece: int
) -> None:
    file_format, body = SOUND[kind]
    expected = {
        "bfloat16": OF_BFLOAT16,
        "half": INPUTS.astype(np.float16).astype(np.float32),
    }.get(kind, INTEGERS if "integers" in kind else INPUTS)
    for name, size in (("one", len(body)), ("two", None)):
        held = upload(registry, parsers, name, body, file_format, piece, size)
        np.testing.assert_array_equal(held.read(0, 9), expected)
    np.testing.assert_array_equal(held.part(3, 8).read(1, 4), expected[4:7])
    content = registry.find("one").content
    assert (content.targets_dim == 2) is (
        "target" in kind or kind in ("safetensors", "large lists")
    )
    assert registry.find("two").content == content


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 12)),
    seed=st.integers(0, 2**32 - 1),
    piece=st.integers(1, 500),
    kind=st.sampled_from(["npy", "columns", "safetensors", "jsonl", "parquet"]),
)
def test_any_numbers_are_restored(
    registry: DatasetRegistry,
    parsers: Parsers,
    shape: tuple[int, int],
    seed: int,
    piece: int,
    kind: str,
) -> None:
    # Any bits that are a finite number, subnormal ones and negative zeros among them.
    bits = np.random.default_rng(seed).integers(0, 2**32, size=shape, dtype=np.uint32)
    numbers = bits.view(np.float32)
    numbers[~np.isfinite(numbers)] = 0
    bodies: dict[str, tuple[str, bytes]] = {
        "npy": ("npy", npy(numbers)),
        "columns": ("npy", npy(np.asfortranarray(numbers))),
        "safetensors": ("safetensors", save({"inputs": numbers})),
        "jsonl": ("jsonl", b"\n".join(json.dumps(row).encode() for row in numbers.tolist())),
        "parquet": ("parquet", parquet(pa.table({"inputs": list(numbers)}))),
    }
    name = f"{kind}-{shape[0]}-{shape[1]}-{seed}"
    file_format, body = bodies[kind]
    held = upload(registry, parsers, name, body, file_format, piece).read(0, shape[0])
    np.testing.assert_array_equal(held.view(np.uint32), numbers.view(np.uint32))


def spoilt(row: int, column: int, value: float, dtype: Any = np.float32) -> NDArray[Any]:
    numbers = INPUTS.astype(dtype)
    numbers[row, column] = value
    return numbers


def header(text: str) -> bytes:
    """Return a ``.npy`` file that has only a header."""
    line = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line


def lines(*texts: str) -> bytes:
    return "\n".join(texts).encode()


NESTED = [[[1.0], [2.0]]]
WRONG: dict[str, tuple[str, bytes, int, str]] = {
    "npy: empty": ("npy", b"", 400, ".npy"),
    "npy: text": ("npy", b"1, 2, 3, these are no numbers", 400, "magic"),
    "npy: pickle": ("npy", pickle.dumps(INPUTS), 400, "magic"),
    "npy: half": ("npy", npy(INPUTS)[:-9], 400, "states"),
    "npy: header only": ("npy", npy(INPUTS)[:100], 400, "header"),
    "npy: more": ("npy", npy(INPUTS) + b"x", 400, "states"),
    "npy: nonsense": ("npy", header("{'descr': print}"), 400, ".npy"),
    "npy: objects": ("npy", npy(np.array([[{}]], dtype=object)), 422, "inputs: must be float16"),
    "npy: complex": ("npy", npy(np.ones((2, 2), dtype=complex)), 422, "must be float16"),
    "npy: flat": ("npy", npy(np.ones(4, dtype=np.float32)), 422, "[rows, numbers]"),
    "npy: no rows": ("npy", npy(np.ones((0, 4), dtype=np.float32)), 422, "at least one row"),
    "npy: no columns": ("npy", npy(np.ones((4, 0), dtype=np.float32)), 422, "1 to"),
    "npy: both": ("npy", npy(np.ones(4, dtype=bool)), 422, "[rows, numbers]"),
    "npy: NaN": ("npy", npy(spoilt(4, 3, np.nan)), 422, "inputs.4.3: must be a finite"),
    "npy: infinity": ("npy", npy(spoilt(8, 7, -np.inf)), 422, "inputs.8.7: must be a finite"),
    "npy: NaN in columns": ("npy", npy(np.asfortranarray(spoilt(4, 3, np.nan))), 422, "inputs.4.3"),
    "npy: half infinity": ("npy", npy(spoilt(1, 1, np.inf, np.float16)), 422, "inputs.1.1"),
    "npy: beyond": ("npy", npy(spoilt(0, 1, 1e39, np.float64)), 422, "inputs.0.1: is beyond"),
    "npy: huge": (
        "npy",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 8), }"),
        413,
        "32,000,000,512",
    ),
    "npy: negative": (
        "npy",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8), }"),
        400,
        "no array has the shape",
    ),
    "npy: rows": (
        "npy",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1125899906842624, 8), }"),
        422,
        "at most 1,099,511,627,776 rows",
    ),
    # Their product has more digits than Python writes.
    "npy: axes": (
        "npy",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }" % (f"{2**62}, " * 400)),
        400,
        "no array has the shape",
    ),
    "npy: booleans": (
        "npy",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (True, True), }") + b"abcd",
        400,
        "no array has the shape",
    ),
    "npy: hexadecimal": (
        "npy",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (0x%s, 8), }" % ("f" * 4000)),
        400,
        "no array has the shape",
    ),
    "safetensors: empty": ("safetensors", b"", 400, "ends within its header"),
    "safetensors: pickle": ("safetensors", pickle.dumps({"inputs": INPUTS}), 400, "pickle"),
    "safetensors: half": ("safetensors", save({"inputs": INPUTS})[:-4], 400, "states"),
    "safetensors: more": ("safetensors", save({"inputs": INPUTS}) + b"x", 400, "states"),
    "safetensors: text": ("safetensors", b"these are no tensors", 400, "header"),
    "safetensors: other": (
        "safetensors",
        save({"weights": INPUTS, "bias": INPUTS}),
        422,
        "embeddings: can be any of 'bias', 'weights'",
    ),
    "safetensors: two": (
        "safetensors",
        save({"inputs": INPUTS, "embeddings": INPUTS}),
        422,
        "several times",
    ),
    "safetensors: booleans": (
        "safetensors",
        save({"inputs": INPUTS > 0}),
        422,
        "of F16, BF16, F32, F64 or integers, not BOOL",
    ),
    "safetensors: flat": ("safetensors", save({"inputs": INPUTS[0]}), 422, "[rows, numbers]"),
    "safetensors: targets": (
        "safetensors",
        save({"inputs": INPUTS, "targets": TARGETS[:4]}),
        422,
        "targets: must be 9",
    ),
    "safetensors: NaN": (
        "safetensors",
        save({"inputs": INPUTS, "targets": np.full((9, 1), np.nan)}),
        422,
        "targets.0.0: must be a finite",
    ),
    "safetensors: bytes": (
        "safetensors",
        tensors(("inputs", "F32", [2, 2], b"12345678")),
        400,
        "8 bytes",
    ),
    # The product of so many lengths would take hours.
    "safetensors: axes": (
        "safetensors",
        tensors(("inputs", "F32", [2**62 + 1] * 30_000, b"")),
        400,
        "has 30,000 axes",
    ),
    "jsonl: empty": ("jsonl", b"\n\n", 422, "at least one row"),
    "jsonl: not json": ("jsonl", lines("[1, 2]", "[1, 2"), 400, "line 2 is not JSON"),
    "jsonl: NaN": ("jsonl", lines("[1, 2]", "[1, NaN]"), 400, "line 2 is not JSON"),
    "jsonl: too large": ("jsonl", lines("[1, 2]", "[1, 1e999]"), 422, "embeddings.1.1"),
    "jsonl: beyond": ("jsonl", lines("[1, 2]", "[1, -1e39]"), 422, "embeddings.1.1: is beyond"),
    "jsonl: digits": ("jsonl", lines("[1, " + "9" * 400 + "]"), 422, "embeddings.0.1"),
    "jsonl: number": ("jsonl", lines("[1, 2]", "7"), 400, "line 2 must be an object"),
    "jsonl: ragged": ("jsonl", lines("[1, 2]", "[1, 2, 3]"), 422, "embeddings.1: has length 3"),
    "jsonl: no numbers": ("jsonl", lines("[]", "[]"), 422, "embeddings.0: must have 1 to"),
    "jsonl: text": ("jsonl", lines('[1, "2"]'), 422, "embeddings.0.1: must be a number"),
    "jsonl: boolean": ("jsonl", lines("[1, true]"), 422, "must be a number, not a boolean"),
    "jsonl: null": ("jsonl", lines('{"inputs": null}'), 422, "inputs: must be a list"),
    "jsonl: other": (
        "jsonl",
        lines('{"text": "x"}'),
        422,
        "line 1.text: holds texts, and no column",
    ),
    "jsonl: two": ("jsonl", lines('{"input": [1], "inputs": [1]}'), 422, "several times"),
    "jsonl: some targets": (
        "jsonl",
        lines('{"input": [1], "target": [1]}', '{"input": [1]}'),
        422,
        "line 2: has no target,",
    ),
    "jsonl: late targets": (
        "jsonl",
        lines('{"input": [1]}', '{"input": [1], "target": [1]}'),
        422,
        "line 2: has a target,",
    ),
    "jsonl: ragged targets": (
        "jsonl",
        lines('{"input": [1], "target": [1]}', '{"input": [1], "target": [1, 2]}'),
        422,
        "target.1: has length 2",
    ),
    "jsonl: no utf-8": ("jsonl", b'{"input": [1], "\xff": 1}', 400, "line 1 is not JSON"),
    "parquet: empty": ("parquet", b"", 400, "empty"),
    "parquet: text": ("parquet", b"these are no columns", 400, "PAR1"),
    "parquet: half": ("parquet", SOUND["parquet"][1][:-20], 400, "damaged"),
    "parquet: name": (
        "parquet",
        parquet(pa.table({"input": [[1.0]], "words": [1]})).replace(b"words", b"wor\xffs"),
        400,
        "utf-8",
    ),
    "parquet: other": ("parquet", parquet(pa.table({"x": [1]})), 422, "embeddings: is required"),
    "parquet: no rows": (
        "parquet",
        parquet(pa.table({"inputs": pa.array([], pa.list_(pa.float32()))})),
        422,
        "at least one row",
    ),
    "parquet: booleans": (
        "parquet",
        parquet(pa.table({"inputs": [[True, False]]})),
        422,
        "lists of numbers, not list<",
    ),
    "parquet: texts": (
        "parquet",
        parquet(pa.table({"inputs": ["[1, 2]"]})),
        422,
        "lists of numbers",
    ),
    "parquet: nested": ("parquet", parquet(pa.table({"inputs": NESTED})), 422, "lists of numbers"),
    "parquet: null": (
        "parquet",
        parquet(pa.table({"inputs": [[1.0], None]})),
        422,
        "inputs.1: must be a list of numbers, not null",
    ),
    "parquet: null number": (
        "parquet",
        parquet(pa.table({"inputs": [[1.0, 2.0], [3.0, None]]})),
        422,
        "inputs.1.1: must be a number, not null",
    ),
    "parquet: ragged": (
        "parquet",
        parquet(pa.table({"inputs": [[1.0], [1.0], [1.0, 2.0]]}), row_group_size=1),
        422,
        "inputs.2: has length 2, but row 0 has length 1",
    ),
    "parquet: no numbers": (
        "parquet",
        parquet(pa.table({"inputs": pa.array([[], []], pa.list_(pa.float32()))})),
        422,
        "inputs.0: must have 1 to",
    ),
    "parquet: NaN": (
        "parquet",
        parquet(pa.table({"input": list(spoilt(7, 2, np.nan))}), row_group_size=3),
        422,
        "input.7.2: must be a finite",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_faults_are_reported_and_nothing_is_left(server: RunningServer, wrong: str) -> None:
    file_format, body, status, reason = WRONG[wrong]
    folder = server.data_dir / "datasets"
    before = sorted(folder.iterdir())
    for content in (body, iter([body[:50], body[50:]])):
        path = f"/v1/datasets/wrong?format={file_format}"
        answer = server.client.put(path, content=content)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert reason in answer.json()["detail"]
        assert sorted(folder.iterdir()) == before
    assert server.client.get("/v1/datasets/wrong").status_code == 404


def test_every_fault_is_reported(client: httpx.Client) -> None:
    numbers = spoilt(2, 5, np.inf)
    body = save({"inputs": numbers, "targets": np.full((9, 1), np.nan, np.float32)})
    answer = client.put("/v1/datasets/wrong?format=safetensors", content=body)
    locs = [error["loc"] for error in answer.json()["errors"]]
    assert locs == [["inputs", 2, 5], ["targets", 0, 0]]
    answer = client.put("/v1/datasets/wrong?format=npy", content=npy(np.ones(3, bool)))
    assert len(answer.json()["errors"]) == 2


def test_a_line_has_an_end(registry: DatasetRegistry, parsers: Parsers) -> None:
    with pytest.raises(Problem, match="longer than"):
        upload(registry, parsers, "endless", b"[" + b"1," * 5_000_000, "jsonl", 2**20)


def test_numbers_that_unfold_are_bounded(registry: DatasetRegistry, parsers: Parsers) -> None:
    # A small file of zeros that would be larger than a dataset may be.
    column = pa.array(np.zeros((600, 8192), np.float32).tolist(), pa.list_(pa.float32()))
    body = parquet(pa.table({"inputs": column}), compression="zstd")
    assert len(body) < 2**20
    with pytest.raises(Problem, match="as float32") as refused:
        upload(registry, parsers, "bomb", body, "parquet", 2**20)
    assert refused.value.status == 413


def test_the_media_type_or_the_format_parameter_chooses_the_reader(client: httpx.Client) -> None:
    path = "/v1/datasets/typed"
    for headers in ({}, {"content-type": "text/xml"}, {"content-type": "application/octet-stream"}):
        answer = client.put(path, content=npy(INPUTS), headers=headers)
        assert answer.status_code == 415
        assert "application/x-npy" in answer.headers["accept"]
    assert client.put(path, params={"format": "xml"}, content=npy(INPUTS)).status_code == 422
    for media_type, body in (
        ("application/x-npy", SOUND["npy"][1]),
        ("application/vnd.apache.parquet", SOUND["parquet"][1]),
        ("application/x-ndjson; charset=utf-8", SOUND["jsonl"][1]),
    ):
        answer = client.put(path, content=body, headers={"content-type": media_type})
        assert answer.status_code in (200, 201), answer.text
    for name in ("a b", ".hidden", "x" * 65):
        assert client.put(f"/v1/datasets/{name}?format=npy", content=b"").status_code == 422


@pytest.mark.parametrize(
    ("name", "content", "place", "message"),
    [
        ("jsonl", b"[1,2]\n\n[1,null]\n", ["embeddings", 1, 1], "not null (line 3)"),
        ("jsonl", b"[1,2]\n[3,4]\n[1,1e40]\n", ["embeddings", 2, 1], "beyond float32 (line 3)"),
        ("jsonl", b'{"input":[1,2]}\n \n{"input":[1]}\n', ["input", 1], "one length (line 3)"),
        ("csv", b"a,b\n1,2\n\n3,\n", ["b", 1], "not missing (line 4)"),
        ("csv", b'1,2\n3,"\n"\n', ["1", 1], "(line 3)"),
    ],
)
def test_faults_of_text_name_the_line(
    client: httpx.Client, name: str, content: bytes, place: list[Any], message: str
) -> None:
    answer = client.put("/v1/datasets/lines", params={"format": name}, content=content)
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert fault["loc"] == place
    assert fault["msg"].endswith(message)
