"""The header of a ``.safetensors`` file, parsed while the file arrives or made for a new file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from numpy.typing import NDArray

from service.problems import Problem

MAX_HEADER_BYTES: Final = 2**20
"""Largest header, which is parsed at once; it has room for ten thousand tensors."""

MAX_AXES: Final = 64
"""Most axes of a tensor, as in NumPy. Multiplying the lengths of many more takes minutes."""

_DTYPES = {"bool": "BOOL", "int32": "I32", "float32": "F32"}
_ITEM_BYTES = {"BOOL": 1, "I32": 4, "F32": 4}

_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor in the header.

    Attributes:
        name: Its name.
        dtype: Its dtype, such as ``F32``.
        shape: Its shape.
        start: Its first byte, counted from the end of the header.
        end: The byte behind its last.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """The header of a file.

    Attributes:
        bytes: Its length, with the eight bytes that state it.
        tensors: Tensors in the order of their bytes, without gaps.
    """

    bytes: int
    tensors: tuple[TensorEntry, ...]

    @property
    def promised_bytes(self) -> int:
        """Bytes of all tensors together."""
        return self.tensors[-1].end if self.tensors else 0


def parse_header(start: bytes, size: int | None) -> SafetensorsHeader | None:
    """Return the header of a file; ``None`` while it is incomplete.

    Args:
        start: The first bytes of the file.
        size: Size of the file in bytes, if known.

    Raises:
        Problem: 400, it is no such file, or it has another size than the header states.
    """
    if start.startswith(_PICKLES):
        raise _refused("it is a pickle, as torch.save writes it; pickles are never read")
    if len(start) < 8:
        return None
    length = int.from_bytes(start[:8], "little")
    if length > MAX_HEADER_BYTES and start[8:9] in (b"", b"{"):
        raise _refused(f"its header may have {MAX_HEADER_BYTES:,} bytes and has {length:,}")
    if length < 2 or (len(start) > 8 and start[8:9] != b"{"):
        raise _refused("it does not begin with the length of a header and the header")
    if len(start) < 8 + length:
        return None
    try:
        document = orjson.loads(start[8 : 8 + length])
        tensors = _parse_tensors(document)
    except orjson.JSONDecodeError as error:
        raise _refused(f"its header is not JSON: {error}") from None
    header = SafetensorsHeader(8 + length, tensors)
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


def _parse_tensors(document: Any) -> tuple[TensorEntry, ...]:
    if not isinstance(document, dict):
        raise _refused("its header is not a JSON object")
    entries = (
        _parse_entry(name, entry) for name, entry in document.items() if name != "__metadata__"
    )
    tensors = tuple(sorted(entries, key=lambda entry: (entry.start, entry.end)))
    position = 0
    for entry in tensors:
        if entry.start != position:
            raise _refused(f"the bytes of {entry.name!r} do not follow those before them")
        position = entry.end
    return tensors


def _parse_entry(name: str, entry: Any) -> TensorEntry:
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]}:
            if len(shape) > MAX_AXES:
                raise _refused(f"{name!r} has {len(shape):,} axes; at most {MAX_AXES} are read")
            is_shape = all(type(length) is int and length >= 0 for length in shape)
            if is_shape and 0 <= start <= end:
                return TensorEntry(name, dtype, tuple(shape), start, end)
    raise _refused(f"its header does not describe {name!r} properly")


def _refused(why: str) -> Problem:
    return Problem(400, f"the body is not a .safetensors file, or a damaged one: {why}")
