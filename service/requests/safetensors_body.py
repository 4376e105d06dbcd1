"""Requests and answers as ``.safetensors``: arrays as their bytes, with JSON beside them.

A library that reads such a file from memory returns its tensors, but not its metadata. The JSON is
therefore a tensor too: its UTF-8 text, uint8.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from energy_flow.choices import unknown_name
from energy_flow.runtime.safetensors_header import TensorEntry
from service.problems import Problem
from service.safetensors_header import ended_in_header, parse_header

REQUEST: Final = "request"
"""Name of the tensor with those members of a request that are no tensors."""
ANSWER: Final = "answer"
"""Name of the tensor with those members of an answer that are no tensors."""
TRACE_PREFIX: Final = "trace_"
"""Prefix of the names of a trace's columns."""

_DTYPES: Final[Mapping[str, str]] = {
    "U8": "u1",
    "U16": "<u2",
    "U32": "<u4",
    "U64": "<u8",
    "I8": "i1",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}


def read_header_length(body: bytes) -> int:
    """Return the stated length of the header in bytes; parsing takes time in proportion."""
    return int.from_bytes(body[:8], "little")


def read_tensors(body: bytes) -> dict[str, NDArray[Any]]:
    """Return the tensors by name, as views of the body.

    Args:
        body: The file.

    Raises:
        Problem: 400, the body is not such a file, is incomplete, or has a dtype that numpy lacks.
    """
    header = parse_header(body, len(body))
    if header is None:
        raise ended_in_header()
    return {entry.name: _make_array(body, header.bytes, entry) for entry in header.tensors}


def write_tensors(arrays: Mapping[str, NDArray[Any]], texts: Mapping[str, bytes]) -> bytes:
    """Return the file of some tensors.

    Args:
        arrays: Arrays by the name of their tensor.
        texts: JSON texts by the name of their tensor.
    """
    encoded = {name: np.frombuffer(text, dtype=np.uint8) for name, text in texts.items()}
    ordered = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save({**encoded, **ordered})


def _make_array(body: bytes, offset: int, entry: TensorEntry) -> NDArray[Any]:
    if entry.dtype not in _DTYPES:
        message = f"the tensor {entry.name!r} has the dtype {entry.dtype!r}"
        raise Problem(400, f"{message}; {unknown_name(entry.dtype, _DTYPES)}")
    dtype, count = np.dtype(_DTYPES[entry.dtype]), prod(entry.shape)
    if entry.end - entry.start != count * dtype.itemsize:
        raise Problem(
            400,
            f"the tensor {entry.name!r} has {entry.end - entry.start:,} bytes, but its shape and "
            f"dtype need {count * dtype.itemsize:,}",
        )
    flat = np.frombuffer(body, dtype=dtype, count=count, offset=offset + entry.start)
    return flat.reshape(entry.shape)
