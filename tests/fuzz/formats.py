"""Formats of files and bodies: sound ones, how they are mutated, and where they are sent."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
from safetensors.numpy import save

from energy_flow import FlowProcessor, checkpoint
from energy_flow.choices import DatasetFormat
from energy_flow.choices.files import PARQUET
from energy_flow.testing import tiny_config
from service.media_types import JSON, NPY, OCTET_STREAM
from tests.fuzz.mutations import NUMBERS, OF_BYTES, OF_TEXT, TEXTS, mutate, splice
from tests.support.bodies import arrow, csv, npy, parquet
from tests.support.inference_requests import HEADER, INFER, make_binary_request, make_request
from tests.support.servers import TINY, rows

NAME = "mutated"
"""Name of what is stored, and removed again."""


@dataclass(frozen=True, slots=True)
class Case:
    """A request.

    Attributes:
        method: its method.
        path: its path with the query.
        body: its body.
        headers: its headers.
        pieces: in how many pieces the body is sent; with several, its length is not stated.
    """

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: int = 1

    def content(self) -> bytes | Iterator[bytes]:
        """Return the body as httpx takes it."""
        if self.pieces == 1:
            return self.body
        size = max(1, -(-len(self.body) // self.pieces))
        return (self.body[start : start + size] for start in range(0, len(self.body), size))


def make_npy(random: Random) -> Case:
    """Return a ``.npy`` file, mutated in its header or anywhere."""
    arrays = (rows(5), rows(5).astype(np.float64), np.asfortranarray(rows(5)), rows(300))
    body = npy(random.choice(arrays))
    if random.random() < 0.6:
        header = mutate(random, body[10:128], OF_TEXT)
        if random.random() < 0.8:
            header = len(header).to_bytes(4, "little")[:2] + header
        else:
            header = body[8:10] + header
        body = body[:8] + header + body[128:]
    else:
        body = mutate(random, body, OF_BYTES)
    return _as_dataset_or_request(random, body, "npy", NPY)


def make_safetensors(random: Random) -> Case:
    """Return a ``.safetensors`` file, mutated in its header or anywhere."""
    request = np.frombuffer(b'{"seed": 1, "store": false}', np.uint8)
    files = (
        save({"embeddings": rows(5)}),
        save({"embeddings": rows(5), "request": request}),
        save({"inputs": rows(90), "targets": rows(90), "other": np.zeros(3, np.int8)}),
    )
    body = _mutate_safetensors(random, *random.sample(files, 2))
    return _as_dataset_or_request(random, body, "safetensors", OCTET_STREAM)


def make_checkpoint(random: Random) -> Case:
    """Return a checkpoint, mutated in its header or anywhere."""
    body = _mutate_safetensors(random, _checkpoint(), save({"embeddings": rows(5)}))
    return Case("PUT", f"/v1/models/{NAME}", body, {}, random.choice((1, 1, 3)))


def make_parquet(random: Random) -> Case:
    """Return a ``.parquet`` file, mutated in most cases in its description at the end."""
    files = _parquet_files()
    body = random.choice(files)
    kind = random.random()
    if kind < 0.6:
        start = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
        footer = mutate(random, body[start:-8], OF_BYTES)
        body = body[:start] + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    elif kind < 0.9:
        body = mutate(random, body, OF_BYTES)
    else:
        body = b"PAR1" + splice(random, body, random.choice(files))
    return _as_dataset_or_request(random, body, "parquet", PARQUET)


def make_arrow(random: Random) -> Case:
    """Return an Arrow file or stream, mutated anywhere or in its description at the end."""
    files = _arrow_files()
    body = random.choice(files)
    if random.random() < 0.5:
        start = max(0, len(body) - 10 - int.from_bytes(body[-10:-6], "little"))
        body = body[:start] + mutate(random, body[start:], OF_BYTES)
    elif random.random() < 0.8:
        body = body[:8] + mutate(random, body[8:], OF_BYTES)
    else:
        body = splice(random, body, random.choice(files))
    body = gzip.compress(body, 1) if random.random() < 0.1 else body
    return _as_dataset_or_request(random, body, "arrow", DatasetFormat.ARROW.media_type)


def make_csv(random: Random) -> Case:
    """Return a table as text, mutated."""
    values = rows(4).tolist()
    lists = [f'text,"{row}",3' for row in values]
    tables = (
        csv(values * random.choice((1, 200))),
        csv(values, [f"e{place}" for place in range(8)]),
        "\n".join(["word;vector;target", *lists]).encode(),
        "\n".join(["word,vector,target", *lists]).encode(),
    )
    body = mutate(random, random.choice(tables), OF_TEXT)
    body = gzip.compress(body, 1) if random.random() < 0.1 else body
    return _as_dataset_or_request(random, body, "csv", DatasetFormat.CSV.media_type)


def make_jsonl(random: Random) -> Case:
    """Return lines of JSON, mutated."""
    arrays: list[Any] = rows(4).tolist()
    objects: list[Any] = [{"input": row, "target": [1.0, 2]} for row in arrays]
    lines: list[Any] = random.choice([arrays, objects, arrays * 200])
    body = "\n".join(json.dumps(line) for line in lines).encode()
    return _as_dataset(random, mutate(random, body, OF_TEXT), "jsonl")


def make_json(random: Random) -> Case:
    """Return a request with a JSON body, mutated."""
    simulation = {
        "embeddings": rows(3).tolist(),
        "sample_keys": [0, 1, 2],
        "model": "default",
        "seed": 7,
        "options": {"max_steps": 3, "noise_std": 0.1, "spawn": {"mode": "off"}},
        "outputs": ["surface", "hits"],
        "trace": {"capacity": 64, "keep": "latest", "kinds": ["spawn"], "inline": 10},
        "store": False,
        "timeout_ms": 60_000,
    }
    config = {name: json.loads(value) for name, _, value in (one.partition("=") for one in TINY)}
    sweep = {"grid": {"noise_std": [0.0, 0.1]}}
    bodies = {
        "/v1/simulate": simulation,
        "/v1/simulate?dry_run=true": simulation,
        "/v1/models": {"name": NAME, "preset": "debug", "config": config, "model_seed": 3},
        "/v1/experiments": {"name": NAME, "dataset": "words", "sweep": sweep, "seeds": [1]},
        INFER: make_request(),
    }
    path = random.choice(list(bodies))
    body = mutate(random, json.dumps(bodies[path]).encode(), OF_TEXT)
    return Case("POST", path, body, {"content-type": JSON}, random.choice((1, 1, 1, 2)))


def make_inference(random: Random) -> Case:
    """Return a request of the Open Inference Protocol with bytes or a compressed body."""
    if random.random() < 0.4:
        body, headers = make_binary_request(rows(3), random.choice(("FP32", "FP64", "BOOL")))
        if random.random() < 0.3:
            headers = {HEADER: random.choice(NUMBERS)[:4000].decode()}
        return Case("POST", INFER, mutate(random, body, OF_BYTES + OF_TEXT), headers)
    encoding = random.choice(("gzip", "deflate"))
    compress = gzip.compress if encoding == "gzip" else zlib.compress
    body = json.dumps(make_request()).encode()
    kind = random.random()
    if kind < 0.3:
        body = compress(mutate(random, body, OF_TEXT))
    elif kind < 0.8:
        body = mutate(random, compress(body), OF_BYTES)
    else:
        parts = [compress(body[place : place + 40]) for place in range(0, len(body), 40)]
        body = b"".join(parts) + compress(b"") * random.choice((0, 1, 3000, 50_000))
    return Case("POST", INFER, body, {"content-encoding": encoding})


def make_query(random: Random) -> Case:
    """Return a request for what a stored run has, with unusual parameters."""
    paths = {
        "/v1/runs/{run}/trace": (
            *("format", "kind", "sample", "flow", "step_from", "step_to", "limit", "cursor"),
        ),
        "/v1/runs/{run}/outputs/surface": (
            *("format", "sample", "sample_from", "sample_to", "plane"),
        ),
        "/v1/runs/{run}/samples": ("limit", "cursor"),
        "/v1/runs/{run}/profile": ("limit",),
        "/v1/runs": ("state", "kind", "experiment", "limit", "cursor"),
        "/v1/datasets": ("limit", "cursor"),
    }
    sound = (
        *(b"0", b"1", b"2", b"0,1", b"parquet", b"ndjson", b"csv", b"arrow", b"perfetto", b"png"),
        *(b"json", b"npy", b"spawn", b"terminate", b"z0", b"zdepth", b"queued", b"WzEsMl0", b"-1"),
    )
    path = random.choice(list(paths))
    values = (
        *sound,
        *sound,
        *(value[:3000] for value in NUMBERS),
        *(text[:3000] for text in TEXTS),
    )
    query = "&".join(
        f"{random.choice(paths[path])}={quote(random.choice(values))}"
        for _ in range(random.randrange(1, 4))
    )
    return Case("GET", f"{path}?{query}")


FORMATS: Mapping[str, Callable[[Random], Case]] = {
    "npy": make_npy,
    "safetensors": make_safetensors,
    "parquet": make_parquet,
    "arrow": make_arrow,
    "csv": make_csv,
    "jsonl": make_jsonl,
    "checkpoint": make_checkpoint,
    "json": make_json,
    "inference": make_inference,
    "query": make_query,
}
"""Makers of cases by name."""


def make_case(name: str, seed: int, number: int) -> Case:
    """Return a case, the same at every call.

    Args:
        name: of the format.
        seed: of the campaign.
        number: of the case.
    """
    return FORMATS[name](Random(f"{name}/{seed}/{number}"))


@cache
def _checkpoint() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        checkpoint.save(FlowProcessor(tiny_config()), path)
        return path.read_bytes()


@cache
def _arrow_files() -> tuple[bytes, ...]:
    inputs = rows(20).tolist()
    table = pa.table({"inputs": inputs, "targets": [[1.0, 2.0]] * 20, "text": ["words"] * 20})
    wide = pa.table(dict(zip("abcdefgh", rows(20).T, strict=True)))
    return (
        arrow(table),
        arrow(table, is_stream=True, compression="zstd"),
        arrow(pa.table({"input": pa.array(list(rows(20)), pa.list_(pa.float32(), 8))})),
        arrow(pa.table({"input": [None, *inputs]}), compression="lz4"),
        arrow(wide, is_stream=True),
    )


@cache
def _parquet_files() -> tuple[bytes, ...]:
    inputs = rows(20).tolist()
    table = pa.table({"inputs": inputs, "targets": [[1.0, 2.0]] * 20, "text": ["words"] * 20})
    fixed = pa.array(list(rows(20)), pa.list_(pa.float32(), 8))
    return (
        parquet(table),
        parquet(table, compression="zstd", row_group_size=7, data_page_version="2.0"),
        parquet(table, compression="gzip", use_dictionary=False, write_page_index=True),
        parquet(pa.table({"input": fixed}), compression="none", use_dictionary=False),
        parquet(
            pa.table({"input": pa.array(inputs, pa.large_list(pa.float64()))}),
            use_dictionary=False,
            column_encoding="BYTE_STREAM_SPLIT",
            compression="lz4",
        ),
        parquet(pa.table({"inputs": [None, *inputs]}), compression="brotli", version="1.0"),
    )


def _mutate_safetensors(random: Random, body: bytes, other: bytes) -> bytes:
    length = int.from_bytes(body[:8], "little")
    kind = random.random()
    if kind < 0.6:
        header = mutate(random, body[8 : 8 + length], OF_TEXT)
        stated = len(header) if random.random() < 0.9 else length
        return stated.to_bytes(8, "little") + header + body[8 + length :]
    if kind < 0.9:
        return mutate(random, body, OF_BYTES)
    return splice(random, body, other)


def _as_dataset(random: Random, body: bytes, file_format: str) -> Case:
    path = f"/v1/datasets/{NAME}?format={file_format}"
    return Case("PUT", path, body, {}, random.choice((1, 1, 3, 20)))


def _as_dataset_or_request(random: Random, body: bytes, file_format: str, media_type: str) -> Case:
    if random.random() < 0.5:
        return _as_dataset(random, body, file_format)
    query = "" if file_format == "safetensors" else "?store=false"
    return Case("POST", f"/v1/simulate{query}", body, {"content-type": media_type})
