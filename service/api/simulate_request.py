"""Requests to simulate, from their bytes to a valid request and its model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fastapi import Request

from energy_flow.engine import Engine
from energy_flow.simulation.tally.outputs import sample_bytes
from service.api.bodies import read_media_type
from service.api.client_identity import identify_client
from service.api.dependencies import read_query
from service.lifespan import Service
from service.models.model import Model
from service.problems import Problem, invalid
from service.requests.decode import parse_request
from service.requests.simulation_request import SimulationRequest
from service.requests.validate import validate_request
from service.schemas.simulate import SimulateFields
from service.threads import Threads, in_thread

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
        CapacityError: The model does not fit in memory.
        MemoryInUse: Runs and their models have the memory.
        Problem: 400, 404, 413, 415 or 422, with every fault.
    """
    query = read_query(request, *route_parameters)
    parsed = await parse_request(body, read_media_type(request), query, kind)
    if parsed.model_name is None:
        raise invalid(parsed.faults)
    model = service.models.find(parsed.model_name)
    rows = None
    if parsed.dataset_name is not None:
        rows = await in_thread(Threads.READS, service.datasets.rows_of, parsed.dataset_name)
    simulation = await validate_request(
        parsed, model.config, service.settings.max_samples, service.models.find_fitting, rows
    )
    return simulation, await service.models.ready(model.name) if loads else model


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
        service.engine.require_room(identify_client(request))


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
        service.engine.require_room(client)
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


def check_memory(engine: Engine, simulation: SimulationRequest, model: Model) -> None:
    """Refuse a request that cannot fit in memory, as its submission would.

    Args:
        engine: The engine.
        simulation: The request.
        model: Its model.

    Raises:
        ConfigError: One sample cannot fit.
        CapacityError: The model, or all samples together, cannot fit.
    """
    engine.check(simulation.config, simulation.samples, model=model.digest, base=model.config)
