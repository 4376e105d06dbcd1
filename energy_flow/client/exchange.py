"""Requests and answers of HTTP, apart from the library that carries them; refusals (RFC 9457)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import orjson

from energy_flow.client.errors import PROBLEM_BY_STATUS, FieldError, FlowClientError, ProblemError


@dataclass(frozen=True, slots=True)
class FileBody:
    """A file as the body of a request, sent piece by piece.

    Attributes:
        path: the file.
        size: its bytes.
        on_progress: called after each piece with the bytes sent so far and ``size``.
    """

    path: Path
    size: int
    on_progress: Callable[[int, int], object] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, not yet sent.

    Attributes:
        method: the HTTP method.
        path: below the server's address.
        query: names and values.
        headers: by name, in lower case.
        body: bytes, or a file.
        save_to: where the body of a successful answer is written, instead of memory.
        repeatable: whether it may be sent again after the connection broke.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | FileBody | None = None
    save_to: Path | None = None
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer.

    Attributes:
        status: the HTTP status.
        headers: by name, in lower case.
        body: empty where it was written to a file.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Return whether the status is 200 to 299."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class NoResponse:
    """The reason why there is no complete answer.

    Attributes:
        error: what to raise if the request is not sent again.
        broken: whether the connection broke after it was made, so that the server may have acted.
    """

    error: FlowClientError
    broken: bool


NOT_FOUND: Final = 404

_MEMBERS = frozenset({"type", "title", "status", "detail", "errors"})


def read_problem(reply: Reply) -> ProblemError:
    """Return the exception for an answer that is no success, whether or not it is a problem."""
    try:
        data = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        data = None
    if not isinstance(data, dict):
        text = reply.body[:200].decode("utf-8", "replace").strip()
        data = {"detail": text or "the answer gives no reason"}
    if reply.status == NOT_FOUND and "title" not in data:
        # Every 404 of a server of Energy Flow about a resource is a problem document.
        data = {
            "title": "Not Found",
            "detail": "no server of Energy Flow answers at this address; check the URL of the "
            "client: it is the address alone, such as http://127.0.0.1:8000, without /v1, or with "
            "the prefix below which a proxy serves it",
        }
    retry_after = parse_retry_after(reply.headers.get("retry-after"))
    return problem_from_json({**data, "status": reply.status}, retry_after)


def problem_from_json(data: Mapping[str, Any], retry_after: float | None = None) -> ProblemError:
    """Return the exception for a problem document.

    Args:
        data: the document.
        retry_after: seconds after which the server accepts the request again.
    """
    status = int(data.get("status", 500))
    return PROBLEM_BY_STATUS.get(status, ProblemError)(
        status,
        str(data.get("title") or "Refused"),
        str(data.get("detail") or ""),
        type=str(data.get("type") or "about:blank"),
        errors=_field_errors(data.get("errors")),
        retry_after=retry_after,
        extensions={name: value for name, value in data.items() if name not in _MEMBERS},
    )


def problem_of(document: Mapping[str, Any]) -> ProblemError | None:
    """Return the problem in the member ``error`` of a document; none where it has none."""
    error = document.get("error")
    return problem_from_json(error) if isinstance(error, Mapping) else None


def _field_errors(data: Any) -> tuple[FieldError, ...]:
    if not isinstance(data, list):
        return ()
    return tuple(
        FieldError(tuple(entry.get("loc") or ()), str(entry.get("msg", "")), entry.get("got"))
        for entry in data
        if isinstance(entry, dict)
    )


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks to wait (RFC 9110, 10.2.3).

    Args:
        value: the header, seconds or a date.
        now: the current time, by default that of the clock.

    Returns:
        Seconds from 0, or ``None`` where the header is missing or malformed.
    """
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
