"""``create_app``: the application with everything in it; nothing happens before its lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.types import Scope

from service.api import error_handlers, openapi
from service.api.middleware import ApiKey, Availability, BodyLimit, RequestIds
from service.api.routes import (
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
    replays,
    runs,
    simulate,
    system,
    traces,
)
from service.lifespan import Service, default_config
from service.monitoring.gauges import StateCollector
from service.monitoring.requests import CountRequests
from service.open_inference.statistics import InferenceStatistics
from service.settings import Settings


class FlowApp(FastAPI):
    """The application; its OpenAPI document has examples for the model that it serves."""

    def openapi(self) -> dict[str, Any]:
        """The document, made when it is first asked for."""
        if self.openapi_schema is None:
            service: Service = self.state.service
            config = service.default_model_config or default_config(service.settings)
            self.openapi_schema = openapi.document(self, config, service.settings.preset)
        return self.openapi_schema


def create_app(settings: Settings) -> FastAPI:
    """The application.

    Its ``state.service`` is the service behind it (:mod:`service.lifespan`), which starts with the
    lifespan and goes on starting in the background: probes are answered meanwhile.
    """
    service = Service(settings)
    installed = version("energy-flow")

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.begin()
        try:
            yield
        finally:
            await service.drain()

    app = FlowApp(
        title="Energy Flow",
        version=installed,
        description="Embeddings in; surfaces, event traces and memory telemetry out.",
        lifespan=lifespan,
        # Clients of the Open Inference Protocol take a redirect for a failure.
        redirect_slashes=False,
        # The pages bring a reference that needs no CDN.
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.state.inference_statistics = InferenceStatistics()
    # Routes are tried in this order, so the ways to simulate come first.
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
        datasets,
        experiments,
        system,
        pages,
        open_inference_admin,
    ):
        app.include_router(routes.router)
    error_handlers.install(app)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, limit=lambda scope: _body_limit(settings, scope))
    app.add_middleware(Availability, state=lambda: service.state)
    key = settings.api_key
    app.add_middleware(
        ApiKey,
        key=None if key is None else key.get_secret_value(),
        is_open=pages.is_page,
    )
    app.add_middleware(RequestIds)
    app.add_middleware(CountRequests, instruments=service.instruments)
    service.instruments.registry.register(StateCollector(service, installed))
    return app


def _body_limit(settings: Settings, scope: Scope) -> int:
    """Files are streamed to disk and may be larger than what is read into memory."""
    return settings.max_upload_bytes if scope["method"] == "PUT" else settings.max_body_bytes
