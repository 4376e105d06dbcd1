"""What routes ask for: the service behind them, and what several of them read from a request."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Depends, Request

from energy_flow.errors import Fault
from service.lifespan import Service
from service.problems import Problem, invalid
from service.requests.embeddings import read_json
from service.requests.validate import JSON

MOST_ITEMS = 1000


async def get_service(request: Request) -> Service:
    """The service of this application."""
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(get_service)]


async def read_body(request: Request) -> bytes:
    """The whole body; its limit is the middleware's."""
    return b"".join([piece async for piece in request.stream()])


async def read_object(request: Request, body: bytes) -> dict[str, Any]:
    """The members of a JSON body.

    Raises:
        Problem: 400, it is no JSON object; 415, it does not say that it is JSON.
    """
    if media_type(request) != JSON:
        said = f"Content-Type is {media_type(request) or 'missing'}; known is {JSON}"
        raise Problem(415, said, headers={"Accept-Post": JSON})
    document = await asyncio.to_thread(read_json, body)
    if not isinstance(document, dict):
        raise Problem(400, "the body must be a JSON object")
    return document


async def client_gone(request: Request) -> None:
    """Until the client hangs up; only once the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def media_type(request: Request) -> str:
    """The type of the body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def content_length(request: Request) -> int | None:
    """The length of the body, where it is told beforehand."""
    told = request.headers.get("content-length", "")
    return int(told) if told.isdecimal() else None


def query_lists(request: Request, *without: str) -> dict[str, list[str]]:
    """All query parameters but some, each with every value that it has."""
    query = request.query_params
    return {name: query.getlist(name) for name in query if name not in without}


def idempotency(request: Request, body: bytes) -> tuple[str, str] | None:
    """The caller's key, and a digest by which a repetition is told from another request.

    Raises:
        Problem: 422, the key is empty or too long.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= 255:
        said = "must have 1 to 255 characters"
        raise invalid([Fault(("Idempotency-Key",), said, key)])
    digest = hashlib.sha256()
    for part in (request.url.path, request.url.query, media_type(request)):
        digest.update(part.encode() + b"\0")
    digest.update(body)
    return key, digest.hexdigest()


def choose_format(asked: str | None, accept: str, media_types: Mapping[str, str], what: str) -> str:
    """The format of an answer: the one asked for by name, else the best by Accept.

    Args:
        media_types: of the known formats by name; the first is the default.

    Raises:
        Problem: 406, naming those that are known.
    """
    known = ", ".join(media_types)
    if asked is not None:
        if asked not in media_types:
            raise Problem(406, f"{what} has no format {asked!r}; known are {known}")
        return asked
    for wanted in _by_preference(accept):
        for name, media in media_types.items():
            if wanted in ("*/*", media) or wanted == media.partition("/")[0] + "/*":
                return name
    listed = ", ".join(f"{name} ({media})" for name, media in media_types.items())
    raise Problem(406, f"{what} cannot be given as {accept!r}; known are {listed}")


def _by_preference(accept: str) -> Sequence[str]:
    if not accept.strip():
        return ["*/*"]
    weighed: list[tuple[float, int, str]] = []
    for entry in accept.split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        if quality > 0:
            weighed.append((-quality, len(weighed), media.lower()))
    return [media for _, _, media in sorted(weighed)]
