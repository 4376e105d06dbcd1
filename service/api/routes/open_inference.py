"""Open Inference Protocol: inference, and what the server and its models are."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from starlette.responses import Response

from service.api.dependencies import ServiceDep, client_gone, read_body
from service.api.simulate_request import check_answer_size
from service.json_encoding import PIECE_NUMBERS, JsonAnswer
from service.lifespan import Service
from service.models.registry import Model
from service.open_inference import metadata
from service.open_inference.answer import inference_answer
from service.open_inference.compression import chosen_encoding, decompressed
from service.open_inference.documentation import REFUSALS, infer_body, infer_responses
from service.open_inference.inference import (
    find_served,
    order_of,
    served_name,
)
from service.open_inference.request import HEADER_LENGTH, Inference, read_inference
from service.open_inference.schemas import (
    Health,
    InferAnswer,
    ModelMetadata,
    ServerMetadata,
    StatisticsAnswer,
)
from service.open_inference.statistics import InferenceStatistics
from service.problems import Problem, unavailable
from service.requests.embeddings import PIECE_BYTES

router = APIRouter(prefix="/v2", tags=["open inference"], responses=REFUSALS)


_INFER: dict[str, Any] = {
    "response_model": InferAnswer,
    "response_model_exclude_unset": True,
    "responses": infer_responses(),
    "openapi_extra": infer_body(),
}


@router.post("/models/{name}/infer", **_INFER)
@router.post("/models/{name}/versions/{version}/infer", **_INFER)
async def infer(
    name: str,
    request: Request,
    service: ServiceDep,
    version: str | None = None,
    header_length: Annotated[
        str | None,
        Header(alias=HEADER_LENGTH, description="bytes of JSON; behind them, tensors as bytes"),
    ] = None,
    content_encoding: Annotated[str, Header(description="of the body: gzip, deflate")] = "",
    accept_encoding: Annotated[
        str, Header(description="gzip or deflate, alone: how the answer is to be compressed")
    ] = "",
) -> Response:
    """Simulates, as ``POST /v1/simulate`` does: a run that is kept.

    A client that hangs up ends its run within a step.
    """
    received = time.perf_counter()
    body = await read_body(request)
    model = _model(service, name, version)
    statistics = _held_statistics(request).of(model)
    try:
        if not model.is_loaded:
            said = f"the model {name!r} is not loaded; POST /v2/repository/models/{name}/load"
            raise Problem(409, said)
        settings = service.settings
        inference = await _read(
            body, content_encoding, header_length, model, settings.max_body_bytes
        )
        order = await order_of(inference, model, settings.max_samples)
        del body
        check_answer_size(order)
        read = time.perf_counter()
        live = await service.runs.simulate(order, model, lambda: client_gone(request))
        ended = time.perf_counter()
        request.state.run_id = live.run_id
        timing = live.timing()
        assert live.gathered is not None
        encoding = chosen_encoding(accept_encoding)
        arguments = (live, order, inference, served_name(model), encoding)
        try:
            if live.gathered.array_numbers <= PIECE_NUMBERS and encoding is None:
                answer = inference_answer(*arguments)
            else:
                answer = await asyncio.to_thread(inference_answer, *arguments)
        finally:
            live.release()
    except BaseException:
        statistics.failed(time.perf_counter() - received)
        raise
    told = time.perf_counter()
    statistics.succeeded(
        order.samples,
        told - received,
        queue=timing["queue_ms"] / 1e3,
        compute_input=read - received,
        compute_infer=timing["compute_ms"] / 1e3,
        compute_output=told - ended,
    )
    return Response(answer.body, headers=answer.headers)


@router.get("/health/live", response_model=Health)
async def inference_live() -> Response:
    """Whether the event loop goes round; never waits for the engine."""
    return JsonAnswer({"live": True})


@router.get("/health/ready", response_model=Health)
async def inference_ready(service: ServiceDep) -> Response:
    """Whether inferences are taken."""
    reason = service.accepting()
    if reason is not None:
        raise unavailable(reason)
    return JsonAnswer({"ready": True})


@router.get("", response_model=ServerMetadata)
async def describe_server(request: Request) -> Response:
    """Name, version and extensions."""
    return JsonAnswer(metadata.server_metadata(request.app.version))


@router.get("/models/stats", response_model=StatisticsAnswer)
async def all_statistics(request: Request, service: ServiceDep) -> Response:
    """Counts and times of the inferences of all models."""
    return _statistics(request, service, service.models.newest_first()[::-1])


@router.get("/models/{name}/stats", response_model=StatisticsAnswer)
@router.get("/models/{name}/versions/{version}/stats", response_model=StatisticsAnswer)
async def model_statistics(
    name: str, request: Request, service: ServiceDep, version: str | None = None
) -> Response:
    """Counts and times of the inferences of a model."""
    return _statistics(request, service, [_model(service, name, version)])


@router.get("/models/{name}", response_model=ModelMetadata)
@router.get("/models/{name}/versions/{version}", response_model=ModelMetadata)
async def describe_served_model(
    name: str, service: ServiceDep, version: str | None = None
) -> Response:
    """A model's inputs and outputs."""
    return JsonAnswer(metadata.model_metadata(_model(service, name, version)))


@router.get("/models/{name}/ready", response_model=Health)
@router.get("/models/{name}/versions/{version}/ready", response_model=Health)
async def served_model_ready(
    name: str, service: ServiceDep, version: str | None = None
) -> Response:
    """Whether a model is loaded and takes inferences."""
    model = _model(service, name, version)
    reason = service.accepting()
    if not model.is_loaded or reason is not None:
        raise unavailable(reason or f"the model {name!r} is not loaded")
    return JsonAnswer({"name": name, "ready": True})


@router.get("/models/{name}/config", response_model=dict[str, Any])
@router.get("/models/{name}/versions/{version}/config", response_model=dict[str, Any])
async def served_model_config(
    name: str, service: ServiceDep, version: str | None = None
) -> Response:
    """A model's config, as the protocol has it."""
    return JsonAnswer(metadata.model_config(_model(service, name, version)))


async def _read(
    body: bytes, encoding: str, header_length: str | None, model: Model, limit: int
) -> Inference:
    dimension = model.config.embedding_dim

    def read() -> Inference:
        return read_inference(decompressed(body, encoding, limit), header_length, dimension)

    # Bytes are not parsed; only what is JSON or compressed takes its time.
    text = len(body) if header_length is None or not header_length.isdecimal() else None
    small = (int(header_length or 0) if text is None else text) <= PIECE_BYTES
    return read() if small and not encoding else await asyncio.to_thread(read)


def _model(service: Service, name: str, version: str | None) -> Model:
    return find_served(service.models, name, version)


def _held_statistics(request: Request) -> InferenceStatistics:
    held: InferenceStatistics = request.app.state.inference_statistics
    return held


def _statistics(request: Request, service: Service, models: list[Model]) -> Response:
    held, device = _held_statistics(request), service.engine.device.type
    return JsonAnswer({"model_stats": [held.describe(model, device) for model in models]})
