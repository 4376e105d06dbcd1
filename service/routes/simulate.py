"""POST /v1/simulate: embeddings in, everything out."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.answers import estimate_answer, simulation_answer
from service.dependencies import ServiceDep, client_gone, read_body
from service.json_answers import PIECE_NUMBERS, JsonAnswer
from service.openapi import REFUSALS, simulate_body
from service.schemas import EstimateAnswer, SimulateAnswer
from service.taking_orders import check_answer_size, check_room, take_order

router = APIRouter(prefix="/v1", tags=["simulate"])


@router.post(
    "/simulate",
    response_model=SimulateAnswer | EstimateAnswer,
    responses=REFUSALS,
    openapi_extra=simulate_body(),
)
async def simulate(
    request: Request,
    service: ServiceDep,
    dry_run: Annotated[
        bool, Query(description="check everything and tell the cost; run nothing")
    ] = False,
) -> Response:
    """Runs now and answers with everything.

    A client that hangs up ends its run within a step.
    """
    received = time.perf_counter()
    body = await read_body(request)
    order, model = await take_order(service, request, body, "dry_run")
    del body
    check_answer_size(order)
    if dry_run:
        check_room(service.engine, order)
        return JsonAnswer(estimate_answer(service.engine, order, model))
    live = await service.runs.simulate(order, model, partial(client_gone, request))
    request.state.run_id = live.run_id
    total_ms = (time.perf_counter() - received) * 1e3
    assert live.gathered is not None
    try:
        if live.gathered.numbers <= PIECE_NUMBERS:
            return JsonAnswer(simulation_answer(live, order, model, total_ms))
        answer = await asyncio.to_thread(simulation_answer, live, order, model, total_ms)
        return JsonAnswer(answer)
    finally:
        live.release()
