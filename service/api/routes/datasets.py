"""Datasets by name."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import FileResponse, Response

from energy_flow.errors import Fault
from service.api import cursors
from service.api.dependencies import (
    MOST_ITEMS,
    ServiceDep,
    choose_format,
    content_length,
    media_type,
)
from service.api.openapi import REFUSALS, file_body
from service.api.uploads import receive
from service.datasets.formats.upload import MEDIA_TYPES, DatasetFormat, DatasetUpload
from service.json_encoding import JsonAnswer
from service.problems import Problem
from service.requests.validate import JSON
from service.runs.views import dataset_answer
from service.schemas import MODEL_NAME_PATTERN, DatasetPage, DatasetView

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

BYTES = "application/octet-stream"
ANSWERS = {"json": JSON, "safetensors": BYTES}


@router.put(
    "/{name}",
    status_code=201,
    response_model=DatasetView,
    responses={**REFUSALS, 200: {"model": DatasetView, "description": "the same was there"}},
    openapi_extra=file_body(*MEDIA_TYPES, BYTES),
)
async def put_dataset(
    name: Annotated[str, Path(pattern=MODEL_NAME_PATTERN)],
    request: Request,
    service: ServiceDep,
    file_format: Annotated[
        DatasetFormat | None, Query(alias="format", description="else by Content-Type")
    ] = None,
) -> Response:
    """Keeps embeddings, and maybe targets, under a name; 200 when they were there already.

    ``.npy`` holds one array [rows, dim]; the other formats a tensor, column or member
    ``embeddings`` (or ``inputs``), and ``targets`` where there are some.
    """

    def open_upload() -> DatasetUpload:
        chosen = file_format or _by_type(request)
        return DatasetUpload(service.datasets, name, chosen, content_length(request))

    dataset, created = await receive(request, service, open_upload)
    answer = dataset_answer(dataset)
    headers = {"Location": answer["url"]} if created else {}
    return JsonAnswer(answer, status_code=201 if created else 200, headers=headers)


@router.get("", response_model=DatasetPage, responses=REFUSALS)
async def list_datasets(
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = 100,
    cursor: str | None = None,
) -> Response:
    """Datasets, newest first."""
    before = None if cursor is None else cursors.decode(cursor, 1)[0]
    datasets = await asyncio.to_thread(service.datasets.page, limit + 1, before)
    page = datasets[:limit]
    following = cursors.encode(page[-1].position) if len(datasets) > limit else None
    items = [dataset_answer(dataset) for dataset in page]
    return JsonAnswer({"items": items, "next_cursor": following})


@router.get(
    "/{name}",
    response_model=DatasetView,
    responses={**REFUSALS, 200: {"content": {BYTES: {"schema": {"format": "binary"}}}}},
)
async def describe_dataset(
    name: str,
    request: Request,
    service: ServiceDep,
    answer_format: Annotated[
        str | None,
        Query(
            alias="format",
            description="json or safetensors; else by Accept",
            json_schema_extra={"enum": list(ANSWERS)},
        ),
    ] = None,
) -> Response:
    """A dataset as JSON, or its numbers with ``Accept: application/octet-stream``."""
    accept = request.headers.get("accept", "")
    chosen = choose_format(answer_format, accept, ANSWERS, "a dataset")
    dataset = await asyncio.to_thread(service.datasets.find, name)
    if chosen == "json":
        return JsonAnswer(dataset_answer(dataset))
    path = service.datasets.path(dataset.content.digest)
    return FileResponse(path, media_type=BYTES, filename=f"{name}.safetensors")


@router.delete("/{name}", status_code=204, responses=REFUSALS)
async def delete_dataset(name: str, service: ServiceDep) -> Response:
    """Forgets a dataset; what runs have taken from it stays as long as they do."""
    await asyncio.to_thread(service.datasets.delete, name)
    return Response(status_code=204)


def _by_type(request: Request) -> DatasetFormat:
    """The format by Content-Type.

    Raises:
        Problem: 415.
    """
    given = media_type(request)
    if given not in MEDIA_TYPES:
        known = ", ".join(MEDIA_TYPES)
        said = f"Content-Type is {given or 'missing'}; known are {known}, or say ?format="
        faults = [Fault(("Content-Type",), f"known are {known}", given)]
        raise Problem(415, said, faults=faults, headers={"Accept": known})
    return MEDIA_TYPES[given]
