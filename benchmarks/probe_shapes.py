"""Requests of odd shapes, each of at most 64 MiB, that once kept a server busy or could do so."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

MIB: Final = 2**20
MOST: Final = 64 * MIB - 1024
"""Most bytes of a body, with some room for what is around it."""
DIMENSION: Final = 8
"""Numbers of an embedding of the server's model."""

DATASET: Final = "shapes"
"""Name of a dataset of a few rows that the server has."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A request of an odd shape.

    Attributes:
        name: what is odd about it.
        make: returns the bytes of the request.
        statuses: statuses of the answer, of which each is right.
    """

    name: str
    make: Callable[[], bytes]
    statuses: tuple[int, ...]


def make_dataset() -> bytes:
    """Return the request that stores the dataset :data:`DATASET`."""
    row = json.dumps([0.1] * DIMENSION).encode()
    return _request("PUT", f"/v1/datasets/{DATASET}", b"\n".join([row] * 4), _JSONL)


def _request(
    method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


_ODD_CSV = "/v1/datasets/odd?format=csv"
_JSON = {"Content-Type": "application/json"}
_NPY = {"Content-Type": "application/x-npy"}
_OCTETS = {"Content-Type": "application/octet-stream"}
_JSONL = {"Content-Type": "application/x-ndjson"}
_SIMULATE = "/v1/simulate?dry_run=true"
_INFER = "/v2/models/energy_flow/infer"
_ROW = b"[" + b",".join([b"0.125"] * DIMENSION) + b"]"


def _post(target: str, body: bytes, headers: Mapping[str, str] = _JSON) -> bytes:
    return _request("POST", target, body, headers)


def _simulate(body: bytes, headers: Mapping[str, str] = _JSON) -> bytes:
    return _post(_SIMULATE, body, headers)


def _fill(before: bytes, unit: bytes, after: bytes, size: int = MOST, joint: bytes = b"") -> bytes:
    """Return a body with as many units as fit, with a joint between them."""
    count = (size - len(before) - len(after)) // (len(unit) + len(joint))
    return before + (unit + joint) * (count - 1) + unit + after


def _rows(unit: bytes, after: bytes = b"", size: int = MOST) -> bytes:
    return _fill(b'{"embeddings":[', unit, after + b"]}", size, b",")


def _with_row(members: bytes) -> bytes:
    return b'{"embeddings":[' + _ROW + b"]," + members + b"}"


def _many(count: int, name: str = "x", value: str = "0") -> bytes:
    return ",".join(f'"{name}{number}":{value}' for number in range(count)).encode()


def _tensors(count: int) -> bytes:
    text = ",".join(
        f'"t{number}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for number in range(count)
    ).encode()
    header = b"{" + text + b"}"
    return len(header).to_bytes(8, "little") + header


def _request_tensor(text: bytes) -> bytes:
    entry = {"dtype": "U8", "shape": [len(text)], "data_offsets": [0, len(text)]}
    header = json.dumps({"request": entry}).encode()
    return len(header).to_bytes(8, "little") + header + text


def _npy_header(text: bytes, length: int | None = None) -> bytes:
    return b"\x93NUMPY\x02\x00" + (length or len(text)).to_bytes(4, "little") + text


def _infer(members: str, data: str = "[" + ",".join(["0.1"] * DIMENSION) + "]") -> bytes:
    tensor = f'{{"name":"embeddings","datatype":"FP32","shape":[1,{DIMENSION}],"data":{data}}}'
    return f'{{"inputs":[{tensor}],{members}}}'.encode()


def _data(unit: bytes, shape: bytes = b"[1,8]") -> bytes:
    before = b'{"inputs":[{"name":"embeddings","datatype":"FP32","shape":%b,"data":[' % shape
    return _fill(before, unit, b"]}]}", joint=b",")


def _experiment(sweep: str, seeds: str = "[0]") -> bytes:
    text = f'{{"name":"odd","dataset":"{DATASET}","sweep":{sweep},"seeds":{seeds}}}'
    return _post("/v1/experiments", text.encode())


def _long(name: str, value: str, target: str = "/v1/models") -> bytes:
    return _request("GET", target, headers={name: value})


_NESTED_500 = "[" * 500 + "]" * 500
_DIGITS = "9" * 5000
_HEAD = 60_000

SHAPES: Final = (
    # Objects and lists.
    Shape("77 KiB of unknown members", lambda: _simulate(_with_row(_many(6000))), (413,)),
    Shape("1,000 unknown members", lambda: _simulate(_with_row(_many(990))), (422,)),
    Shape(
        "1,000 unknown options",
        lambda: _simulate(_with_row(b'"options":{%b}' % _many(990, "noise_st"))),
        (422,),
    ),
    Shape(
        "20 MB of unknown members",
        lambda: _simulate(_with_row(_fill(b"", b'"unknown":0', b"", 20_000_000, b","))),
        (413,),
    ),
    Shape(
        "16 MiB of []",
        lambda: _simulate(_with_row(_fill(b'"x":[', b"[]", b"]", 16 * MIB, b","))),
        (413,),
    ),
    Shape(
        "16 MiB of {}",
        lambda: _simulate(_with_row(_fill(b'"x":[', b"{}", b"]", 16 * MIB, b","))),
        (413,),
    ),
    Shape(
        "1 MiB of []",
        lambda: _simulate(_with_row(_fill(b'"x":[', b"[]", b"]", MIB - 1024, b","))),
        (413,),
    ),
    Shape("64 MiB of [", lambda: _simulate(b"[" * MOST), (400, 413)),
    Shape(
        "64 MiB of [ as embeddings",
        lambda: _simulate(b'{"embeddings":' + b"[" * MOST),
        (400, 422),
    ),
    Shape(
        "lists 500 deep as a setting of the log",
        lambda: _post("/v2/logging", f'{{"log_info":{_NESTED_500}}}'.encode()),
        (422,),
    ),
    Shape(
        "lists 500 deep as a setting of traces",
        lambda: _post("/v2/trace/setting", f'{{"trace_level":{_NESTED_500}}}'.encode()),
        (422,),
    ),
    Shape(
        "lists 500 deep in a config",
        lambda: _post("/v1/models", f'{{"name":"odd","config":{{"x":{_NESTED_500}}}}}'.encode()),
        (422,),
    ),
    Shape(
        "64 MiB of numbers as a config",
        lambda: _post("/v1/models", _fill(b'{"name":"odd","config":{"x":[', b"1,", b"1]}}")),
        (413,),
    ),
    Shape(
        "a cancellation with 64 MiB",
        lambda: _post("/v1/runs/none/cancel", _fill(b"[", b"1,", b"1]")),
        (404, 413),
    ),
    # White space, strings, numbers.
    Shape("64 MiB of white space", lambda: _simulate(b" " * MOST), (400, 413)),
    Shape(
        "64 MiB of white space in embeddings",
        lambda: _simulate(b'{"embeddings":[[1' + b" " * (MOST - 20) + b"]]}"),
        (413, 422),
    ),
    Shape("64 MiB of digits", lambda: _simulate(b"1" * MOST), (400, 413)),
    Shape(
        "64 MiB of digits in embeddings",
        lambda: _simulate(b'{"embeddings":[[' + b"1" * (MOST - 20) + b"]]}"),
        (422,),
    ),
    Shape(
        "64 MiB of escapes",
        lambda: _simulate(_with_row(_fill(b'"model":"', rb"\u0041", b'"', MOST - 200))),
        (413,),
    ),
    Shape(
        "64 MiB of surrogates",
        lambda: _simulate(_with_row(_fill(b'"model":"', rb"\ud83d\ude00", b'"', MOST - 200))),
        (413,),
    ),
    Shape(
        "1 MiB of surrogates",
        lambda: _simulate(_with_row(_fill(b'"model":"', rb"\ud83d\ude00", b'"', MIB - 200))),
        (422,),
    ),
    Shape(
        "a name of 1 MiB",
        lambda: _simulate(_with_row(_fill(b'"options":{"', b"x.y", b'":1}', MIB - 200))),
        (422,),
    ),
    Shape(
        "numbers of 5,000 digits",
        lambda: _simulate(_rows(f"[{_DIGITS}]".encode())),
        (422,),
    ),
    Shape(
        "a seed of 5,000 digits",
        lambda: _simulate(_with_row(f'"seed":{_DIGITS}'.encode())),
        (400, 422),
    ),
    Shape("infinite numbers", lambda: _simulate(_rows(b"[1e999]")), (422,)),
    # Embeddings and keys.
    Shape(
        "one row of 64 MiB",
        lambda: _simulate(_fill(b'{"embeddings":[[', b"1", b"]]}", joint=b",")),
        (422,),
    ),
    Shape("rows of one number", lambda: _simulate(_rows(b"[1]")), (422,)),
    Shape("rows without numbers", lambda: _simulate(_rows(b"[]")), (422,)),
    Shape("rows, then a string", lambda: _simulate(_rows(_ROW, b',["x"]')), (422,)),
    Shape(
        "rows, then a longer one", lambda: _simulate(_rows(_ROW, b",[1,2,3,4,5,6,7,8,9]")), (422,)
    ),
    Shape("rows that end early", lambda: _simulate(_rows(_ROW)[:-3]), (400,)),
    Shape("rows of a string each", lambda: _simulate(_rows(b'["x"]')), (422,)),
    Shape("rows of objects", lambda: _simulate(_rows(b"[{}]")), (422,)),
    Shape("a flat list", lambda: _simulate(_rows(b"0.5")), (422,)),
    Shape("sound rows, 64 MiB", lambda: _simulate(_rows(_ROW)), (200, 413)),
    Shape(
        "embeddings twice",
        lambda: _simulate(
            _rows(_ROW, size=MOST // 2)[:-1] + b"," + _rows(_ROW, size=MOST // 2)[1:]
        ),
        (422,),
    ),
    Shape(
        "64 MiB of keys",
        lambda: _simulate(_with_row(_fill(b'"sample_keys":[', b"7", b"]", MOST - 200, b","))),
        (422,),
    ),
    Shape(
        "64 MiB of keys that are strings",
        lambda: _simulate(_with_row(_fill(b'"sample_keys":[', b'"7"', b"]", MOST - 200, b","))),
        (422,),
    ),
    Shape(
        "10,000 unknown outputs",
        lambda: _simulate(_with_row(b'"outputs":[' + b",".join([b'"sur"'] * 5000) + b"]")),
        (422,),
    ),
    # Other forms of bodies.
    Shape("a header of 100,000 tensors", lambda: _simulate(_tensors(100_000), _OCTETS), (400,)),
    Shape("a header of 10,000 tensors", lambda: _simulate(_tensors(10_000), _OCTETS), (400, 422)),
    Shape(
        "a checkpoint of 100,000 tensors",
        lambda: _request("PUT", "/v1/models/odd", _tensors(100_000), _OCTETS),
        (400,),
    ),
    Shape(
        "a dataset of 100,000 tensors",
        lambda: _request("PUT", "/v1/datasets/odd?format=safetensors", _tensors(100_000)),
        (400,),
    ),
    Shape(
        "64 MiB of members in a tensor",
        lambda: _simulate(_request_tensor(_fill(b'{"x":[', b"[]", b"]}", joint=b",")), _OCTETS),
        (413,),
    ),
    Shape(
        "a .npy header of 64 MiB",
        lambda: _simulate(_npy_header(b"(" * (MOST - 100)), _NPY),
        (400,),
    ),
    Shape("a nested .npy header", lambda: _simulate(_npy_header(b"(" * 9000), _NPY), (400,)),
    Shape(
        "a .npy body and 60 KB of options",
        lambda: _post(
            _SIMULATE + "&options=%7B" + "%22a%22:1," * 6000 + "%7D", b"\x93NUMPY\x01\x00", _NPY
        ),
        (400, 413),
    ),
    Shape(
        "one line of 8 MiB",
        lambda: _request(
            "PUT", "/v1/datasets/odd", _fill(b"[", b"1", b"]", 8 * MIB - 10, b","), _JSONL
        ),
        (400, 422),
    ),
    Shape(
        "lines of 8 MiB of []",
        lambda: _request(
            "PUT",
            "/v1/datasets/odd",
            _fill(b'{"embeddings":[', b"[]", b"]}\n", 8 * MIB - 10, b",") * 7,
            _JSONL,
        ),
        (400, 422),
    ),
    Shape(
        "4 MiB of short lines",
        lambda: _request("PUT", "/v1/datasets/odd", b"[1]\n" * MIB + b"[1,2]", _JSONL),
        (422,),
    ),
    Shape(
        "64 MiB of empty lines",
        lambda: _request("PUT", "/v1/datasets/odd", b"\n" * MOST, _JSONL),
        (422,),
    ),
    Shape(
        "a row of 8 MiB of a CSV file",
        lambda: _request("PUT", _ODD_CSV, _fill(b"", b"0.5", b"\n", 8 * MIB - 10, b",")),
        (413, 422),
    ),
    Shape(
        "a list of 8 MiB in a CSV file",
        lambda: _request("PUT", _ODD_CSV, _fill(b'"[', b"1", b']"\n', 8 * MIB - 10, b",")),
        (413, 422),
    ),
    Shape(
        "4 MiB of short rows of a CSV file",
        lambda: _request("PUT", _ODD_CSV, b"a,b\n" + b"1,2\n" * MIB + b"1"),
        (400,),
    ),
    Shape(
        "64 MiB of lines in quotes",
        lambda: _request("PUT", _ODD_CSV, b'a,b\n"' + b"\n" * MOST),
        (400,),
    ),
    Shape(
        "a damaged Arrow file of 64 MiB",
        lambda: _request("PUT", "/v1/datasets/odd?format=arrow", b"ARROW1" + b"\0" * (MOST - 8)),
        (400,),
    ),
    Shape(
        "a damaged Parquet file of 64 MiB",
        lambda: _request(
            "PUT", "/v1/datasets/odd?format=parquet", b"PAR1" + b"\0" * (MOST - 8) + b"PAR1"
        ),
        (400,),
    ),
    # The Open Inference Protocol.
    Shape("64 MiB of data", lambda: _post(_INFER, _data(b"1")), (422,)),
    Shape("64 MiB of data in rows", lambda: _post(_INFER, _data(b"[1,2]")), (422,)),
    Shape("64 MiB of data that are strings", lambda: _post(_INFER, _data(b'"1"')), (422,)),
    Shape(
        "a shape of 10,000 lengths",
        lambda: _post(
            _INFER,
            (
                b'{"inputs":[{"name":"embeddings","datatype":"FP32","parameters":'
                b'{"binary_data_size":4},"shape":['
                + b",".join([b"9007199254740992"] * 9999)
                + b"]}]}"
            ),
        ),
        (400, 422),
    ),
    Shape(
        "options with hidden members",
        lambda: _post(
            _INFER,
            _infer(
                '"parameters":{"options":"{'
                + ",".join(rf"\"noise_st{number}\"\u003a1" for number in range(30_000))
                + '}"}'
            ),
        ),
        (413, 422),
    ),
    Shape(
        "a binary tensor of another size",
        lambda: _request(
            "POST", _INFER, b"{}" + b"\0" * (MOST - 2), {"Inference-Header-Content-Length": "2"}
        ),
        (400, 422),
    ),
    Shape(
        "a stated length of 5,000 digits",
        lambda: _request("POST", _INFER, b"{}", {"Inference-Header-Content-Length": _DIGITS}),
        (400,),
    ),
    Shape(
        "4 MiB of empty gzip members",
        lambda: _post(
            _INFER, gzip.compress(b"") * (4 * MIB // 20), {**_JSON, "Content-Encoding": "gzip"}
        ),
        (400,),
    ),
    Shape(
        "64 MiB of zeros in 64 KiB",
        lambda: _post(_INFER, gzip.compress(b"0" * MOST), {**_JSON, "Content-Encoding": "gzip"}),
        (400, 413),
    ),
    # Experiments.
    Shape(
        "integers between ±1.7e308",
        lambda: _experiment('{"random":{"max_steps":{"low":-1.7e308,"high":1.7e308}},"count":100}'),
        (422,),
    ),
    Shape(
        "a sweep of 10,000 faulty trials",
        lambda: _experiment('{"grid":{"max_steps":[' + ",".join(["-1"] * 10_000) + "]}}"),
        (422,),
    ),
    Shape(
        "a sweep with a huge product",
        lambda: _experiment(
            '{"grid":{'
            + ",".join(f'"x{number}":[{",".join(["1"] * 500)}]' for number in range(900))
            + "}}"
        ),
        (422,),
    ),
    Shape(
        "a sweep with a huge product of known fields",
        lambda: _experiment(
            '{"grid":{'
            + ",".join(
                f'"{name}":[{",".join(["0.1"] * 9000)}]'
                for name in ("noise_std", "max_steps", "spawn.threshold", "max_active_flows")
            )
            + "}}"
        ),
        (422,),
    ),
    Shape(
        "10,000 seeds, all the same",
        lambda: _experiment("null", "[" + ",".join(["0"] * 10_000) + "]"),
        (422,),
    ),
    # Lines and headers.
    Shape("a path of 1 MiB", lambda: _request("GET", "/v1/runs/" + "x" * MIB), (400, 404, 431)),
    Shape(
        "a million query parameters",
        lambda: _request("GET", "/v1/runs?" + "a&" * 1_000_000),
        (400, 413, 431),
    ),
    Shape(
        "30,000 query parameters",
        lambda: _request("GET", "/v1/runs?" + "a=1&" * 15_000),
        (413, 422),
    ),
    Shape(
        "20,000 escapes in a query",
        lambda: _request("GET", "/v1/runs?cursor=" + "%41" * 20_000),
        (422,),
    ),
    Shape(
        "a cursor of digits", lambda: _request("GET", "/v1/runs?cursor=" + "MTEx" * 15_000), (422,)
    ),
    Shape("a limit of 5,000 digits", lambda: _request("GET", f"/v1/runs?limit={_DIGITS}"), (422,)),
    Shape("60 KB of cookies", lambda: _long("Cookie", "a=1; " * (_HEAD // 5)), (200,)),
    Shape(
        "60 KB of Accept",
        lambda: _long("Accept", "a/b;q=0.1," * (_HEAD // 10), "/v1/models/default"),
        (406,),
    ),
    Shape(
        "60 KB of weights in Accept",
        lambda: _long("Accept", "a/b" + ";q=1" * (_HEAD // 4), "/v1/models/default"),
        (406,),
    ),
    Shape(
        "60 KB of If-None-Match", lambda: _long("If-None-Match", '"a",' * (_HEAD // 4), "/"), (200,)
    ),
    Shape(
        "5,000 ranges",
        lambda: _request(
            "GET",
            f"/v1/datasets/{DATASET}?format=safetensors",
            headers={"Range": "bytes=" + ",".join(f"{n}-{n}" for n in range(5000))},
        ),
        (200,),
    ),
    Shape(
        "an Idempotency-Key of 60 KB",
        lambda: _post(
            "/v1/runs", _rows(_ROW, size=1000), {**_JSON, "Idempotency-Key": "k" * _HEAD}
        ),
        (422,),
    ),
    Shape(
        "an Idempotency-Key and 64 MiB",
        lambda: _post("/v1/runs", _rows(_ROW, b',["x"]'), {**_JSON, "Idempotency-Key": "key"}),
        (422,),
    ),
    Shape(
        "a Last-Event-ID of 5,000 digits",
        lambda: _long("Last-Event-ID", _DIGITS, "/v1/runs/none/events"),
        (404,),
    ),
    Shape(
        "chunks of one byte",
        lambda: (
            b"POST /v1/simulate HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"1\r\n \r\n" * (4 * MIB)
            + b"0\r\n\r\n"
        ),
        (400, 413),
    ),
)
