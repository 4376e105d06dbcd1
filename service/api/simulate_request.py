"""A request to simulate, from its bytes to an order that can be carried out."""

from __future__ import annotations

import asyncio

from fastapi import Request

from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine import Engine
from service.api.dependencies import media_type, query_lists
from service.lifespan import Service
from service.models.registry import Model
from service.problems import Problem, invalid
from service.requests.decode import read_draft
from service.requests.validate import Order, check_draft, dataset_named, model_named
from service.schemas import SimulateFields

# Beyond it, an answer of one piece serves nobody; a run that is kept can be read in parts.
LARGEST_ANSWER_BYTES = 256 * 2**20


async def take_order(
    service: Service,
    request: Request,
    body: bytes,
    *own_query: str,
    kind: type[SimulateFields] = SimulateFields,
) -> tuple[Order, Model]:
    """Reads and checks a request.

    Args:
        own_query: query parameters that are the route's own.
        kind: of the request.

    Raises:
        Problem: 400, 404, 413, 415 or 422, with every fault.
    """
    draft = await read_draft(body, media_type(request), query_lists(request, *own_query), kind)
    name = model_named(draft)
    if name is None:
        raise invalid(draft.faults)
    model = service.models.find(name)
    dataset = dataset_named(draft)
    rows = None if dataset is None else await asyncio.to_thread(service.datasets.rows_of, dataset)
    order = await check_draft(draft, model.config, service.settings.max_samples, rows)
    return order, await service.models.ready(name)


def check_answer_size(order: Order) -> None:
    """Refuses what would make too large an answer.

    Raises:
        Problem: 413.
    """
    needed = order.samples * sum(_numbers(order.config, name) for name in order.fields.outputs) * 4
    if needed > LARGEST_ANSWER_BYTES:
        raise Problem(
            413,
            f"the outputs have {needed:,} bytes, too many for one answer; send fewer samples at "
            "once, ask for fewer outputs, or use POST /v1/runs",
            extra={"needed_bytes": needed, "available_bytes": LARGEST_ANSWER_BYTES},
        )


def check_room(engine: Engine, order: Order) -> None:
    """The checks of memory that submitting the order would make.

    Raises:
        ConfigError: one sample cannot fit.
        CapacityError: all of them together cannot.
    """
    engine.check(order.config, order.samples)


def _numbers(config: FlowConfig, output: str) -> int:
    cells = config.surface_cells
    return {"surface": cells, "embedding": config.embedding_dim}.get(output, 2 * cells)
