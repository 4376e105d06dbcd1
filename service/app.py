"""``create_app``: the application; nothing is started before its lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import Depends, FastAPI
from starlette.types import Scope

from energy_flow.choices import Preset
from service.api.error_handlers import install_error_handlers
from service.api.middleware.api_key import ApiKey
from service.api.middleware.availability import Availability
from service.api.middleware.body_limit import BodyLimit
from service.api.middleware.content_coding import ContentCoding
from service.api.middleware.head_requests import HeadRequests
from service.api.middleware.path_prefix import PathPrefix
from service.api.middleware.request_ids import RequestIds
from service.api.openapi import DocumentedApp
from service.api.query_parameters import refuse_unknown_parameters
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
from service.lifespan import DEFAULT_LIMITS, Service, ServiceLimits, default_config
from service.monitoring.gauges import StateCollector
from service.monitoring.requests import CountRequests
from service.open_inference.statistics import InferenceStatistics
from service.settings import Settings


def create_app(settings: Settings, limits: ServiceLimits = DEFAULT_LIMITS) -> FastAPI:
    """Return the application.

    Its ``state.service`` starts with the lifespan and continues to start in the background, so that
    probes are answered meanwhile.

    Args:
        settings: The server's settings.
        limits: The server's other limits.
    """
    service = Service(settings, limits)
    installed = version("energy-flow")

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.begin()
        try:
            yield
        finally:
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
    app.add_middleware(ContentCoding, limit=partial(_body_limit, settings))
    app.add_middleware(BodyLimit, limit=partial(_body_limit, settings))
    app.add_middleware(HeadRequests)
    app.add_middleware(Availability, state=lambda: service.state)
    app.add_middleware(ApiKey, key=settings.api_key, is_open=pages.is_page)
    app.add_middleware(RequestIds)
    app.add_middleware(CountRequests, instruments=service.instruments)
    app.add_middleware(PathPrefix, prefix=settings.root_path or "")
    service.instruments.registry.register(StateCollector(service, installed))
    return app


def _body_limit(settings: Settings, scope: Scope) -> int:
    """Return the most bytes of a body; files, which are streamed to the disk, may be larger."""
    return settings.max_upload_bytes if scope["method"] == "PUT" else settings.max_body_bytes
