"""Arrays in ``.npy`` bodies."""

from __future__ import annotations

import io
from math import prod
from typing import IO, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from energy_flow.errors import Fault
from energy_flow.runtime.safetensors_header import MAX_AXES
from service.problems import Problem, invalid
from service.requests.number_rows import NUMBERS, is_number_dtype

MAX_HEADER_BYTES: Final = 10_000
"""Longest header; NumPy refuses longer ones."""


def read_npy(body: bytes) -> NDArray[Any]:
    """Return the array of a ``.npy`` body as a view of the body.

    Args:
        body: The file. Its header is checked before anything is allocated.

    Raises:
        Problem: 400, it is not such a file, or its length is not the one of its header; 422, its
            numbers are neither floats nor integers.
    """
    stream = io.BytesIO(body)
    shape, is_fortran, dtype = read_npy_header(stream)
    if not is_number_dtype(dtype):
        raise invalid([Fault(("embeddings",), f"must be {NUMBERS}", str(dtype))])
    count = prod(shape)
    offset = stream.tell()
    if len(body) - offset != count * dtype.itemsize:
        raise Problem(
            400,
            f"the .npy header states {count * dtype.itemsize:,} bytes of numbers "
            f"and the body has {len(body) - offset:,}",
        )
    flat = np.frombuffer(body, dtype=dtype, offset=offset)
    return cast("NDArray[Any]", flat.reshape(shape, order="F" if is_fortran else "C"))


def read_npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape, whether the first axis varies fastest, and the dtype of a ``.npy`` file.

    Args:
        stream: At the beginning of the file; afterwards at the beginning of the numbers.

    Raises:
        Problem: 400, it is not such a file.
    """
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            header = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            # NumPy would read all of a long one first.
            length = int.from_bytes(stream.read(4), "little")
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"its header exceeds {MAX_HEADER_BYTES:,} bytes")
            stream.seek(-4, io.SEEK_CUR)
            header = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"version {version[0]}.{version[1]} is not known")
    except Exception as error:
        # numpy evaluates the header as a Python literal, which can fail in many ways.
        raise Problem(400, f"the body is not a .npy file: {error}") from None
    shape = header[0]
    # For NumPy, True is an axis of one entry in a header, but not in an array.
    are_lengths = all(type(length) is int and 0 <= length < 2**63 for length in shape)
    if len(shape) > MAX_AXES or not are_lengths:
        raise Problem(400, "the body is not a .npy file: no array has the shape of its header")
    return header
