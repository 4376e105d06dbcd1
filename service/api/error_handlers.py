"""Every exception of a route, answered as a problem document."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from energy_flow.errors import EnergyFlowError, MemoryInUse
from service.api.query_parameters import describe_parameters
from service.api.request_memory import MEMORY_IN_USE
from service.problems import Problem, invalid, problem_of

log = logging.getLogger(__name__)

_METHODS = ("DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT")


def install_error_handlers(app: FastAPI) -> None:
    """Register the handlers of an application. The middleware handles all other exceptions."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(EnergyFlowError, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(RequestValidationError, _answer_invalid_parameters)


async def _answer_problem(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if isinstance(error, MemoryInUse):
        # Its status is also that of a full queue.
        request.state.refusal_reason = MEMORY_IN_USE
    run_id = problem.extra.get("run_id")
    if run_id is not None:
        request.state.run_id = run_id
    if problem.status == 500:
        ids = {"request_id": request.state.request_id, "run_id": run_id}
        log.error("%s %s", request.method, request.url.path, exc_info=error, extra=ids)
    return problem.response(request.url.path)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    detail, headers = error.detail, dict(error.headers or {})
    if error.status_code == 404:
        detail = f"there is nothing at {path}; /docs lists what there is"
    if error.status_code == 405:
        allowed = ", ".join(_find_methods(request)) or headers.get("Allow", "")
        detail = f"{request.method} is not allowed at {path}; allowed are {allowed}"
        headers["Allow"] = allowed
    return Problem(error.status_code, detail, headers=headers).response(path)


def _find_methods(request: Request) -> list[str]:
    """Return all methods of a path; the router reports those of its first route only."""
    scopes = {method: {**request.scope, "method": method} for method in _METHODS}
    found = [
        method
        for method, scope in scopes.items()
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
    ]
    return sorted([*found, "HEAD"]) if "GET" in found else found


async def _answer_invalid_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return invalid(describe_parameters(error.errors())).response(request.url.path)
