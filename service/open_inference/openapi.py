"""The protocol's part of the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from service.media_types import JSON, OCTET_STREAM
from service.open_inference.schemas import ErrorAnswer, InferAnswer, InferRequest
from service.problems import TITLES
from service.schemas.json_schema import BINARY, refer_to

REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": TITLES[status], "content": {JSON: {"schema": refer_to(ErrorAnswer)}}}
    for status in (400, 401, 403, 404, 409, 413, 415, 421, 422, 429, 500, 501, 503, 504, 507)
}
"""Refusals of every route, in the protocol's form."""


def describe_answer(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Return the answer of a route.

    Args:
        model: Model of the answer.
    """
    return {200: {"description": "Done", "content": {JSON: {"schema": refer_to(model)}}}}


def describe_optional_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the ``openapi_extra`` of a route whose JSON body may be missing.

    Args:
        model: Model of the body.
    """
    return {"requestBody": {"required": False, "content": {JSON: {"schema": refer_to(model)}}}}


INFER_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {JSON: {"schema": refer_to(InferRequest)}, OCTET_STREAM: BINARY},
    },
    # Middleware reads them, for all paths.
    "parameters": [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": description,
            "schema": {"type": "string"},
        }
        for name, description in (
            ("content-encoding", "of the body: gzip, deflate, zstd"),
            ("accept-encoding", "gzip, deflate or zstd alone: how to compress the answer"),
        )
    ],
}
"""``openapi_extra`` of an inference: JSON, or JSON with bytes behind it; both may be compressed."""

INFER_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Done",
        "content": {JSON: {"schema": refer_to(InferAnswer)}, OCTET_STREAM: BINARY},
    }
}
"""Answer to an inference: JSON, or JSON with bytes behind it."""
