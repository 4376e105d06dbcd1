"""Models by name."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response

from service import cursors
from service.answers import model_answer
from service.dependencies import (
    MOST_ITEMS,
    ServiceDep,
    choose_format,
    idempotency,
    media_type,
    read_body,
)
from service.embeddings import read_json
from service.json_answers import JsonAnswer
from service.openapi import REFUSALS, model_body
from service.orders import JSON, validate
from service.problems import Problem, invalid
from service.schemas import ModelFields, ModelPage, ModelView

router = APIRouter(prefix="/v1/models", tags=["models"])

MEDIA_TYPES = {"json": JSON, "safetensors": "application/octet-stream"}


@router.post(
    "",
    status_code=201,
    response_model=ModelView,
    responses=REFUSALS,
    openapi_extra=model_body(),
)
async def create_model(request: Request, service: ServiceDep) -> Response:
    """Makes an untrained model, durably; with Idempotency-Key, once however often it is sent."""
    body = await read_body(request)
    if media_type(request) != JSON:
        said = f"Content-Type is {media_type(request) or 'missing'}; known is {JSON}"
        raise Problem(415, said, headers={"Accept-Post": JSON})
    key = idempotency(request, body)
    document = await asyncio.to_thread(read_json, body)
    if not isinstance(document, dict):
        raise Problem(400, "the body must be a JSON object")
    given = {name: value for name, value in document.items() if value is not None}
    fields, faults = validate(ModelFields, given)
    if faults:
        raise invalid(faults)
    model, replayed = await asyncio.to_thread(service.models.create, fields, key)
    answer = model_answer(model)
    headers = {"Location": answer["url"]}
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    return JsonAnswer(answer, status_code=201, headers=headers)


@router.get("", response_model=ModelPage, responses=REFUSALS)
async def list_models(
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = 100,
    cursor: str | None = None,
) -> Response:
    """Models, newest first; the default model comes last."""
    models = service.models.newest_first()
    if cursor is not None:
        before = cursors.decode(cursor, 1)[0]
        models = [model for model in models if model.position < before]
    page = models[:limit]
    following = cursors.encode(page[-1].position) if len(models) > limit else None
    items = [model_answer(model) for model in page]
    return JsonAnswer({"items": items, "next_cursor": following})


@router.get(
    "/{name}",
    response_model=ModelView,
    responses={
        **REFUSALS,
        200: {"content": {MEDIA_TYPES["safetensors"]: {"schema": {"format": "binary"}}}},
    },
)
async def describe_model(
    name: str,
    request: Request,
    service: ServiceDep,
    model_format: Annotated[
        str | None,
        Query(
            alias="format",
            description="json or safetensors; else by Accept",
            json_schema_extra={"enum": list(MEDIA_TYPES)},
        ),
    ] = None,
) -> Response:
    """A model as JSON, or its checkpoint with ``Accept: application/octet-stream``."""
    accept = request.headers.get("accept", "")
    chosen = choose_format(model_format, accept, MEDIA_TYPES, "a model")
    model = service.models.find(name)
    if chosen == "json":
        return JsonAnswer(model_answer(model))
    path = await asyncio.to_thread(service.models.checkpoint, model)
    return FileResponse(
        path,
        media_type=MEDIA_TYPES["safetensors"],
        filename=f"{name}.safetensors",
    )
