"""Requests to simulate, from their bytes to a valid request and its model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fastapi import Request

from energy_flow.choices import DatasetFormat, unknown_name
from energy_flow.engine import Executor
from energy_flow.errors import Fault
from energy_flow.simulation.tally.outputs import sample_bytes
from service.api.bodies import read_media_type
from service.api.client_identity import identify_client
from service.api.dependencies import read_query
from service.api.file_rows import decompress, load_rows
from service.api.request_memory import memory_of
from service.datasets.formats.reader import GZIP
from service.lifespan import Service
from service.media_types import FILE_FORMATS, JSON, OCTET_STREAM
from service.models.model import Model
from service.problems import Problem, cut_text, invalid, with_other_faults
from service.requests.decode import make_file_request, parse_request
from service.requests.parsed_request import ParsedRequest
from service.requests.parsing_memory import predict_check, predict_json
from service.requests.query import COLUMN, FORMAT, check_parameter_count, take_parameter
from service.requests.simulation_request import SimulationRequest
from service.requests.validate import validate_request
from service.schemas.simulate import SimulateFields
from service.threads import Threads, in_thread

JSON_COPIES: Final = 10
"""Bytes that a byte of outputs takes in an answer of JSON.

The outputs of all chunks, and those outputs joined; then numbers of four bytes as texts of up to
14 characters, and these texts joined to a document.
"""

TENSOR_COPIES: Final = 4
"""Bytes that a byte of outputs takes in an answer of tensors: chunks, joined, encoded, joined."""

COUNTERS_BYTES: Final = 4096
"""Bytes of the counters of a sample, as Python objects and as JSON."""

KEY_BYTES: Final = 48
"""Bytes of a sample key: int64, and a Python object in a list."""

DECOMPRESSION_COPIES: Final = 2
"""Copies of a file for a moment, when it has been decompressed."""

TEXTS: Final = (DatasetFormat.CSV, DatasetFormat.JSONL)
"""Formats whose numbers are text."""

TEXT_FACTOR: Final = 4
"""Bytes of the rows of such a file while they grow, for each of its bytes."""

MAX_ANSWER_BYTES: Final = 256 * 2**20
"""Largest outputs of one answer. A stored run can be read in parts."""


async def parse_and_validate(
    service: Service,
    request: Request,
    body: bytes,
    *route_parameters: str,
    kind: type[SimulateFields] = SimulateFields,
    loads: bool = True,
) -> tuple[SimulationRequest, Model]:
    """Return a valid request and its model.

    Args:
        service: The service.
        request: The request.
        body: Its body.
        route_parameters: Query parameters of the route itself.
        kind: Model of the request's members.
        loads: Whether the model is loaded.

    Raises:
        CapacityError: The model, or what is made of the body, does not fit in memory.
        MemoryInUse: Other work has the memory.
        Problem: 400, 404, 413, 415 or 422, with every fault.
    """
    query = read_query(request, *route_parameters)
    parsed = await _parse(service, request, body, query, kind)
    await memory_of(request).hold(predict_check(body, parsed.numbers))
    if parsed.model_name is None:
        raise invalid(parsed.faults)
    try:
        model = service.models.find(parsed.model_name)
    except Problem as absent:
        raise with_other_faults(absent, "model", parsed.faults) from None
    rows, absent_dataset = None, None
    if parsed.dataset_name is not None:
        try:
            rows = await in_thread(Threads.READS, service.datasets.rows_of, parsed.dataset_name)
        except Problem as problem:
            absent_dataset = problem
    try:
        simulation = await validate_request(
            parsed, model.config, service.settings.max_samples, service.models.find_fitting, rows
        )
    except Problem as others:
        if absent_dataset is None:
            raise
        raise with_other_faults(absent_dataset, "dataset", others.faults) from None
    return simulation, await service.models.ready(model.name) if loads else model


async def hold_run(request: Request, simulation: SimulationRequest, copies: int) -> None:
    """Hold memory for the rows of a request and its results, in place of that for its body.

    Args:
        request: The request, whose body is not in memory any more.
        simulation: What it asks for.
        copies: As :func:`predict_run`.

    Raises:
        CapacityError: They can never fit in memory.
        MemoryInUse: Other work has the memory.
    """
    await memory_of(request).hold(predict_run(simulation, copies))


def predict_run(simulation: SimulationRequest, copies: int) -> int:
    """Return the bytes of the rows of a request and of its results.

    Args:
        simulation: What it asks for.
        copies: Bytes that a byte of the outputs takes until the answer is sent; 0 if they are
            stored, and not sent.
    """
    samples = simulation.samples
    needed = 0 if simulation.array is None else simulation.array.nbytes
    if simulation.fields.store:
        # Until the disk has them, stored rows are in the page cache as well.
        needed *= 2
    if simulation.sample_keys is not None:
        needed += KEY_BYTES * samples
    if copies:
        outputs = sample_bytes(simulation.outputs, simulation.config)
        needed += samples * (copies * outputs + COUNTERS_BYTES)
    return needed


async def _parse(
    service: Service,
    request: Request,
    body: bytes,
    query: dict[str, list[str]],
    kind: type[SimulateFields],
) -> ParsedRequest:
    named, query = take_parameter(query, FORMAT)
    media_type = read_media_type(request) if named is None else _find_media_type(named)
    memory, limit = memory_of(request), service.settings.max_body_bytes
    if media_type == JSON:
        await memory.hold(await predict_json(body))
    file_format = FILE_FORMATS.get(media_type)
    if body.startswith(GZIP) and (file_format is not None or media_type == OCTET_STREAM):
        await memory.hold(len(body) + DECOMPRESSION_COPIES * limit)
        body = await decompress(body, limit)
    if file_format is None or (file_format is DatasetFormat.NPY and COLUMN not in query):
        return await parse_request(body, media_type, query, kind)
    check_parameter_count(query)
    column, members = take_parameter(query, COLUMN)
    # Columns can be compressed themselves. The shortest number of a text has two bytes.
    numbers_bytes = TEXT_FACTOR * len(body) if file_format in TEXTS else limit
    await memory.hold(len(body) + numbers_bytes)
    numbers = await load_rows(service, request, body, file_format, column)
    return make_file_request(numbers, members, kind)


def _find_media_type(name: str) -> str:
    """Return the media type of a format of files.

    Args:
        name: Name of the format.

    Raises:
        Problem: 422, there is no such format.
    """
    if name not in list(DatasetFormat):
        message = f"cannot be '{cut_text(name)}'; {unknown_name(name, DatasetFormat)}"
        raise invalid([Fault((FORMAT,), message, name)])
    return DatasetFormat(name).media_type or OCTET_STREAM


def require_room(service: Service, request: Request) -> None:
    """Refuse a request for whose run there is no room in the queue, before its body is read.

    A repetition with an idempotency key needs no room.

    Args:
        service: The service.
        request: The request.

    Raises:
        QueueFull: Too much work is waiting.
    """
    if "idempotency-key" not in request.headers:
        service.executor.require_room(identify_client(request))


@contextmanager
def sharing(service: Service, request: Request) -> Iterator[None]:
    """Count a request that waits for its simulation, until the end of the block.

    Args:
        service: The service.
        request: The request.

    Raises:
        QueueFull: Its client has its share of such requests, or too much work is waiting.
    """
    client = identify_client(request)
    with service.request_shares.enter(client):
        service.executor.require_room(client)
        yield


def check_answer_size(simulation: SimulationRequest) -> None:
    """Refuse a request whose answer would be too large.

    Raises:
        Problem: 413, with the bytes that are needed and available.
    """
    needed = simulation.samples * sample_bytes(simulation.fields.outputs, simulation.config)
    if needed > MAX_ANSWER_BYTES:
        raise Problem(
            413,
            f"the outputs have {needed:,} bytes and one answer may have {MAX_ANSWER_BYTES:,}; send "
            "fewer samples, request fewer outputs, or use POST /v1/runs",
            extra={"needed_bytes": needed, "available_bytes": MAX_ANSWER_BYTES},
        )


def check_memory(executor: Executor, simulation: SimulationRequest, model: Model) -> None:
    """Refuse a request that cannot fit in memory, as its submission would.

    Args:
        executor: Would carry it out.
        simulation: The request.
        model: Its model.

    Raises:
        ConfigError: One sample cannot fit.
        CapacityError: The model, or all samples together, cannot fit.
    """
    executor.check(simulation.config, simulation.samples, model=model.digest, base=model.config)
