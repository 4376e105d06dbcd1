"""Models by name."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import FileResponse, Response

from service.api import cursors
from service.api.dependencies import (
    MOST_ITEMS,
    ServiceDep,
    choose_format,
    content_length,
    idempotency,
    media_type,
    read_body,
    read_object,
)
from service.api.openapi import REFUSALS, file_body, model_body
from service.api.uploads import receive
from service.json_encoding import JsonAnswer
from service.models.upload import ModelUpload
from service.problems import Problem, invalid
from service.requests.validate import JSON, validate
from service.runs.views import model_answer
from service.schemas import MODEL_NAME_PATTERN, ModelFields, ModelPage, ModelView

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
    document = await read_object(request, body)
    key = idempotency(request, body)
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


@router.put(
    "/{name}",
    status_code=201,
    response_model=ModelView,
    responses={**REFUSALS, 200: {"model": ModelView, "description": "the same was there"}},
    openapi_extra=file_body(MEDIA_TYPES["safetensors"]),
)
async def put_model(
    name: Annotated[str, Path(pattern=MODEL_NAME_PATTERN)], request: Request, service: ServiceDep
) -> Response:
    """Keeps a checkpoint (``.safetensors``) under a name; 200 when it was there already."""

    def open_upload() -> ModelUpload:
        expected = MEDIA_TYPES["safetensors"]
        if media_type(request) not in ("", expected):
            said = f"Content-Type is {media_type(request)}; known is {expected}"
            raise Problem(415, said, headers={"Accept": expected})
        return ModelUpload(service.models, name, content_length(request))

    model, created = await receive(request, service, open_upload)
    answer = model_answer(model)
    headers = {"Location": answer["url"]} if created else {}
    return JsonAnswer(answer, status_code=201 if created else 200, headers=headers)


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


@router.delete("/{name}", status_code=204, responses=REFUSALS)
async def delete_model(name: str, service: ServiceDep) -> Response:
    """Forgets a model and removes its checkpoint; not while something has yet to use it."""
    await asyncio.to_thread(service.models.delete, name)
    return Response(status_code=204)


@router.post("/{name}/load", response_model=ModelView, responses=REFUSALS)
async def load_model(name: str, service: ServiceDep) -> Response:
    """Loads a model, as its first run would; nothing happens to one that is loaded."""
    return JsonAnswer(model_answer(await service.models.ready(name)))


@router.post("/{name}/unload", response_model=ModelView, responses=REFUSALS)
async def unload_model(name: str, service: ServiceDep) -> Response:
    """Frees what a model takes; runs that use it go on, and the next one loads it again."""
    return JsonAnswer(model_answer(await asyncio.to_thread(service.models.unload, name)))
