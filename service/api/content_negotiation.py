"""The format of an answer, by its name in the query or by ``Accept``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import Query, Request

from energy_flow.choices import unknown_name
from service.problems import Problem, cut_text


def format_parameter(formats: Iterable[str]) -> Any:
    """Return the query parameter ``format``.

    Args:
        formats: Names of the known formats.
    """
    names = list(formats)
    return Query(
        alias="format",
        description=f"{', '.join(names)}; else by Accept",
        json_schema_extra={"enum": names},
    )


def choose_format(
    request: Request, name: str | None, media_types: Mapping[str, str], what: str
) -> str:
    """Return the name of the answer's format.

    Args:
        request: The request, whose ``Accept`` counts if no name is given.
        name: The name in the query, if any.
        media_types: Media types by the names of the known formats; the first is the default.
        what: What the answer is, for messages.

    Raises:
        Problem: 406, naming the known formats.
    """
    if name is not None:
        if name not in media_types:
            message = f"{what} has no format {cut_text(name)!r}; {unknown_name(name, media_types)}"
            raise Problem(406, message)
        return name
    accept = request.headers.get("accept", "")
    for accepted in _parse_accept(accept):
        for known, media_type in media_types.items():
            if accepted in ("*/*", media_type, media_type.partition("/")[0] + "/*"):
                return known
    known_types = ", ".join(f"{known} ({media})" for known, media in media_types.items())
    message = f"{what} cannot be sent as {cut_text(accept)!r}; known are {known_types}"
    raise Problem(406, message)


def _parse_accept(accept: str) -> list[str]:
    """Return the media types of an ``Accept`` header, the preferred one first."""
    if not accept.strip():
        return ["*/*"]
    weighted: list[tuple[float, int, str]] = []
    for entry in accept.split(","):
        media_type, *parameters = (part.strip() for part in entry.split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        if quality > 0:
            weighted.append((-quality, len(weighted), media_type.lower()))
    return [media_type for _, _, media_type in sorted(weighted)]
