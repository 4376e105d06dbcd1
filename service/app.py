"""``create_app``: the application; nothing is started before its lifespan."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Final

from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Scope

from energy_flow.choices import Preset, ServerState
from energy_flow.engine import Executor
from service.api.error_handlers import install_error_handlers
from service.api.middleware.api_keys import RequireKey
from service.api.middleware.availability import Availability
from service.api.middleware.body_limit import BodyLimit, BytesInFlight
from service.api.middleware.content_coding import ContentCoding
from service.api.middleware.cors import cors_options
from service.api.middleware.cross_site import RefuseCrossSite
from service.api.middleware.head_requests import HeadRequests
from service.api.middleware.host_check import CheckHost
from service.api.middleware.host_names import HostNames
from service.api.middleware.path_check import CheckPath
from service.api.middleware.path_prefix import PathPrefix
from service.api.middleware.query_limit import QueryLimit
from service.api.middleware.request_ids import RequestIds
from service.api.middleware.unread_body import UnreadBody
from service.api.openapi import DocumentedApp
from service.api.query_parameters import refuse_unknown_parameters
from service.api.request_memory import RequestMemory
from service.api.routes import (
    ablations,
    datasets,
    events,
    experiments,
    health,
    metrics,
    models,
    open_inference,
    open_inference_admin,
    outputs,
    pages,
    reference,
    replays,
    results,
    runs,
    simulate,
    system,
    traces,
    trials,
)
from service.lifespan import DEFAULT_LIMITS, Service, ServiceLimits
from service.monitoring.gauges import StateCollector
from service.monitoring.requests import CountRequests
from service.open_inference.statistics import InferenceStatistics
from service.requests.json_body import MAX_WHOLE_BYTES
from service.settings import Settings, default_config
from service.threads import limit_download_threads

log = logging.getLogger(__name__)

_WITH_ARRAYS: Final = re.compile(
    r"/v1/(simulate|runs)|/v2/models/[^/]+(/versions/[^/]+)?/infer", re.DOTALL
)
"""Paths of requests with arrays of numbers."""


def create_app(
    settings: Settings, limits: ServiceLimits = DEFAULT_LIMITS, executor: Executor | None = None
) -> FastAPI:
    """Return the application.

    Its ``state.service`` starts with the lifespan and continues to start in the background, so that
    probes are answered meanwhile.

    Args:
        settings: The server's settings.
        limits: The server's other limits.
        executor: Carries out work, and has not been started; by default an engine in this process.
    """
    service = Service(settings, limits, executor)
    installed = version("energy-flow")

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        limit_download_threads()
        service.begin()
        documenting = asyncio.create_task(_make_document(app, service))
        try:
            yield
        finally:
            documenting.cancel()
            await service.drain()

    app = DocumentedApp(
        read_config=lambda: service.default_model_config or default_config(settings),
        preset=settings.preset or Preset.DEBUG,
        title="Energy Flow",
        version=installed,
        description="Embeddings in; surfaces, event traces and memory telemetry out.",
        lifespan=lifespan,
        # For clients of the Open Inference Protocol, a redirect is an error.
        redirect_slashes=False,
        # The pages have a reference that needs no CDN; a route returns the document.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.service = service
    app.state.inference_statistics = InferenceStatistics()
    # Routes are tried in this order, so those that simulate are the first.
    for routes in (
        simulate,
        open_inference,
        health,
        metrics,
        runs,
        events,
        outputs,
        traces,
        replays,
        models,
        ablations,
        datasets,
        experiments,
        trials,
        results,
        system,
        reference,
        pages,
        open_inference_admin,
    ):
        app.include_router(routes.router, dependencies=[Depends(refuse_unknown_parameters)])
    install_error_handlers(app)
    # The last one added is the outermost.
    in_flight = BytesInFlight(settings.max_inflight_bytes)
    service.instruments.watch_bodies(lambda: in_flight.count, in_flight.limit)
    memory = RequestMemory(lambda: service.executor.host_memory)
    service.instruments.watch_requests(lambda: memory.bytes)
    app.add_middleware(
        BodyLimit,
        limit=partial(_body_limit, settings),
        in_flight=in_flight,
        memory=memory,
        arrival_seconds=limits.arrival_seconds,
    )
    # The limits hold for what is decoded.
    app.add_middleware(ContentCoding)
    app.add_middleware(HeadRequests)
    app.add_middleware(QueryLimit)
    app.add_middleware(Availability, state=lambda: service.state)
    app.add_middleware(RequireKey, keys=service.keys, is_open=pages.is_page)
    names = HostNames(settings.allowed_hosts, settings.host)
    app.add_middleware(RefuseCrossSite, names=names, allowed_origins=settings.cors_origins)
    if settings.cors_origins:
        # Outside the check of keys: a browser asks without one whether it may send it.
        app.add_middleware(CORSMiddleware, **cors_options(settings.cors_origins))
    app.add_middleware(CheckHost, names=names, is_open=lambda: service.keys.is_open)
    app.add_middleware(CheckPath)
    app.add_middleware(RequestIds)
    app.add_middleware(CountRequests, instruments=service.instruments)
    if service.tracer_provider is not None:
        from service.monitoring.spans import RequestSpans

        app.add_middleware(RequestSpans, tracer=service.tracer_provider.get_tracer(__name__))
    app.add_middleware(PathPrefix, prefix=settings.root_path or "")
    app.add_middleware(UnreadBody)
    service.instruments.registry.register(StateCollector(service, installed))
    return app


async def _make_document(app: DocumentedApp, service: Service) -> None:
    """Make the OpenAPI document before it is requested, in a thread."""
    await service.wait_until_started()
    if service.state is not ServerState.READY:
        return
    try:
        await asyncio.to_thread(app.encode_document)
    except Exception:
        log.warning("the OpenAPI document is made once it is requested", exc_info=True)


def _body_limit(settings: Settings, scope: Scope) -> int:
    """Return the most bytes of a body; files, which are streamed to the disk, may be larger."""
    if scope["method"] == "PUT":
        return settings.max_upload_bytes
    if scope["method"] == "POST" and _WITH_ARRAYS.fullmatch(scope["path"]):
        return settings.max_body_bytes
    return min(MAX_WHOLE_BYTES, settings.max_body_bytes)
