"""Datasets as ``.safetensors``: a tensor of embeddings, and an optional one of targets."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from energy_flow.errors import Fault
from energy_flow.runtime.safetensors_header import SafetensorsHeader, TensorEntry
from service.datasets.formats.names import choose_names
from service.datasets.formats.rows import RowBytes, Rows
from service.problems import Problem
from service.safetensors_header import ended_in_header, parse_header, wrong_length

_DTYPES: dict[str, np.dtype[Any] | None] = {
    "F16": np.dtype("<f2"),
    "BF16": None,
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}


class SafetensorsReader:
    """A reader of ``.safetensors`` files, which ignores tensors of other names.

    Args:
        rows: Receives the rows.
        size: Size of the file in bytes, if known; a wrong one is refused before the numbers
            arrive.
    """

    def __init__(self, rows: Rows, size: int | None) -> None:
        self._rows = rows
        self._size = size
        self._start = b""
        self._header: SafetensorsHeader | None = None
        self._matrices: dict[str, RowBytes] = {}
        self._held = 0
        self._current = 0

    def feed(self, piece: bytes) -> None:
        """Read the next bytes, as :meth:`DatasetReader.feed`."""
        if self._header is None:
            self._start += piece
            self._header = parse_header(self._start, self._size)
            if self._header is None:
                return
            piece, self._start = self._start[self._header.bytes :], b""
            self._begin(self._header)
        tensors = self._header.tensors
        while piece and self._current < len(tensors):
            tensor = tensors[self._current]
            part, piece = piece[: tensor.end - self._held], piece[tensor.end - self._held :]
            self._held += len(part)
            if tensor.name in self._matrices:
                self._matrices[tensor.name].feed(part)
            if self._held == tensor.end:
                self._current += 1
        if piece:
            raise wrong_length(self._held, self._held + len(piece))
        self._rows.raise_faults()

    def finish(self) -> None:
        """Check the end of the file, as :meth:`DatasetReader.finish`."""
        if self._header is None:
            raise ended_in_header()
        if self._held != self._header.promised_bytes:
            raise wrong_length(self._header.promised_bytes, self._held)

    def _begin(self, header: SafetensorsHeader) -> None:
        named = {tensor.name: tensor for tensor in header.tensors}
        chosen, faults = choose_names(named)
        self._rows.refuse(*faults)
        numbers = 0
        for part, name in chosen.items():
            tensor = named[name]
            self._check(tensor)
            numbers += prod(tensor.shape)
            if len(tensor.shape) == 2 and tensor.dtype in _DTYPES:
                self._matrices[name] = RowBytes(
                    self._rows, part, name, _DTYPES[tensor.dtype], tensor.shape[1]
                )
        self._rows.raise_faults()
        if "targets" in chosen:
            shapes = [named[name].shape for name in chosen.values()]
            self._rows.check_equally_many(shapes[0][0], shapes[1][0])
            self._rows.raise_faults()
        self._rows.expect(numbers)

    def _check(self, tensor: TensorEntry) -> None:
        self._rows.check_shape(tensor.name, tensor.shape)
        if tensor.dtype not in _DTYPES:
            message = f"must be one of {', '.join(_DTYPES)}"
            self._rows.refuse(Fault((tensor.name,), message, tensor.dtype))
            return
        dtype = _DTYPES[tensor.dtype]
        expected = prod(tensor.shape) * (2 if dtype is None else dtype.itemsize)
        if tensor.end - tensor.start != expected:
            raise Problem(
                400,
                f"the tensor {tensor.name!r} has {tensor.end - tensor.start:,} bytes; its shape "
                f"and type need {expected:,}",
            )
