"""Datasets by name."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from energy_flow.choices import DatasetFormat
from energy_flow.errors import Fault
from service.api.answers import REFUSALS, describe_answers
from service.api.bodies import read_content_length, read_media_type
from service.api.content_negotiation import choose_format, format_parameter
from service.api.dependencies import ServiceDep
from service.api.pagination import DEFAULT_ITEMS, Limit, make_page, parse_cursor
from service.api.request_bodies import describe_file_body
from service.api.stored_file import StoredFile
from service.api.uploads import receive_upload
from service.datasets.formats.upload import DatasetUpload
from service.json_encoding import JsonAnswer
from service.lifespan import Service
from service.media_types import FILE_FORMATS, JSON, OCTET_STREAM
from service.problems import DamagedFile, Problem
from service.runs.views import render_dataset
from service.schemas.bodies import ModelName
from service.schemas.dataset import DatasetPage, DatasetView, StoredDatasetView
from service.schemas.json_schema import BINARY
from service.store.verification.verified_file import VerifiedFile
from service.threads import Threads, in_thread

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

ANSWERS = {"json": JSON, "safetensors": OCTET_STREAM}


@router.put(
    "/{name}",
    status_code=201,
    responses=describe_answers(StoredDatasetView, statuses=(200, 201)),
    openapi_extra=describe_file_body(*FILE_FORMATS, OCTET_STREAM),
)
async def put_dataset(
    name: ModelName,
    request: Request,
    service: ServiceDep,
    file_format: Annotated[
        DatasetFormat | None, Query(alias="format", description="else by Content-Type")
    ] = None,
    column: Annotated[
        str | None,
        Query(description="tensor, column or member with the embeddings, if several could be"),
    ] = None,
) -> Response:
    """Store embeddings, and targets if there are some, under a name; 200 if they are stored.

    ``.npy`` has one array [rows, dim]; the other formats have a tensor, column or member
    ``embeddings`` (or ``embedding``, ``inputs``, ``input``, ``vector``), and ``targets`` if there
    are some. Any of them can be compressed with gzip.
    """

    def open_upload() -> DatasetUpload:
        chosen = file_format or _read_format(request)
        size = read_content_length(request)
        return DatasetUpload(service.datasets, name, chosen, column, size, service.parsers)

    dataset, is_new, source = await receive_upload(request, service, open_upload)
    answer = {**render_dataset(dataset), "source": source}
    headers = {"Location": answer["url"]} if is_new else {}
    return JsonAnswer(answer, status_code=201 if is_new else 200, headers=headers)


@router.get("", responses=describe_answers(DatasetPage))
async def list_datasets(
    service: ServiceDep, limit: Limit = DEFAULT_ITEMS, cursor: str | None = None
) -> Response:
    """Return a page of datasets, newest first."""
    before = parse_cursor(cursor)
    datasets = await in_thread(Threads.READS, service.datasets.page, limit + 1, before)
    return JsonAnswer(make_page(datasets, limit, render_dataset, lambda last, _: last.position))


@router.get("/{name}", responses=describe_answers(DatasetView, content={OCTET_STREAM: BINARY}))
async def describe_dataset(
    name: str,
    request: Request,
    service: ServiceDep,
    answer_format: Annotated[str | None, format_parameter(ANSWERS)] = None,
) -> Response:
    """Return a dataset as JSON, or its numbers with ``Accept: application/octet-stream``."""
    chosen = choose_format(request, answer_format, ANSWERS, "a dataset")
    dataset = await in_thread(Threads.READS, service.datasets.find, name)
    if chosen == "json":
        return JsonAnswer(render_dataset(dataset))
    file = await in_thread(Threads.FILES, _find_file, service, name)
    return StoredFile(file, media_type=OCTET_STREAM, filename=f"{name}.safetensors")


@router.delete("/{name}", status_code=204, responses=REFUSALS)
async def delete_dataset(name: str, service: ServiceDep) -> Response:
    """Remove a name; the numbers stay as long as runs that use them."""
    await in_thread(Threads.CHANGES, service.datasets.delete, name)
    return Response(status_code=204)


def _find_file(service: Service, name: str) -> VerifiedFile:
    """Return the file of a dataset, which has been verified: an answer cannot be taken back.

    Raises:
        Problem: 404, the dataset was deleted meanwhile; 409, its file is damaged.
    """
    try:
        return service.datasets.rows_of(name).verified_file()
    except DamagedFile:
        service.datasets.find(name)
        raise


def _read_format(request: Request) -> DatasetFormat:
    """Return the format of the body by its media type.

    Raises:
        Problem: 415, no format has the media type.
    """
    given = read_media_type(request)
    if given not in FILE_FORMATS:
        known = ", ".join(FILE_FORMATS)
        message = f"Content-Type is {given or 'missing'}; known are {known}, or send ?format="
        faults = [Fault(("Content-Type",), f"known are {known}", given)]
        raise Problem(415, message, faults=faults, headers={"Accept": known})
    return FILE_FORMATS[given]
