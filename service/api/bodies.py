"""Bodies of requests: their bytes, their headers, and whether the client is still connected."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from service.media_types import JSON
from service.problems import Problem
from service.requests.digits import parse_digits
from service.requests.json_body import parse_object
from service.requests.members import parse_members
from service.schemas.labels import NoteFields


async def read_body(request: Request) -> bytes:
    """Return the whole body. The middleware limits its length."""
    return b"".join([piece async for piece in request.stream()])


async def read_object(request: Request, body: bytes) -> dict[str, Any]:
    """Return the members of a JSON body.

    Args:
        request: The request.
        body: Its body.

    Raises:
        Problem: 400, the body is not a JSON object; 415, its media type is not JSON.
    """
    media_type = read_media_type(request)
    if media_type != JSON:
        message = f"Content-Type is {media_type or 'missing'}; send {JSON}"
        raise Problem(415, message, headers={"Accept-Post": JSON})
    return await parse_object(body)


async def read_labels(request: Request, kind: type[NoteFields]) -> dict[str, Any]:
    """Return the names, tags and notes that a JSON body gives, by column.

    Args:
        request: The request.
        kind: Model of the body.

    Raises:
        Problem: 400, the body is not a JSON object; 415, its media type is not JSON; 422, it has
            faults.
    """
    fields = parse_members(kind, await read_object(request, await read_body(request)))
    return {name: getattr(fields, name) for name in fields.model_fields_set}


def read_media_type(request: Request) -> str:
    """Return the media type of the body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def read_content_length(request: Request) -> int | None:
    """Return the length of the body, if the request states it."""
    return parse_digits(request.headers.get("content-length", "").strip())


async def wait_for_disconnect(request: Request) -> None:
    """Return when the client has disconnected. Call it only once the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
