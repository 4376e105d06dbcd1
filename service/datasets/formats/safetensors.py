"""Datasets as ``.safetensors``: a tensor of embeddings, and an optional one of targets."""

from __future__ import annotations

from math import prod

import numpy as np

from energy_flow.runtime.safetensors_header import SafetensorsHeader, TensorEntry
from service.datasets.formats.rows import RowBytes, Rows
from service.problems import Problem
from service.requests.columns import choose_columns
from service.requests.safetensors_body import BFLOAT16, DTYPES, ROWS_ARE, describe_tensor
from service.safetensors_header import ended_in_header, parse_header, wrong_length


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
        columns = [describe_tensor(tensor) for tensor in header.tensors]
        chosen = choose_columns(columns, self._rows.selection, ROWS_ARE)
        tensors = {part: named[names[0]] for part, names in chosen.parts.items()}
        self._rows.refuse(*chosen.faults)
        self._rows.raise_faults()
        self._rows.source = chosen.describe("tensor")
        for part, tensor in tensors.items():
            width = 1 if len(tensor.shape) == 1 else tensor.shape[1]
            self._rows.check_shape(tensor.name, (tensor.shape[0], width))
            dtype = None if tensor.dtype == BFLOAT16 else np.dtype(DTYPES[tensor.dtype])
            _check_length(tensor, 2 if dtype is None else dtype.itemsize)
            self._matrices[tensor.name] = RowBytes(self._rows, part, tensor.name, dtype, width)
        self._rows.raise_faults()
        if "targets" in tensors:
            self._rows.check_equally_many(tensors["inputs"].shape[0], tensors["targets"].shape[0])
            self._rows.raise_faults()
        self._rows.expect(sum(prod(tensor.shape) for tensor in tensors.values()))


def _check_length(tensor: TensorEntry, item_bytes: int) -> None:
    """Refuse a tensor with another number of bytes than its shape and type need.

    Raises:
        Problem: 400.
    """
    expected = prod(tensor.shape) * item_bytes
    if tensor.end - tensor.start != expected:
        raise Problem(
            400,
            f"the tensor {tensor.name!r} has {tensor.end - tensor.start:,} bytes; its shape "
            f"and type need {expected:,}",
        )
