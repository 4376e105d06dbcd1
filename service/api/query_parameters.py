"""Refusal of query parameters that a route does not have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.routing import APIRoute

from energy_flow.config.messages import describe_error
from energy_flow.errors import Fault
from service.problems import invalid
from service.requests.query import check_parameter_count, unknown_parameter

_PREFIX: Final = "/v1/"


async def refuse_unknown_parameters(request: Request) -> None:
    """Refuse a request below ``/v1`` with query parameters that its route does not have.

    Routes that read members of a body from the query check them with the members.

    Args:
        request: The request.

    Raises:
        Problem: 413, there are too many parameters; 422, some are not known, with every fault of
            the query.
    """
    if not request.scope["query_string"] or not request.url.path.startswith(_PREFIX):
        return
    known = _find_names(request.scope["route"])
    if known is None:
        return
    query = request.query_params
    check_parameter_count(query)
    faults = [unknown_parameter(name, query[name], known) for name in query if name not in known]
    if faults:
        raise invalid([*faults, *_find_invalid(request)])


def _find_names(route: APIRoute) -> frozenset[str] | None:
    """Return the parameters of a route; ``None`` if it reads members of a body from the query."""
    if (route.openapi_extra or {}).get("parameters"):
        return None
    return frozenset(field.alias for field in _iterate_fields(route.dependant))


def _find_invalid(request: Request) -> list[Fault]:
    """Return the faults of the parameters that the route has."""
    fields = list(_iterate_fields(request.scope["route"].dependant))
    _, errors = request_params_to_args(fields, request.query_params)
    return describe_parameters(errors)


def describe_parameters(errors: Iterable[Any]) -> list[Fault]:
    """Return faults of parameters as those of a request.

    Args:
        errors: Errors of pydantic, with where the parameters are as first place.
    """
    return [
        # Without "query" or "path", which are no names of the caller's.
        Fault(tuple(error["loc"])[1:] or ("body",), describe_error(error), error.get("input"))
        for error in errors
    ]


def _iterate_fields(dependant: Dependant) -> Iterator[Any]:
    yield from dependant.query_params
    for inner in dependant.dependencies:
        yield from _iterate_fields(inner)
