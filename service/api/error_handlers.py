"""Every refusal of the application as a problem document."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from energy_flow.errors import EnergyFlowError, Fault
from service.problems import Problem, invalid, problem_of

log = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Registers the handlers; what none of them knows is left to the middleware."""
    app.add_exception_handler(Problem, _told)
    app.add_exception_handler(EnergyFlowError, _told)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _parameters)


async def _told(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    run_id = problem.extra.get("run_id")
    if run_id is not None:
        request.state.run_id = run_id
    if problem.status == 500:
        told = {"request_id": request.state.request_id, "run_id": run_id}
        log.error("%s %s", request.method, request.url.path, exc_info=error, extra=told)
    return problem.response(request.url.path)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == 404:
        detail = f"there is nothing at {request.url.path}; /docs says what there is"
    if error.status_code == 405:
        allowed = _allowed(request) or (error.headers or {}).get("Allow", "")
        detail = f"{request.method} is not allowed at {request.url.path}; allowed: {allowed}"
        headers = {**(error.headers or {}), "Allow": allowed}
        return Problem(405, detail, headers=headers).response(request.url.path)
    return Problem(error.status_code, detail, headers=error.headers).response(request.url.path)


def _allowed(request: Request) -> str:
    """All methods of a path; the router knows those of the first route that has it."""
    template = getattr(request.scope.get("route"), "path", None)
    operations = request.app.openapi()["paths"].get(template, {})
    return ", ".join(sorted(method.upper() for method in operations))


async def _parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = []
    for entry in error.errors():
        # "query" or "path" is no part of the caller's names.
        loc = tuple(entry["loc"])[1:] or ("body",)
        faults.append(Fault(loc, str(entry["msg"]), entry.get("input")))
    return invalid(faults).response(request.url.path)
