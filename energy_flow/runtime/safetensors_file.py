"""``.safetensors`` files, read a tensor at a time.

They are not mapped into memory, as the library does it: where a mapped file is cut short, the
system ends the process that reads it.
"""

from __future__ import annotations

import math
from typing import IO, Final

import torch
from torch import Tensor

from energy_flow.runtime.safetensors_header import (
    SafetensorsError,
    TensorEntry,
    read_header,
)

DTYPES: Final = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "I64": torch.int64,
    "U64": torch.uint64,
    "F64": torch.float64,
}
"""Dtypes by their name in the header."""


class SafetensorsFile:
    """An open file whose header has been checked.

    Args:
        file: file that is open for reading, and stays open as long as tensors are read.

    Attributes:
        metadata: texts by name.

    Raises:
        SafetensorsError: it is no such file, or is damaged.
        OSError: it cannot be read.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        header = read_header(file)
        self._first = header.bytes
        self._entries = {entry.name: _check(entry) for entry in header.tensors}
        self.metadata = header.metadata

    @property
    def names(self) -> list[str]:
        """Names of the tensors, in the order of their bytes."""
        return list(self._entries)

    def shape(self, name: str) -> list[int]:
        """Return the shape of a tensor."""
        return list(self._entries[name].shape)

    def dtype(self, name: str) -> torch.dtype:
        """Return the dtype of a tensor."""
        return DTYPES[self._entries[name].dtype]

    def read(self, name: str) -> Tensor:
        """Return a tensor, in memory of its own.

        Args:
            name: of the tensor.

        Raises:
            SafetensorsError: the file has become shorter.
            OSError: it cannot be read.
        """
        entry = self._entries[name]
        data = torch.empty(entry.end - entry.start, dtype=torch.uint8)
        self._file.seek(self._first + entry.start)
        rest = data.numpy().data
        while rest:
            count = self._file.readinto(rest)  # type: ignore[attr-defined]
            if not count:
                raise SafetensorsError(f"it ends within the bytes of {name!r}")
            rest = rest[count:]
        return data.view(DTYPES[entry.dtype]).reshape(entry.shape)


def _check(entry: TensorEntry) -> TensorEntry:
    dtype = DTYPES.get(entry.dtype)
    if dtype is None:
        raise SafetensorsError(f"the dtype {entry.dtype} of {entry.name!r} is not known")
    if math.prod(entry.shape) * dtype.itemsize != entry.end - entry.start:
        raise SafetensorsError(f"{entry.name!r} has not as many bytes as its shape needs")
    return entry
