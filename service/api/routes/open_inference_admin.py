"""Open Inference Protocol: the repository of models, trace settings, logging, shared memory."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from energy_flow.errors import Fault
from service.api.bodies import read_body
from service.api.dependencies import ServiceDep
from service.json_encoding import JsonAnswer
from service.open_inference import log_settings
from service.open_inference.metadata import TRACE_SETTING, describe_entry
from service.open_inference.openapi import REFUSALS, describe_answer, describe_optional_body
from service.open_inference.schemas import (
    EmptyAnswer,
    IndexAnswer,
    IndexQuery,
    LogSettings,
    RepositoryAction,
    TraceSetting,
)
from service.open_inference.served_models import find_served_model
from service.problems import MAX_CHARACTERS, Problem, invalid
from service.requests.json_body import parse_object
from service.requests.members import parse_members
from service.threads import Threads, in_thread

router = APIRouter(prefix="/v2", tags=["open inference"], responses=REFUSALS)


@router.post(
    "/repository/index",
    responses=describe_answer(IndexAnswer),
    openapi_extra=describe_optional_body(IndexQuery),
)
async def list_repository(request: Request, service: ServiceDep) -> Response:
    """Return all models, or those that are ready; the default model is the first."""
    query = parse_members(IndexQuery, await _read_members(request))
    models = service.models.newest_first()[::-1]
    entries = [describe_entry(model) for model in models if not query.ready or model.is_served]
    return JsonAnswer(entries)


@router.post(
    "/repository/models/{name}/load",
    responses=describe_answer(EmptyAnswer),
    openapi_extra=describe_optional_body(RepositoryAction),
)
async def load_served_model(name: str, request: Request, service: ServiceDep) -> Response:
    """Load a model, unless it is loaded."""
    action = parse_members(RepositoryAction, await _read_members(request))
    model = find_served_model(service.models, name)
    given = [key for key, value in (action.parameters or {}).items() if value is not None]
    if given:
        message = f"a model is loaded unchanged, without the parameters {', '.join(given)}"
        raise Problem(501, f"{message}; POST /v1/models makes another model")
    await service.models.ready(model.name)
    return JsonAnswer({})


@router.post(
    "/repository/models/{name}/unload",
    responses=describe_answer(EmptyAnswer),
    openapi_extra=describe_optional_body(RepositoryAction),
)
async def unload_served_model(name: str, request: Request, service: ServiceDep) -> Response:
    """Free the memory of a model; runs that use it continue."""
    parse_members(RepositoryAction, await _read_members(request))
    await in_thread(
        Threads.CHANGES, service.models.unload, find_served_model(service.models, name).name
    )
    return JsonAnswer({})


@router.get("/trace/setting", responses=describe_answer(TraceSetting))
@router.get("/models/{name}/trace/setting", responses=describe_answer(TraceSetting))
async def read_trace_setting(service: ServiceDep, name: str | None = None) -> Response:
    """Return that requests are not traced; the trace of the simulation is an output."""
    if name is not None:
        find_served_model(service.models, name)
    return JsonAnswer(TRACE_SETTING)


@router.post(
    "/trace/setting",
    responses=describe_answer(TraceSetting),
    openapi_extra=describe_optional_body(TraceSetting),
)
@router.post(
    "/models/{name}/trace/setting",
    responses=describe_answer(TraceSetting),
    openapi_extra=describe_optional_body(TraceSetting),
)
async def set_trace_setting(
    request: Request, service: ServiceDep, name: str | None = None
) -> Response:
    """Refuse every change, because the settings are read only."""
    if name is not None:
        find_served_model(service.models, name)
    faults = [
        Fault((member,), "trace settings are read only", value)
        for member, value in (await _read_members(request)).items()
        # null resets a setting to its default, which it has.
        if value is not None and TRACE_SETTING.get(member) not in (value, [value])
    ]
    if faults:
        raise invalid(faults)
    return JsonAnswer(TRACE_SETTING)


@router.get("/logging", responses=describe_answer(LogSettings))
async def read_log_settings() -> Response:
    """Return the settings of the log."""
    return JsonAnswer(log_settings.read_log_settings())


@router.post(
    "/logging",
    responses=describe_answer(LogSettings),
    openapi_extra=describe_optional_body(LogSettings),
)
async def change_log_settings(request: Request) -> Response:
    """Change settings of the log until the server stops."""
    members = await _read_members(request)
    changes = {name: value for name, value in members.items() if value is not None}
    faults = log_settings.change_log_settings(changes)
    if faults:
        raise invalid(faults)
    return JsonAnswer(log_settings.read_log_settings())


@router.get("/{kind}sharedmemory/status", include_in_schema=False)
@router.get("/{kind}sharedmemory/region/{region}/status", include_in_schema=False)
@router.post("/{kind}sharedmemory/unregister", include_in_schema=False)
@router.post("/{kind}sharedmemory/region/{region}/register", include_in_schema=False)
@router.post("/{kind}sharedmemory/region/{region}/unregister", include_in_schema=False)
async def refuse_shared_memory(kind: str) -> Response:
    """Refuse shared memory of the system and of CUDA."""
    kind = kind[:MAX_CHARACTERS] or "shared"
    raise Problem(501, f"{kind} shared memory is not offered; send tensors as bytes")


async def _read_members(request: Request) -> dict[str, Any]:
    """Return the members of a JSON body; an empty body has none."""
    body = await read_body(request)
    return await parse_object(body) if body.strip() else {}
