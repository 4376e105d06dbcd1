"""Refusal of query parameters that a route does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from service.problems import invalid
from service.requests.query import check_parameter_count, unknown_parameter

_PREFIX: Final = "/v1/"


async def refuse_unknown_parameters(request: Request) -> None:
    """Refuse a request below ``/v1`` with query parameters that its route does not have.

    Routes that read members of a body from the query check them with the members.

    Args:
        request: The request.

    Raises:
        Problem: 413, there are too many parameters; 422, with every parameter that is not known.
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
        raise invalid(faults)


def _find_names(route: APIRoute) -> frozenset[str] | None:
    """Return the parameters of a route; ``None`` if it reads members of a body from the query."""
    if (route.openapi_extra or {}).get("parameters"):
        return None
    return frozenset(_iterate_names(route.dependant))


def _iterate_names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _iterate_names(inner)
