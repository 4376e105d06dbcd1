"""Embeddings as arrays, and bodies that hold arrays as bytes.

A body is a ``.safetensors`` file, in which one tensor holds all else as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from energy_flow.array_likes import as_matrix, one_row_is
from energy_flow.client.errors import UnexpectedAnswer
from energy_flow.client.json_values import dump_json

MEDIA_TYPE = "application/octet-stream"

_TRACE_PREFIX = "trace_"


def request_body(embeddings: NDArray[Any], members: Mapping[str, Any]) -> bytes:
    """Return the body of a request to simulate.

    Args:
        embeddings: [rows, dimension].
        members: the other members of the request.

    Raises:
        ValueError: a number among them is missing, masked, infinite or not a number.
    """
    text = dump_json(dict(members))
    return save({"embeddings": embeddings, "request": np.frombuffer(text, dtype=np.uint8)})


def read_answer(body: bytes) -> dict[str, Any]:
    """Return the members of an answer, with arrays for its outputs and its trace records.

    Raises:
        UnexpectedAnswer: the body is no such answer.
    """
    try:
        tensors = load(body)
        answer = orjson.loads(tensors.pop("answer").data)
        names = [name for name in tensors if name.startswith(_TRACE_PREFIX)]
        records = {name.removeprefix(_TRACE_PREFIX): tensors.pop(name) for name in names}
        return {**answer, "outputs": tensors, "trace": {**answer["trace"], "records": records}}
    except (SafetensorError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UnexpectedAnswer(f"the tensors of the answer cannot be read: {error!r}") from None


def embeddings_array(embeddings: ArrayLike) -> NDArray[Any]:
    """Return embeddings as a C-contiguous array [rows, dimension] of float32 or float64.

    float16 and integers become float32. float64 is left to the server, which distinguishes a number
    beyond float32 from infinity.

    Args:
        embeddings: rows of numbers: an array, tensor, data frame, column of lists or nested list,
            or the answer of an embeddings API.

    Raises:
        ValueError: they are not numbers, not rows of one length, or a value is masked or missing.
    """
    array = as_matrix(embeddings)
    if array.ndim != 2:
        message = f"embeddings must be rows, [rows, dimension], not {list(array.shape)}"
        if array.ndim == 1:
            message = f"{message}; {one_row_is(len(array))}"
        raise ValueError(message)
    if array.dtype not in (np.float32, np.float64):
        is_wide = array.dtype.kind == "f" and array.dtype.itemsize > np.dtype(np.float64).itemsize
        array = array.astype(np.float64 if is_wide else np.float32)
    return np.ascontiguousarray(array)
