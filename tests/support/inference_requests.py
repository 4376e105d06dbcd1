"""Requests for tests of the protocol."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.support.servers import rows

INFER = "/v2/models/energy_flow/infer"
HEADER = "Inference-Header-Content-Length"
TRACE = ("seq", "step", "kind", "sample", "flow", "parent", "code", "plane")
TRACE_FLOATS = ("x", "y", "z", "energy", "length")
KINDS = ("spawn", "reflect", "terminate")


def make_request(array: NDArray[Any] | None = None, **members: Any) -> dict[str, Any]:
    """Return a request in JSON."""
    array = rows() if array is None else array
    tensor = {"name": "embeddings", "shape": list(array.shape), "datatype": "FP32"}
    return {"inputs": [{**tensor, "data": array.ravel().tolist()}], **members}


def make_binary_request(
    array: NDArray[Any], datatype: str, **members: Any
) -> tuple[bytes, dict[str, str]]:
    """Return a body with a tensor as bytes behind its JSON, and its headers."""
    data = array.tobytes()
    shape = list(array.shape)
    tensor: dict[str, Any] = {"name": "embeddings", "shape": shape, "datatype": datatype}
    tensor["parameters"] = {"binary_data_size": len(data)}
    head = json.dumps({"inputs": [tensor], **members}).encode()
    return head + data, {HEADER: str(len(head))}


def simulate(client: httpx.Client, array: NDArray[np.float32], **fields: Any) -> dict[str, Any]:
    """Return the answer of ``POST /v1/simulate``."""
    answer = client.post("/v1/simulate", json={"embeddings": array.tolist(), **fields})
    answer.raise_for_status()
    content: dict[str, Any] = answer.json()
    return content


def read_refusal(answer: httpx.Response, status: int) -> str:
    """Return the message of a refusal."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    content: dict[str, str] = answer.json()
    assert list(content) == ["error"]
    return content["error"]
