"""Models by name."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.answers import REFUSALS, describe_answers
from service.api.bodies import read_body, read_content_length, read_media_type, read_object
from service.api.content_negotiation import choose_format, format_parameter
from service.api.dependencies import ServiceDep, read_idempotency_key
from service.api.pagination import DEFAULT_ITEMS, Limit, make_page, parse_cursor
from service.api.request_bodies import describe_file_body, describe_json_body
from service.api.stored_file import StoredFile
from service.api.uploads import receive_upload
from service.json_encoding import JsonAnswer, large_to_json
from service.media_types import JSON, NPY, OCTET_STREAM
from service.models.packaged import read_sample
from service.models.upload import ModelUpload
from service.problems import Problem, not_found
from service.requests.members import parse_members
from service.runs.views import render_model
from service.schemas.bodies import ModelName
from service.schemas.json_schema import BINARY
from service.schemas.model import ModelFields, ModelPage, ModelView, SampleRowsAnswer
from service.store.npy_file import npy_buffers
from service.threads import Threads, in_thread

router = APIRouter(prefix="/v1/models", tags=["models"])

MEDIA_TYPES = {"json": JSON, "safetensors": OCTET_STREAM}
SAMPLE_MEDIA_TYPES = {"json": JSON, "npy": NPY, "safetensors": OCTET_STREAM}


@router.post(
    "",
    status_code=201,
    responses=describe_answers(ModelView, statuses=(201,)),
    openapi_extra=describe_json_body(ModelFields),
)
async def create_model(request: Request, service: ServiceDep) -> Response:
    """Create an untrained model durably.

    A repetition with the same Idempotency-Key creates nothing.
    """
    body = await read_body(request)
    members = await read_object(request, body)
    key = await read_idempotency_key(request, body)
    fields = parse_members(ModelFields, members)
    model, is_repetition = await in_thread(Threads.CHANGES, service.models.create, fields, key)
    answer = render_model(model)
    headers = {"Location": answer["url"]}
    if is_repetition:
        headers["Idempotency-Replayed"] = "true"
    return JsonAnswer(answer, status_code=201, headers=headers)


@router.put(
    "/{name}",
    status_code=201,
    responses=describe_answers(ModelView, statuses=(200, 201)),
    openapi_extra=describe_file_body(OCTET_STREAM),
)
async def put_model(name: ModelName, request: Request, service: ServiceDep) -> Response:
    """Store a checkpoint (``.safetensors``) under a name; 200 if it is stored there."""

    def open_upload() -> ModelUpload:
        media_type = read_media_type(request)
        if media_type not in ("", OCTET_STREAM):
            message = f"Content-Type is {media_type}; send {OCTET_STREAM}"
            raise Problem(415, message, headers={"Accept": OCTET_STREAM})
        return ModelUpload(service.models, name, read_content_length(request))

    model, is_new = await receive_upload(request, service, open_upload)
    answer = render_model(model)
    headers = {"Location": answer["url"]} if is_new else {}
    return JsonAnswer(answer, status_code=201 if is_new else 200, headers=headers)


@router.get("", responses=describe_answers(ModelPage))
async def list_models(
    service: ServiceDep, limit: Limit = DEFAULT_ITEMS, cursor: str | None = None
) -> Response:
    """Return a page of models, newest first; those of the package and the default are last."""
    models = service.models.newest_first()
    # Models without a row in the index have positions below 0.
    before = parse_cursor(cursor, least=-len(models))
    if before is not None:
        models = [model for model in models if model.position < before]
    return JsonAnswer(make_page(models, limit, render_model, lambda last, _: last.position))


@router.get("/{name}", responses=describe_answers(ModelView, content={OCTET_STREAM: BINARY}))
async def describe_model(
    name: str,
    request: Request,
    service: ServiceDep,
    model_format: Annotated[str | None, format_parameter(MEDIA_TYPES)] = None,
) -> Response:
    """Return a model as JSON, or its checkpoint with ``Accept: application/octet-stream``."""
    chosen = choose_format(request, model_format, MEDIA_TYPES, "a model")
    model = service.models.find(name)
    if chosen == "json":
        return JsonAnswer(render_model(model))
    file = await in_thread(Threads.FILES, service.models.checkpoint, model)
    return StoredFile(file, media_type=OCTET_STREAM, filename=f"{name}.safetensors")


@router.get(
    "/{name}/sample",
    responses=describe_answers(SampleRowsAnswer, content={NPY: BINARY, OCTET_STREAM: BINARY}),
)
async def read_model_sample(
    name: str,
    request: Request,
    service: ServiceDep,
    sample_format: Annotated[str | None, format_parameter(SAMPLE_MEDIA_TYPES)] = None,
) -> Response:
    """Return rows to try a model with, and their targets; ``.npy`` has the inputs alone."""
    chosen = choose_format(request, sample_format, SAMPLE_MEDIA_TYPES, "a sample")
    path = service.models.find(name).sample
    if path is None:
        having = [model.name for model in service.models.newest_first() if model.sample]
        known = ", ".join(having) or "none"
        raise not_found(f"sample of the model {name!r}; models with a sample: {known}")
    if chosen == "safetensors":
        return StoredFile(path, media_type=OCTET_STREAM, filename=f"{name}_sample.safetensors")
    rows = await in_thread(Threads.READS, read_sample, path)
    if chosen == "npy":
        headers = {"Content-Disposition": f'attachment; filename="{name}_sample.npy"'}
        return Response(b"".join(npy_buffers(rows.inputs)), media_type=NPY, headers=headers)
    document = {"model": name, "inputs": rows.inputs, "targets": rows.targets}
    return JsonAnswer(await in_thread(Threads.BODIES, large_to_json, document))


@router.delete("/{name}", status_code=204, responses=REFUSALS)
async def delete_model(name: str, service: ServiceDep) -> Response:
    """Remove a model and its checkpoint, unless unfinished work needs it."""
    await in_thread(Threads.CHANGES, service.models.delete, name)
    return Response(status_code=204)


@router.post("/{name}/load", responses=describe_answers(ModelView))
async def load_model(name: str, service: ServiceDep) -> Response:
    """Load a model, as its first run would."""
    return JsonAnswer(render_model(await service.models.ready(name)))


@router.post("/{name}/unload", responses=describe_answers(ModelView))
async def unload_model(name: str, service: ServiceDep) -> Response:
    """Free the memory of a model; runs that use it continue, and the next run loads it."""
    return JsonAnswer(render_model(await in_thread(Threads.CHANGES, service.models.unload, name)))
