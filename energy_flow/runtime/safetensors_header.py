"""The header of a ``.safetensors`` file, which states its tensors and where their bytes are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import IO, Any, Final

import orjson

MAX_HEADER_BYTES: Final = 2**20
"""Largest header, which is parsed at once; it has room for ten thousand tensors."""

MAX_AXES: Final = 64
"""Most axes of a tensor, as in NumPy. Multiplying the lengths of many more takes minutes."""

_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class SafetensorsError(ValueError):
    """A file is no ``.safetensors`` file, or a damaged one."""


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
        metadata: Texts by name.
    """

    bytes: int
    tensors: tuple[TensorEntry, ...]
    metadata: dict[str, str]

    @property
    def promised_bytes(self) -> int:
        """Bytes of all tensors together."""
        return self.tensors[-1].end if self.tensors else 0


def parse_header(start: bytes) -> SafetensorsHeader | None:
    """Return the header of a file; ``None`` while it is incomplete.

    Args:
        start: The first bytes of the file.

    Raises:
        SafetensorsError: It is no such file.
    """
    if start.startswith(_PICKLES):
        raise SafetensorsError("it is a pickle, as torch.save writes it; pickles are never read")
    if len(start) < 8:
        return None
    length = int.from_bytes(start[:8], "little")
    if length > MAX_HEADER_BYTES and start[8:9] in (b"", b"{"):
        raise SafetensorsError(f"its header may have {MAX_HEADER_BYTES:,} bytes and has {length:,}")
    if length < 2 or (len(start) > 8 and start[8:9] != b"{"):
        raise SafetensorsError("it does not begin with the length of a header and the header")
    if len(start) < 8 + length:
        return None
    try:
        document = orjson.loads(start[8 : 8 + length])
    except orjson.JSONDecodeError as error:
        raise SafetensorsError(f"its header is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise SafetensorsError("its header is not a JSON object")
    metadata = document.pop("__metadata__", None)
    return SafetensorsHeader(8 + length, _parse_tensors(document), _parse_metadata(metadata))


def read_header(file: IO[bytes]) -> SafetensorsHeader:
    """Return the header of a complete file.

    Args:
        file: Open for reading.

    Raises:
        SafetensorsError: It is no such file, or it has not as many bytes as its header states.
        OSError: It cannot be read.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(8)
    header = parse_header(start)
    if len(start) == 8:
        # Its length has been checked.
        header = parse_header(start + file.read(int.from_bytes(start, "little")))
    if header is None:
        raise SafetensorsError("it ends within its header")
    held = size - header.bytes
    if held != header.promised_bytes:
        raise SafetensorsError(
            f"its header states {header.promised_bytes:,} bytes of numbers, and it has {held:,}"
        )
    return header


def _parse_metadata(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict):
        return {}
    return {name: text for name, text in metadata.items() if isinstance(text, str)}


def _parse_tensors(document: dict[str, Any]) -> tuple[TensorEntry, ...]:
    entries = (_parse_entry(name, entry) for name, entry in document.items())
    tensors = tuple(sorted(entries, key=lambda entry: (entry.start, entry.end)))
    position = 0
    for entry in tensors:
        if entry.start != position:
            raise SafetensorsError(f"the bytes of {entry.name!r} do not follow those before them")
        position = entry.end
    return tensors


def _parse_entry(name: str, entry: Any) -> TensorEntry:
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]}:
            if len(shape) > MAX_AXES:
                raise SafetensorsError(
                    f"{name!r} has {len(shape):,} axes; at most {MAX_AXES} are read"
                )
            is_shape = all(type(length) is int and length >= 0 for length in shape)
            if is_shape and 0 <= start <= end:
                return TensorEntry(name, dtype, tuple(shape), start, end)
    raise SafetensorsError(f"its header does not describe {name!r} properly")
