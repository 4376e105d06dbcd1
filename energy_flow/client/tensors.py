"""Bodies that hold arrays as their bytes: ``.safetensors``, with all else as JSON in one tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from energy_flow.client.errors import UnexpectedAnswer

MEDIA_TYPE = "application/octet-stream"

_TRACE_PREFIX = "trace_"


def request_body(embeddings: NDArray[Any], members: Mapping[str, Any]) -> bytes:
    """Embeddings, and the other members of a request."""
    text = orjson.dumps(dict(members), option=orjson.OPT_SERIALIZE_NUMPY)
    return save({"embeddings": embeddings, "request": np.frombuffer(text, dtype=np.uint8)})


def read_answer(body: bytes) -> dict[str, Any]:
    """The members of an answer, with arrays for its outputs and its trace records.

    Raises:
        UnexpectedAnswer: it is no such body.
    """
    try:
        tensors = load(body)
        answer = orjson.loads(tensors.pop("answer").data)
        names = [name for name in tensors if name.startswith(_TRACE_PREFIX)]
        records = {name.removeprefix(_TRACE_PREFIX): tensors.pop(name) for name in names}
        return {**answer, "outputs": tensors, "trace": {**answer["trace"], "records": records}}
    except (SafetensorError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UnexpectedAnswer(f"the answer's tensors cannot be read: {error!r}") from None
