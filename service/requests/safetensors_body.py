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

from energy_flow.array_likes import one_row_is
from energy_flow.choices import unknown_name
from energy_flow.runtime.safetensors_header import TensorEntry
from service.problems import Problem
from service.requests.columns import Column, Content
from service.requests.number_rows import is_number_dtype, widen_bfloat16
from service.safetensors_header import ended_in_header, parse_header

REQUEST: Final = "request"
"""Name of the tensor with those members of a request that are no tensors."""
ANSWER: Final = "answer"
"""Name of the tensor with those members of an answer that are no tensors."""
TRACE_PREFIX: Final = "trace_"
"""Prefix of the names of a trace's columns."""

DTYPES: Final[Mapping[str, str]] = {
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
"""Dtypes of numbers by their name in the header."""

ROWS_ARE: Final = "a tensor [rows, numbers] of F16, BF16, F32, F64 or integers"
"""What a tensor of embeddings must be, for messages."""

BFLOAT16: Final = "BF16"
"""A dtype of numbers that NumPy does not have."""


def read_header_length(body: bytes) -> int:
    """Return the stated length of the header in bytes; parsing takes time in proportion."""
    return int.from_bytes(body[:8], "little")


def read_tensors(body: bytes) -> dict[str, NDArray[Any]]:
    """Return the tensors by name, as views of the body; those of bfloat16 as copies in float32.

    Args:
        body: The file.

    Raises:
        Problem: 400, the body is not such a file, is incomplete, or has a dtype that numpy lacks.
    """
    header = parse_header(body, len(body))
    if header is None:
        raise ended_in_header()
    return {entry.name: _make_array(body, header.bytes, entry) for entry in header.tensors}


def describe_tensor(tensor: TensorEntry) -> Column:
    """Return a tensor as a column of its file: a matrix has rows, a vector a number a row."""
    is_number = tensor.dtype in DTYPES or tensor.dtype == BFLOAT16
    return _describe(tensor.name, tensor.shape, tensor.dtype, is_number=is_number)


def describe_array(name: str, array: NDArray[Any]) -> Column:
    """Return a tensor that was read as a column of its file, as :func:`describe_tensor`."""
    is_number = is_number_dtype(array.dtype)
    return _describe(name, array.shape, str(array.dtype), is_number=is_number)


def _describe(name: str, shape: tuple[int, ...], dtype: str, *, is_number: bool) -> Column:
    contents = {2: Content.ROWS, 1: Content.NUMBER} if is_number else {}
    description = f"{dtype} {list(shape)}"
    if len(shape) == 1:
        description = f"{description}; {one_row_is(shape[0])}"
    return Column(name, contents.get(len(shape), Content.OTHER), description)


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
    is_bfloat16 = entry.dtype == BFLOAT16
    if entry.dtype not in DTYPES and not is_bfloat16:
        message = f"the tensor {entry.name!r} has the dtype {entry.dtype!r}"
        raise Problem(400, f"{message}; {unknown_name(entry.dtype, (*DTYPES, BFLOAT16))}")
    dtype, count = np.dtype("<u2" if is_bfloat16 else DTYPES[entry.dtype]), prod(entry.shape)
    if entry.end - entry.start != count * dtype.itemsize:
        raise Problem(
            400,
            f"the tensor {entry.name!r} has {entry.end - entry.start:,} bytes, but its shape and "
            f"dtype need {count * dtype.itemsize:,}",
        )
    if is_bfloat16:
        widened = widen_bfloat16(memoryview(body)[offset + entry.start : offset + entry.end])
        return widened.reshape(entry.shape)
    flat = np.frombuffer(body, dtype=dtype, count=count, offset=offset + entry.start)
    return flat.reshape(entry.shape)
