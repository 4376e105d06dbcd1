"""A file of embeddings that is written part by part."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from energy_flow.client.connection import write_atomically
from service.cli.input.failures import EXIT_USAGE, CommandFailed
from service.safetensors_header import dtype_of, make_header
from service.store.npy_file import NPY_HEADER_BYTES, npy_header

SUFFIXES = (".npy", ".safetensors")
TENSOR = "embeddings"
"""Name of the tensor in a ``.safetensors`` file."""


def check_output(path: Path, *, force: bool) -> None:
    """Refuse a path to which embeddings cannot be written.

    Args:
        path: the path.
        force: whether a file may be replaced.

    Raises:
        CommandFailed: the suffix belongs to no format, or there is a file or a folder.
    """
    if path.suffix.lower() not in SUFFIXES:
        known = " or ".join(SUFFIXES)
        raise CommandFailed(f"{path} must end in {known}; choose another --out", EXIT_USAGE)
    if path.is_dir():
        raise CommandFailed(f"{path} is a folder; choose another --out")
    if path.exists() and not force:
        raise CommandFailed(f"{path} exists; replace it with --force, or choose another --out")


def write_embeddings(path: Path, parts: Iterable[NDArray[np.float32]]) -> tuple[int, int]:
    """Write embeddings as a file that appears complete or not at all.

    Args:
        path: path of the file, which :func:`check_output` has accepted.
        parts: consecutive rows, float32 [rows, dimension].

    Returns:
        The number of rows, and the numbers in a row.

    Raises:
        CommandFailed: there are no rows.
        OSError: the file cannot be written.
    """
    count = width = 0
    with write_atomically(path) as file:
        # Its shape is known at the end.
        file.seek(NPY_HEADER_BYTES)
        for part in parts:
            file.write(np.ascontiguousarray(part).data)
            count, width = count + len(part), part.shape[1]
        if not count:
            raise CommandFailed("there are no texts; at least one is needed")
        file.seek(0)
        file.write(_make_header(path, (count, width)))
    return count, width


def _make_header(path: Path, shape: tuple[int, int]) -> bytes:
    numbers = np.dtype(np.float32)
    if path.suffix.lower() == ".npy":
        return npy_header(numbers, shape)
    return make_header({TENSOR: (dtype_of(np.empty(0, numbers)), shape)}, NPY_HEADER_BYTES)
