"""The header of a ``.safetensors`` file: read while the file arrives, written before its bytes.

Nothing is executed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from service.problems import Problem

# Enough for tens of thousands of tensors.
LONGEST_HEADER = 8 * 2**20

_ITEM_BYTES = {"F32": 4, "I32": 4}

_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor as the header describes it; its bytes lie from ``start`` to ``end`` behind it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """What a file says of itself.

    Attributes:
        bytes: its length, with what tells it.
        tensors: in the order of their bytes, which follow one another.
    """

    bytes: int
    tensors: tuple[TensorEntry, ...]

    @property
    def promised_bytes(self) -> int:
        """Bytes of all tensors."""
        return self.tensors[-1].end if self.tensors else 0


def parse_header(start: bytes, size: int | None) -> SafetensorsHeader | None:
    """Reads the beginning of a file.

    Args:
        size: of the file, if that is known.

    Returns:
        ``None`` while it is not complete.

    Raises:
        Problem: 400, this is no such file, or not all of it.
    """
    if start.startswith(_PICKLES):
        raise _refused("it is a pickle, as torch.save writes it; pickles are never read")
    if len(start) < 8:
        return None
    length = int.from_bytes(start[:8], "little")
    if not 2 <= length <= LONGEST_HEADER or (len(start) > 8 and start[8:9] != b"{"):
        raise _refused("it does not begin with the length of a header and the header")
    if len(start) < 8 + length:
        return None
    try:
        document = orjson.loads(start[8 : 8 + length])
        tensors = _tensors(document)
    except orjson.JSONDecodeError as error:
        raise _refused(f"its header is not JSON: {error}") from None
    header = SafetensorsHeader(8 + length, tensors)
    if size is not None and size != header.bytes + header.promised_bytes:
        raise wrong_length(header.promised_bytes, size - header.bytes)
    return header


def make_header(
    tensors: Mapping[str, tuple[str, Sequence[int]]], length: int | None = None
) -> bytes:
    """The beginning of a file; the tensors' bytes follow in the same order.

    Args:
        tensors: dtype and shape by name.
        length: of what is returned; by default no more than is needed, and a multiple of 8.

    Raises:
        ValueError: it does not fit in the length.
    """
    told, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + math.prod(shape) * _ITEM_BYTES[dtype]
        told[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = orjson.dumps(told)
    room = -(-len(text) // 8) * 8 if length is None else length - 8
    if len(text) > room:
        raise ValueError(f"a header of {len(text)} bytes does not fit in {room}")
    return room.to_bytes(8, "little") + text.ljust(room)


def wrong_length(promised: int, held: int) -> Problem:
    """400 for a file whose header promises other bytes than it holds."""
    return Problem(
        400,
        f"the header promises {promised:,} bytes of numbers and the file holds {held:,}",
        extra={"promised_bytes": promised, "held_bytes": held},
    )


def ended_in_header() -> Problem:
    """400 for a file that is not even all of its header."""
    return _refused("it ends within its header")


def _tensors(document: Any) -> tuple[TensorEntry, ...]:
    if not isinstance(document, dict):
        raise _refused("its header is not a JSON object")
    entries = (_entry(name, told) for name, told in document.items() if name != "__metadata__")
    tensors = tuple(sorted(entries, key=lambda entry: (entry.start, entry.end)))
    position = 0
    for entry in tensors:
        if entry.start != position:
            raise _refused(f"the bytes of {entry.name!r} do not follow those before them")
        position = entry.end
    return tensors


def _entry(name: str, told: Any) -> TensorEntry:
    match told:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]}:
            sound = all(type(length) is int and length >= 0 for length in shape)
            if sound and 0 <= start <= end:
                return TensorEntry(name, dtype, tuple(shape), start, end)
    raise _refused(f"its header does not describe {name!r} properly")


def _refused(why: str) -> Problem:
    return Problem(400, f"the body is not a .safetensors file, or a damaged one: {why}")
