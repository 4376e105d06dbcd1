"""What several routes need of a request: the service, query parameters, the idempotency key."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import Depends, Path, Request

from energy_flow.errors import Fault
from service.api.bodies import read_media_type
from service.lifespan import Service
from service.problems import invalid
from service.requests.json_body import MAX_WHOLE_BYTES
from service.store.idempotency import IdempotencyKey
from service.threads import Threads, in_thread


async def get_service(request: Request) -> Service:
    """Return the service of the application."""
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(get_service)]

ExperimentId = Annotated[
    str, Path(description="its id, its name, or the beginning of its id, from 6 characters")
]


def read_query(request: Request, *excluded: str) -> dict[str, list[str]]:
    """Return all values of each query parameter.

    Args:
        request: The request.
        excluded: Names of parameters to leave out.
    """
    query = request.query_params
    return {name: query.getlist(name) for name in query if name not in excluded}


async def read_idempotency_key(request: Request, body: bytes) -> IdempotencyKey | None:
    """Return the caller's key with a digest of the request, if the request has one.

    The digest of a large body is computed in a thread.

    Args:
        request: The request.
        body: Its body.

    Raises:
        Problem: 422, the key is empty or too long.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= 255:
        raise invalid([Fault(("Idempotency-Key",), "must have 1 to 255 characters", key)])
    digest = hashlib.sha256()
    for part in (request.url.path, request.url.query, read_media_type(request)):
        digest.update(part.encode() + b"\0")
    if len(body) <= MAX_WHOLE_BYTES:
        digest.update(body)
    else:
        await in_thread(Threads.BODIES, digest.update, body)
    return IdempotencyKey(key, digest.hexdigest())
