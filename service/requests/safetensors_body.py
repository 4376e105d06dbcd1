"""Requests and answers as ``.safetensors``: arrays as their bytes, with JSON beside them.

A library that reads such a file from memory gives its tensors and not its metadata, so the JSON is
a tensor too: its UTF-8 text, uint8.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from service.problems import Problem
from service.safetensors_header import TensorEntry, ended_in_header, parse_header

SAFETENSORS: Final = "application/octet-stream"
"""The media type of such files, as elsewhere in this service."""

REQUEST: Final = "request"
"""The tensor with a request's members, but those that are tensors."""
ANSWER: Final = "answer"
"""The tensor with an answer's members, but those that are tensors."""
TRACE_PREFIX: Final = "trace_"
"""Of the names of a trace's columns."""

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


def header_bytes(body: bytes) -> int:
    """How long such a body's header says that it is; parsing it takes accordingly."""
    return int.from_bytes(body[:8], "little")


def read_tensors(body: bytes) -> dict[str, NDArray[Any]]:
    """The tensors by name, as views of the body.

    Raises:
        Problem: 400, this is no such body or not all of it, or it has a type that numpy has not.
    """
    header = parse_header(body, len(body))
    if header is None:
        raise ended_in_header()
    return {entry.name: _array(body, header.bytes, entry) for entry in header.tensors}


def write_tensors(arrays: Mapping[str, NDArray[Any]], text: Mapping[str, bytes]) -> bytes:
    """Such a body.

    Args:
        text: JSON by the name of its tensor.
    """
    told = {name: np.frombuffer(json, dtype=np.uint8) for name, json in text.items()}
    held = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save({**told, **held})


def _array(body: bytes, offset: int, entry: TensorEntry) -> NDArray[Any]:
    if entry.dtype not in _DTYPES:
        known = ", ".join(_DTYPES)
        said = f"the tensor {entry.name!r} has the type {entry.dtype!r}; known are {known}"
        raise Problem(400, said)
    dtype, count = np.dtype(_DTYPES[entry.dtype]), prod(entry.shape)
    if entry.end - entry.start != count * dtype.itemsize:
        raise Problem(
            400,
            f"the tensor {entry.name!r} has {entry.end - entry.start:,} bytes, and its shape and "
            f"type make {count * dtype.itemsize:,}",
        )
    flat = np.frombuffer(body, dtype=dtype, count=count, offset=offset + entry.start)
    return flat.reshape(entry.shape)
