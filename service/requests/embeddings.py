"""Embeddings from bytes: JSON or ``.npy`` to float32 [rows, dimension], without holding up others.

A large JSON document is never parsed as a whole: a parser keeps the interpreter's lock until it is
done, and the event loop would wait for it even though it runs in another thread. The rows are cut
out and parsed a few at a time, straight into numpy, and the rest of the document is small.
"""

from __future__ import annotations

import io
import json
import re
import secrets
from collections.abc import Iterator
from typing import IO, Any, NoReturn, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from energy_flow.errors import Fault
from service.problems import Problem, invalid

# Rows are parsed in pieces of about this size, some 0.2 ms each.
PIECE_BYTES = 32 * 1024

_START = re.compile(rb'"embeddings"[ \t\r\n]*:[ \t\r\n]*\[[ \t\r\n]*(?=\[)')
_SPACE = b" \t\r\n"
_NUMERIC = b"0123456789+-.eE,[] \t\r\n"
_FLOAT32_MAX = float(np.finfo(np.float32).max)
NPY_KINDS = ("<f2", "<f4", "<f8", ">f2", ">f4", ">f8")


def read_json(body: bytes) -> Any:
    """The document.

    Raises:
        Problem: 400, it is not JSON (NaN and Infinity are not).
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "infinity" not in str(error):
            raise _malformed(error) from None
    # Such as 1e999: sound JSON, only not a double. The caller is told which number it is.
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _malformed(error) from None


def read_request(body: bytes) -> tuple[dict[str, Any], NDArray[np.float64] | None, list[Fault]]:
    """The members of a JSON request without its embeddings, those as numbers, and their faults.

    Numbers are float64 [rows, dimension], not yet checked for range; ``None`` if there are none, or
    faults.

    Raises:
        Problem: 400, it is not JSON, or not an object.
    """
    if len(body) > PIECE_BYTES:
        quick = _read_in_pieces(body)
        if quick is not None:
            return quick[0], quick[1], []
    document = read_json(body)
    if not isinstance(document, dict):
        raise Problem(400, f"the body must be a JSON object, not {_json_name(document)}")
    rows = document.pop("embeddings", None)
    if rows is None:
        return document, None, []
    faults = faults_of_rows(rows)
    if faults:
        return document, None, faults
    return document, np.array(rows, dtype=np.float64), []


def _read_in_pieces(body: bytes) -> tuple[dict[str, Any], NDArray[np.float64]] | None:
    """As :func:`read_request`, or ``None`` where anything is out of the ordinary."""
    start = _START.search(body)
    if start is None:
        return None
    parts: list[NDArray[np.float64]] = []
    dimension: int | None = None
    position = start.end()
    while True:
        end, last = _some_rows(body, position)
        piece = body[position:end]
        if end < 0 or piece.translate(None, _NUMERIC):
            return None
        try:
            part = np.array(orjson.loads(b"[" + piece + b"]"), dtype=np.float64)
        except ValueError:  # ragged, empty or malformed: the slow way finds out where
            return None
        if part.ndim != 2 or dimension not in (None, part.shape[1]):
            return None
        dimension = part.shape[1]
        parts.append(part)
        position = _skip_space(body, end)
        if last:
            break
        position = _skip_space(body, position + 1)
    # What stood for the rows must be what a parser finds there; a text that only looks like them,
    # or a second "embeddings", is left to the slow way.
    marker = secrets.token_hex(16)
    rows_start = body.index(b"[", start.start())
    skeleton = b"%b%b%b" % (body[:rows_start], orjson.dumps(marker), body[position + 1 :])
    try:
        document = orjson.loads(skeleton)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or document.pop("embeddings", None) != marker:
        return None
    return document, np.concatenate(parts)


def _some_rows(body: bytes, position: int) -> tuple[int, bool]:
    """The end of at least one row and about a piece of them, and whether it is the last row.

    Returns:
        (-1, True) where the rows do not go on as rows do.
    """
    end = position
    while True:
        end = body.find(b"]", end) + 1
        if end == 0:
            return -1, True
        after = _skip_space(body, end)
        if body[after : after + 1] == b"]":
            return end, True
        if body[after : after + 1] != b",":
            return -1, True
        if end - position >= PIECE_BYTES:
            return end, False
        end = after


def _skip_space(body: bytes, position: int) -> int:
    while body[position : position + 1] and body[position] in _SPACE:
        position += 1
    return position


def faults_of_rows(
    rows: Any, name: str = "embeddings", first_row: int = 0, width: int | None = None
) -> list[Fault]:
    """What keeps rows from being a rectangle of numbers; the first fault of each sort.

    Args:
        first_row: index of the first of them. width: numbers in each, if that is known.
    """
    if not isinstance(rows, list):
        return [Fault((name,), "must be a list of rows of numbers", rows)]
    if not rows:
        return [Fault((name,), "must hold at least one row", rows)]
    faults: list[Fault] = []
    for index, row in enumerate(rows, first_row):
        if not isinstance(row, list):
            return [Fault((name, index), "must be a list of numbers", row)]
    lengths = [len(row) for row in rows]
    width = lengths[0] if width is None else width
    ragged = next((i for i, length in enumerate(lengths) if length != width), None)
    if ragged is not None:
        said = f"has {lengths[ragged]} numbers, but row 0 has {width}"
        faults.append(Fault((name, first_row + ragged), said, lengths[ragged]))
    faults.extend(_first_not_number(rows, name, first_row))
    return faults


def _first_not_number(rows: list[list[Any]], name: str, first_row: int) -> Iterator[Fault]:
    for i, row in enumerate(rows, first_row):
        for j, value in enumerate(row):
            if isinstance(value, bool) or not isinstance(value, int | float):
                said = f"must be a number, not {_json_name(value)}"
                yield Fault((name, i, j), said, value)
                return
            if isinstance(value, int) and abs(value) > 2**1000:
                # Too long for a double, which the check of ranges works on.
                yield Fault((name, i, j), "is beyond the range of float32", str(value))
                return


def check_numbers(
    numbers: NDArray[Any], dimension: int
) -> tuple[NDArray[np.float32] | None, list[Fault]]:
    """Numbers [rows, dimension] as float32, or the faults that prevent it."""
    faults: list[Fault] = []
    if numbers.ndim != 2:
        said = f"must have the shape [rows, {dimension}]"
        return None, [Fault(("embeddings",), said, list(numbers.shape))]
    if len(numbers) == 0:
        return None, [Fault(("embeddings",), "must hold at least one row", list(numbers.shape))]
    if numbers.shape[1] != dimension:
        said = f"the model expects rows of {dimension} numbers"
        faults.append(Fault(("embeddings",), said, int(numbers.shape[1])))
    unfit = first_unfit(numbers)
    if unfit is not None:
        faults.append(unfit)
    if faults:
        return None, faults
    # A copy, even where the type is right: the array of a .npy body is a view of the body.
    return np.array(numbers, dtype=np.float32, order="C"), []


def first_unfit(
    numbers: NDArray[Any], name: str = "embeddings", first_row: int = 0
) -> Fault | None:
    """The first of the numbers [rows, dimension] that is not finite or beyond float32, if any is.

    Args:
        first_row: index of the first row.
    """
    # NaN compares false, so this finds it as well.
    # A float16 has no such maximum: compared with it, infinity would pass.
    most = _FLOAT32_MAX if numbers.itemsize > 2 else float(np.finfo(np.float16).max)
    sound = np.abs(numbers) <= most
    if sound.all():
        return None
    row, column = (int(index) for index in np.argwhere(~sound)[0])
    value = float(numbers[row, column])
    said = "must be a finite number" if not np.isfinite(value) else "is beyond float32"
    return Fault((name, first_row + row, column), said, value)


def read_npy(body: bytes) -> NDArray[Any]:
    """The array in a ``.npy`` body; its header is checked before anything is allocated.

    Raises:
        Problem: 400, it is not such a file or its length is not what its header says; 422, its
            numbers are not floats.
    """
    stream = io.BytesIO(body)
    shape, fortran, dtype = read_npy_header(stream)
    if dtype.str not in NPY_KINDS:
        said = "must be float16, float32 or float64"
        raise invalid([Fault(("embeddings",), said, str(dtype))])
    count = 1
    for length in shape:
        count *= length
    offset = stream.tell()
    if count < 0 or len(body) - offset != count * dtype.itemsize:
        raise Problem(
            400,
            f"the .npy header promises {count * dtype.itemsize:,} bytes of numbers "
            f"and the body holds {len(body) - offset:,}",
        )
    flat = np.frombuffer(body, dtype=dtype, offset=offset)
    return cast("NDArray[Any]", flat.reshape(shape, order="F" if fortran else "C"))


def read_npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether the first axis varies fastest, and type of the numbers in a ``.npy`` file.

    Raises:
        Problem: 400, it is not such a file.
    """
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(stream)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(stream)
        raise ValueError(f"version {version[0]}.{version[1]} is not known")
    except Exception as error:
        # numpy evaluates the header as a Python literal, which can fail in many ways.
        raise Problem(400, f"the body is not a .npy file: {error}") from None


def _malformed(error: Exception) -> Problem:
    return Problem(400, f"the body is not JSON: {error}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _json_name(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "an object"
