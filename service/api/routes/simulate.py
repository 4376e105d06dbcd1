"""POST /v1/simulate: simulates and answers with all results."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.api.answers import describe_answers
from service.api.bodies import read_body, wait_for_disconnect
from service.api.client_identity import identify_client
from service.api.dependencies import ServiceDep
from service.api.request_bodies import describe_embeddings_body, describe_file
from service.api.request_memory import memory_of
from service.api.simulate_request import (
    check_answer_size,
    check_memory,
    hold_run,
    parse_and_validate,
    predict_run,
    sharing,
)
from service.api.simulate_response import choose_form
from service.json_encoding import JsonAnswer
from service.lifespan import Service
from service.media_types import OCTET_STREAM
from service.requests.safetensors_body import ANSWER
from service.runs.views import render_estimate
from service.schemas.simulate import EstimateAnswer, SimulateAnswer, SimulateRequest
from service.threads import Threads, in_thread

router = APIRouter(prefix="/v1", tags=["simulate"])

_TENSORS = (
    "outputs by name, columns of the trace as trace_seq, trace_step and so on, and the other "
    f"members as JSON in the tensor {ANSWER}, uint8"
)


@router.post(
    "/simulate",
    responses=describe_answers(
        SimulateAnswer,
        EstimateAnswer,
        content={OCTET_STREAM: describe_file(_TENSORS)},
    ),
    openapi_extra=describe_embeddings_body(SimulateRequest),
)
async def simulate(
    request: Request,
    service: ServiceDep,
    dry_run: Annotated[
        bool, Query(description="check everything and return the cost; run nothing")
    ] = False,
) -> Response:
    """Simulate now and return all results as JSON or, by ``Accept``, as ``.safetensors``.

    If the client disconnects, the run ends within a step.
    """
    if dry_run:
        body = await read_body(request)
        simulation, model = await parse_and_validate(service, request, body, "dry_run", loads=False)
        check_answer_size(simulation)
        memory_of(request).check(predict_run(simulation, choose_form(request).copies))
        check_memory(service.executor, simulation, model)
        return JsonAnswer(render_estimate(service.executor, simulation, model))
    with sharing(service, request):
        return await _simulate(request, service)


async def _simulate(request: Request, service: Service) -> Response:
    received = time.perf_counter()
    body = await read_body(request)
    simulation, model = await parse_and_validate(service, request, body, "dry_run")
    del body
    check_answer_size(simulation)
    form = choose_form(request)
    await hold_run(request, simulation, form.copies)
    run = await service.runs.simulate(
        simulation, model, identify_client(request), partial(wait_for_disconnect, request)
    )
    request.state.run_id = run.run_id
    total_ms = (time.perf_counter() - received) * 1e3
    assert run.results is not None
    try:
        if form.is_quick(run.results):
            answer = form.encode(run, simulation, model, total_ms)
        else:
            answer = await in_thread(Threads.BODIES, form.encode, run, simulation, model, total_ms)
    finally:
        run.release()
    return Response(answer, media_type=form.media_type)
