"""The header of a ``.safetensors`` file, parsed while the file arrives or made for a new file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from numpy.typing import NDArray

from energy_flow.runtime import safetensors_header
from energy_flow.runtime.safetensors_header import SafetensorsError, SafetensorsHeader
from service.problems import Problem

_DTYPES = {"bool": "BOOL", "int32": "I32", "float32": "F32"}
_ITEM_BYTES = {"BOOL": 1, "I32": 4, "F32": 4}


def parse_header(start: bytes, size: int | None) -> SafetensorsHeader | None:
    """Return the header of a file; ``None`` while it is incomplete.

    Args:
        start: The first bytes of the file.
        size: Size of the file in bytes, if known.

    Raises:
        Problem: 400, it is no such file, or it has another size than the header states.
    """
    try:
        header = safetensors_header.parse_header(start)
    except SafetensorsError as error:
        raise _refused(str(error)) from None
    if header is None:
        return None
    if size is not None and size != header.bytes + header.promised_bytes:
        raise wrong_length(header.promised_bytes, size - header.bytes)
    return header


def make_header(
    tensors: Mapping[str, tuple[str, Sequence[int]]], length: int | None = None
) -> bytes:
    """Return the beginning of a file; the tensors' bytes follow in the same order.

    Args:
        tensors: Dtype and shape of each tensor by name.
        length: Length of the beginning in bytes; by default the smallest multiple of 8.

    Raises:
        ValueError: The header does not fit in the length.
    """
    entries, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + math.prod(shape) * _ITEM_BYTES[dtype]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = orjson.dumps(entries)
    room = -(-len(text) // 8) * 8 if length is None else length - 8
    if len(text) > room:
        raise ValueError(f"a header of {len(text)} bytes does not fit in {room}")
    return room.to_bytes(8, "little") + text.ljust(room)


def dtype_of(array: NDArray[Any]) -> str:
    """Return the format's name of the dtype of an output."""
    return _DTYPES[array.dtype.name]


def wrong_length(promised: int, held: int) -> Problem:
    """Return 400 for a file that has another size than its header states."""
    return Problem(
        400,
        f"the header states {promised:,} bytes of numbers and the file has {held:,}",
        extra={"promised_bytes": promised, "held_bytes": held},
    )


def ended_in_header() -> Problem:
    """Return 400 for a file that ends within its header."""
    return _refused("it ends within its header")


def _refused(why: str) -> Problem:
    return Problem(400, f"the body is not a .safetensors file, or a damaged one: {why}")
