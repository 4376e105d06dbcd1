"""Open Inference Protocol: inference, and metadata of the server and its models."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request
from starlette.responses import Response

from service.api.bodies import read_body, wait_for_disconnect
from service.api.client_identity import identify_client
from service.api.dependencies import ServiceDep
from service.api.request_memory import memory_of
from service.api.simulate_request import (
    JSON_COPIES,
    TENSOR_COPIES,
    check_answer_size,
    hold_run,
    sharing,
)
from service.json_encoding import PIECE_NUMBERS, JsonAnswer
from service.lifespan import Service
from service.models.model import Model
from service.open_inference import metadata
from service.open_inference.answer import make_answer
from service.open_inference.inference_request import (
    HEADER_LENGTH,
    InferenceRequest,
    parse_inference,
)
from service.open_inference.openapi import INFER_ANSWER, INFER_BODY, REFUSALS, describe_answer
from service.open_inference.schemas import (
    Health,
    ModelConfig,
    ModelMetadata,
    ServerMetadata,
    StatisticsAnswer,
)
from service.open_inference.served_models import find_served_model, served_name
from service.open_inference.statistics import InferenceStatistics
from service.open_inference.validate import validate_inference
from service.problems import Problem, unavailable
from service.requests.digits import parse_digits
from service.requests.large_arrays import PIECE_BYTES
from service.requests.parsing_memory import BFLOAT16_FACTOR, predict_check, predict_json
from service.threads import Threads, in_thread

router = APIRouter(prefix="/v2", tags=["open inference"], responses=REFUSALS)

_INFER: Final[dict[str, Any]] = {"responses": INFER_ANSWER, "openapi_extra": INFER_BODY}


@router.post("/models/{name}/infer", **_INFER)
@router.post("/models/{name}/versions/{version}/infer", **_INFER)
async def infer(
    name: str,
    request: Request,
    service: ServiceDep,
    version: str | None = None,
    header_length: Annotated[
        str | None,
        Header(alias=HEADER_LENGTH, description="bytes of JSON; tensors as bytes follow"),
    ] = None,
) -> Response:
    """Simulate as ``POST /v1/simulate`` does; the run is stored.

    If the client disconnects, the run ends within a step.
    """
    with sharing(service, request):
        return await _infer(name, request, service, version, header_length)


async def _infer(
    name: str, request: Request, service: Service, version: str | None, header_length: str | None
) -> Response:
    received = time.perf_counter()
    body = await read_body(request)
    model = find_served_model(service.models, name, version)
    statistics = _find_statistics(request).of_model(model)
    try:
        if not model.is_served:
            message = f"the model {name!r} is not loaded; POST /v2/repository/models/{name}/load"
            raise Problem(409, message)
        settings = service.settings
        inference = await _parse(request, body, header_length, model)
        simulation = await validate_inference(
            inference, model, settings.max_samples, service.models.find_fitting
        )
        del body
        check_answer_size(simulation)
        is_binary = all(output.is_binary for output in inference.outputs)
        await hold_run(request, simulation, TENSOR_COPIES if is_binary else JSON_COPIES)
        parsed = time.perf_counter()
        run = await service.runs.simulate(
            simulation, model, identify_client(request), lambda: wait_for_disconnect(request)
        )
        ended = time.perf_counter()
        request.state.run_id = run.run_id
        timing = run.timing()
        assert run.results is not None
        arguments = (run, simulation, inference, served_name(model))
        try:
            if run.results.array_numbers <= PIECE_NUMBERS:
                answer = make_answer(*arguments)
            else:
                answer = await in_thread(Threads.BODIES, make_answer, *arguments)
        finally:
            run.release()
    except BaseException:
        statistics.add_failure(time.perf_counter() - received)
        raise
    answered = time.perf_counter()
    statistics.add_success(
        simulation.samples,
        answered - received,
        queue=timing["queue_ms"] / 1e3,
        compute_input=parsed - received,
        compute_infer=timing["compute_ms"] / 1e3,
        compute_output=answered - ended,
    )
    return Response(answer.body, headers=answer.headers)


@router.get("/health/live", responses=describe_answer(Health))
async def inference_live(service: ServiceDep) -> Response:
    """Return whether the process can work; 503 once only a restart helps. Never wait for a step."""
    reason = service.restart_reason()
    if reason is not None:
        raise unavailable(reason)
    return JsonAnswer({"live": True})


@router.get("/health/ready", responses=describe_answer(Health))
async def inference_ready(service: ServiceDep) -> Response:
    """Return whether inferences are accepted."""
    reason = service.rejection_reason()
    if reason is not None:
        raise unavailable(reason)
    return JsonAnswer({"ready": True})


@router.get("", responses=describe_answer(ServerMetadata))
async def describe_server(request: Request) -> Response:
    """Return the name, version and extensions of the server."""
    return JsonAnswer(metadata.describe_server(request.app.version))


@router.get("/models/stats", responses=describe_answer(StatisticsAnswer))
async def all_statistics(request: Request, service: ServiceDep) -> Response:
    """Return counts and times of the inferences of all models."""
    return _answer_statistics(request, service, service.models.newest_first()[::-1])


@router.get("/models/{name}/stats", responses=describe_answer(StatisticsAnswer))
@router.get("/models/{name}/versions/{version}/stats", responses=describe_answer(StatisticsAnswer))
async def model_statistics(
    name: str, request: Request, service: ServiceDep, version: str | None = None
) -> Response:
    """Return counts and times of the inferences of a model."""
    model = find_served_model(service.models, name, version)
    return _answer_statistics(request, service, [model])


@router.get("/models/{name}", responses=describe_answer(ModelMetadata))
@router.get("/models/{name}/versions/{version}", responses=describe_answer(ModelMetadata))
async def describe_served_model(
    name: str, service: ServiceDep, version: str | None = None
) -> Response:
    """Return the inputs and outputs of a model."""
    return JsonAnswer(metadata.describe_model(find_served_model(service.models, name, version)))


@router.get("/models/{name}/ready", responses=describe_answer(Health))
@router.get("/models/{name}/versions/{version}/ready", responses=describe_answer(Health))
async def served_model_ready(
    name: str, service: ServiceDep, version: str | None = None
) -> Response:
    """Return whether a model is loaded and accepts inferences."""
    model = find_served_model(service.models, name, version)
    reason = service.rejection_reason()
    if not model.is_served or reason is not None:
        raise unavailable(reason or f"the model {name!r} is not loaded")
    return JsonAnswer({"name": name, "ready": True})


@router.get("/models/{name}/config", responses=describe_answer(ModelConfig))
@router.get("/models/{name}/versions/{version}/config", responses=describe_answer(ModelConfig))
async def served_model_config(
    name: str, service: ServiceDep, version: str | None = None
) -> Response:
    """Return the config of a model as the protocol has it."""
    return JsonAnswer(metadata.describe_config(find_served_model(service.models, name, version)))


async def _parse(
    request: Request, body: bytes, header_length: str | None, model: Model
) -> InferenceRequest:
    arguments = (body, header_length, model.config.embedding_dim)
    # Bytes are not parsed, so only JSON needs a thread.
    stated = None if header_length is None else parse_digits(header_length.strip())
    json_bytes = len(body) if stated is None else min(stated, len(body))
    needed = await predict_json(body, None if stated is None else json_bytes)
    needed += BFLOAT16_FACTOR * (len(body) - json_bytes)
    await memory_of(request).hold(needed)
    if json_bytes <= PIECE_BYTES:
        inference = parse_inference(*arguments)
    else:
        inference = await in_thread(Threads.BODIES, parse_inference, *arguments)
    await memory_of(request).hold(predict_check(body, inference.numbers))
    return inference


def _find_statistics(request: Request) -> InferenceStatistics:
    statistics: InferenceStatistics = request.app.state.inference_statistics
    return statistics


def _answer_statistics(request: Request, service: Service, models: list[Model]) -> Response:
    statistics, device = _find_statistics(request), service.device_type
    return JsonAnswer({"model_stats": [statistics.describe(model, device) for model in models]})
