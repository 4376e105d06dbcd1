"""Answers and refusals of routes, as the OpenAPI document describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from energy_flow.choices import EventName
from service.media_types import EVENT_STREAM, JSON, PROBLEM
from service.problems import TITLES
from service.schemas.json_schema import refer_to
from service.schemas.problem import ProblemView

Responses = dict[int | str, dict[str, Any]]
"""Descriptions of answers by status, as FastAPI has them."""

REFUSALS: Final[Responses] = {
    status: {"description": TITLES[status], "content": {PROBLEM: {"schema": refer_to(ProblemView)}}}
    for status in (400, 401, 403, 404, 406, 409, 413, 415, 421, 422, 429, 500, 503, 504, 507)
}
"""The refusals of every route below ``/v1``."""

_DESCRIPTIONS = {200: "Done", 201: "Created", 202: "Accepted; it continues"}


def describe_answers(
    *models: type[BaseModel],
    statuses: tuple[int, ...] = (200,),
    content: Mapping[str, Mapping[str, Any]] | None = None,
) -> Responses:
    """Return the answers of a route and its refusals.

    Args:
        models: Models of the JSON answer; an answer has the form of one of them.
        statuses: Statuses of the answer.
        content: Other forms of the answer by media type.
    """
    schemas = [refer_to(model) for model in models]
    forms: dict[str, Any] = {}
    if schemas:
        forms[JSON] = {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}
    forms |= {media_type: dict(form) for media_type, form in (content or {}).items()}
    answers: Responses = {
        status: {"description": _DESCRIPTIONS[status], "content": forms} for status in statuses
    }
    return {**answers, **REFUSALS}


def describe_events(payloads: Mapping[EventName, type[BaseModel]]) -> Responses:
    """Return the answers of a route that sends events, and its refusals.

    Args:
        payloads: Models of the events' data by the names of the events.
    """
    data = [refer_to(model) for model in payloads.values()]
    event = {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "number of the event; consecutive"},
            "event": {"enum": [str(name) for name in payloads]},
            "data": {
                "type": "string",
                "contentMediaType": JSON,
                "contentSchema": {"anyOf": data},
            },
            "retry": {"type": "string", "description": "milliseconds before a new connection"},
        },
    }
    return describe_answers(content={EVENT_STREAM: {"schema": event}})
