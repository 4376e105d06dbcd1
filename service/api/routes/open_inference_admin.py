"""Open Inference Protocol: the repository of models, trace settings, logging, shared memory."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from energy_flow.errors import Fault
from service.api.dependencies import ServiceDep, read_body
from service.json_encoding import JsonAnswer
from service.open_inference.documentation import REFUSALS, body
from service.open_inference.inference import find_served
from service.open_inference.log_settings import log_settings, set_logging
from service.open_inference.metadata import TRACE_SETTING, index_entry
from service.open_inference.schemas import (
    IndexEntry,
    IndexQuestion,
    LogSettings,
    RepositoryAction,
    TraceSetting,
)
from service.problems import Problem, invalid
from service.requests.embeddings import PIECE_BYTES, read_json

Question = TypeVar("Question", bound=BaseModel)

router = APIRouter(prefix="/v2", tags=["open inference"], responses=REFUSALS)


@router.post(
    "/repository/index",
    response_model=list[IndexEntry],
    openapi_extra=body("IndexQuestion", required=False),
)
async def list_repository(request: Request, service: ServiceDep) -> Response:
    """All models, or those that are ready; the default model first."""
    question = await _sent(request, IndexQuestion)
    models = service.models.newest_first()[::-1]
    return JsonAnswer([index_entry(one) for one in models if not question.ready or one.is_loaded])


@router.post(
    "/repository/models/{name}/load",
    response_model=dict[str, Any],
    openapi_extra=body("RepositoryAction", required=False),
)
async def load_served_model(name: str, request: Request, service: ServiceDep) -> Response:
    """Loads a model; nothing happens to one that is loaded."""
    action = await _sent(request, RepositoryAction)
    model = find_served(service.models, name)
    given = {key: value for key, value in (action.parameters or {}).items() if value is not None}
    if given:
        said = f"a model is loaded as it is; {', '.join(given)} cannot be given. POST /v1/models"
        raise Problem(501, f"{said} makes another")
    await service.models.ready(model.name)
    return JsonAnswer({})


@router.post(
    "/repository/models/{name}/unload",
    response_model=dict[str, Any],
    openapi_extra=body("RepositoryAction", required=False),
)
async def unload_served_model(name: str, request: Request, service: ServiceDep) -> Response:
    """Frees what a model takes; runs that use it go on to their end."""
    await _sent(request, RepositoryAction)
    await asyncio.to_thread(service.models.unload, find_served(service.models, name).name)
    return JsonAnswer({})


@router.get("/trace/setting", response_model=TraceSetting)
@router.get("/models/{name}/trace/setting", response_model=TraceSetting)
async def read_trace_setting(service: ServiceDep, name: str | None = None) -> Response:
    """Requests are not traced; the simulation's trace comes among the outputs."""
    if name is not None:
        find_served(service.models, name)
    return JsonAnswer(TRACE_SETTING)


@router.post(
    "/trace/setting",
    response_model=TraceSetting,
    openapi_extra=body("TraceSetting", required=False),
)
@router.post(
    "/models/{name}/trace/setting",
    response_model=TraceSetting,
    openapi_extra=body("TraceSetting", required=False),
)
async def set_trace_setting(
    request: Request, service: ServiceDep, name: str | None = None
) -> Response:
    """Read only: what is not a change is answered, anything else is refused."""
    if name is not None:
        find_served(service.models, name)
    document = await _document(request)
    faults = [
        Fault((member,), "trace settings are read only", value)
        for member, value in document.items()
        # null clears a setting, which leaves the one there is.
        if value is not None and TRACE_SETTING.get(member) not in (value, [value])
    ]
    if faults:
        raise invalid(faults)
    return JsonAnswer(TRACE_SETTING)


@router.get("/logging", response_model=LogSettings)
async def read_log_settings() -> Response:
    """What is logged."""
    return JsonAnswer(log_settings())


@router.post(
    "/logging", response_model=LogSettings, openapi_extra=body("LogSettings", required=False)
)
async def change_log_settings(request: Request) -> Response:
    """Logs more or less, until the server stops."""
    document = await _document(request)
    given = {name: value for name, value in document.items() if value is not None}
    faults = set_logging(given)
    if faults:
        raise invalid(faults)
    return JsonAnswer(log_settings())


@router.get("/{kind}sharedmemory/status", include_in_schema=False)
@router.get("/{kind}sharedmemory/region/{region}/status", include_in_schema=False)
@router.post("/{kind}sharedmemory/unregister", include_in_schema=False)
@router.post("/{kind}sharedmemory/region/{region}/register", include_in_schema=False)
@router.post("/{kind}sharedmemory/region/{region}/unregister", include_in_schema=False)
async def refuse_shared_memory(kind: str) -> Response:
    """Not offered, neither the system's nor CUDA's."""
    raise Problem(501, f"{kind or 'shared'} shared memory is not offered; send tensors as bytes")


async def _sent(request: Request, kind: type[Question]) -> Question:
    """A small body; an empty one says nothing."""
    try:
        return kind.model_validate(await _document(request))
    except ValidationError as error:
        raise invalid(
            Fault(tuple(entry["loc"]), str(entry["msg"]), entry.get("input"))
            for entry in error.errors()
        ) from None


async def _document(request: Request) -> dict[str, Any]:
    sent = await read_body(request)
    if not sent.strip():
        return {}
    if len(sent) <= PIECE_BYTES:
        document = read_json(sent)
    else:
        document = await asyncio.to_thread(read_json, sent)
    if not isinstance(document, dict):
        raise Problem(400, "the body must be a JSON object")
    return document
