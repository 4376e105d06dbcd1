"""The protocol's part of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from service.open_inference.schemas import ErrorAnswer
from service.problems import TITLES

OCTETS = "application/octet-stream"

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": TITLES[status], "model": ErrorAnswer}
    for status in (400, 401, 404, 409, 413, 422, 429, 500, 501, 503, 504, 507)
}
"""Every answer that is not 200, in the protocol's form."""

_JSON = "application/json"
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def body(schema: str, *, required: bool = True, octets: bool = False) -> dict[str, Any]:
    """A body that a route reads by hand.

    Args:
        octets: whether bytes may follow the JSON.
    """
    content = {_JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    if octets:
        content[OCTETS] = _BINARY
    return {"requestBody": {"required": required, "content": content}}


def infer_body() -> dict[str, Any]:
    """JSON, or JSON with bytes behind it."""
    return body("InferRequest", octets=True)


def infer_responses() -> dict[int | str, dict[str, Any]]:
    """JSON, or JSON with bytes behind it where outputs are asked for so."""
    return {200: {"content": {OCTETS: _BINARY}}}
