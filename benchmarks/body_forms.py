"""``Form``: a form in which rows can be sent, and bodies of some size in it."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

WIDTH = 8192
"""Numbers of a row. Few rows are many bytes, so that they cost little to simulate."""

SIMULATE = "/v1/simulate"
RUNS = "/v1/runs"
INFER = "/v2/models/energy_flow/infer"
HEADER_LENGTH = "Inference-Header-Content-Length"
OPTIONS = {"max_steps": 2}

JSON = {"Content-Type": "application/json"}
NPY = {"Content-Type": "application/x-npy"}
TENSORS = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class Form:
    """A form of bodies.

    Attributes:
        name: what it is called.
        path: where it is sent to.
        make: returns a body that has about a number of bytes once it is decoded.
        fixed_headers: headers of every body.
        is_short: whether it is measured in a short run.
    """

    name: str
    path: str
    make: Callable[[int], bytes]
    fixed_headers: Mapping[str, str] = field(default_factory=dict)
    is_short: bool = False

    def headers(self, body: bytes) -> dict[str, str]:
        """Return the headers of a body.

        Args:
            body: made by :attr:`make`.
        """
        if HEADER_LENGTH not in self.fixed_headers:
            return dict(self.fixed_headers)
        return {**self.fixed_headers, HEADER_LENGTH: str(body.index(b"\n") + 1)}


def _numbers(count: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(-0.1, 0.1, count)


def _row_text(digits: bool) -> str:
    if digits:
        return ",".join(str(number % 2) for number in range(WIDTH))
    return ",".join(repr(float(number)) for number in _numbers(WIDTH))


def _rows(size: int, *, digits: bool = False) -> bytes:
    row = f"[{_row_text(digits)}]"
    rows = ",".join([row] * (size // (len(row) + 1)))
    return f'{{"options":{json.dumps(OPTIONS)},"embeddings":[{rows}]}}'.encode()


def _one_row(size: int) -> bytes:
    row = _row_text(digits=False)
    return f'{{"embeddings":[[{",".join([row] * (size // (len(row) + 1)))}]]}}'.encode()


def _array(size: int, dtype: str) -> NDArray[np.floating]:
    row = _numbers(WIDTH).astype(dtype)
    return np.tile(row, (size // row.nbytes, 1))


def _npy(size: int, dtype: str = "<f4") -> bytes:
    file = io.BytesIO()
    np.save(file, _array(size, dtype))
    return file.getvalue()


def _tensors(size: int) -> bytes:
    request = np.frombuffer(json.dumps({"options": OPTIONS}).encode(), np.uint8)
    return save({"embeddings": _array(size, "<f4"), "request": request})


def _inference(size: int) -> bytes:
    row = _row_text(digits=False)
    count = size // (len(row) + 1)
    return _describe_inference(count, f'"data":[{",".join([row] * count)}]')


def _binary_inference(size: int) -> bytes:
    array = _array(size, "<f4")
    parameters = f'"parameters":{{"binary_data_size":{array.nbytes}}}'
    return _describe_inference(len(array), parameters) + b"\n" + array.tobytes()


def _describe_inference(rows: int, data: str) -> bytes:
    options = json.dumps(json.dumps(OPTIONS))
    return (
        f'{{"parameters":{{"options":{options}}},"inputs":[{{"name":"embeddings",'
        f'"datatype":"FP32","shape":[{rows},{WIDTH}],{data}}}]}}'
    ).encode()


def _gzip(make: Callable[[int], bytes]) -> Callable[[int], bytes]:
    return lambda size: gzip.compress(make(size), 1)


def _zstd(make: Callable[[int], bytes]) -> Callable[[int], bytes]:
    return lambda size: zstd.compress(make(size), 1)


_GZIP = {"Content-Encoding": "gzip"}
_ZSTD = {"Content-Encoding": "zstd"}
_NPY_PATH = f"{SIMULATE}?options=%7B%22max_steps%22:2%7D"

FORMS = (
    Form("JSON rows", SIMULATE, _rows, JSON, is_short=True),
    Form("JSON row", SIMULATE, _one_row, JSON, is_short=True),
    Form("JSON digits", SIMULATE, lambda size: _rows(size, digits=True), JSON, is_short=True),
    Form("JSON rows, run", RUNS, _rows, JSON),
    Form("JSON rows, gzip", SIMULATE, _gzip(_rows), JSON | _GZIP),
    Form("JSON row, zstd", SIMULATE, _zstd(_one_row), JSON | _ZSTD, is_short=True),
    Form("npy", _NPY_PATH, _npy, NPY, is_short=True),
    Form("npy float16", _NPY_PATH, lambda size: _npy(size, "<f2"), NPY),
    Form("npy, gzip", _NPY_PATH, _gzip(_npy), NPY | _GZIP),
    Form("npy, zstd", _NPY_PATH, _zstd(_npy), NPY | _ZSTD),
    Form("safetensors", SIMULATE, _tensors, TENSORS),
    Form("safetensors, zstd", SIMULATE, _zstd(_tensors), TENSORS | _ZSTD),
    Form("v2 JSON", INFER, _inference, JSON, is_short=True),
    Form("v2 JSON, gzip", INFER, _gzip(_inference), JSON | _GZIP),
    Form("v2 bytes", INFER, _binary_inference, TENSORS | {HEADER_LENGTH: ""}),
)
"""All forms."""
