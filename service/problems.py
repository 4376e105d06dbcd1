"""Refusals as RFC 9457 problem documents.

A route raises :class:`Problem` or an exception of ``energy_flow``; both are answered with
``application/problem+json``. :func:`problem_of` is the table from exceptions to statuses.
"""

from __future__ import annotations

import errno
import math
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from energy_flow.choices import RunState
from energy_flow.errors import (
    CapacityError,
    DeadlineExceeded,
    DeviceMemoryError,
    EngineFailed,
    EngineUnavailable,
    Fault,
    InvalidInput,
    LedgerError,
    NonFiniteError,
    QueueFull,
    RunCancelled,
)
from service.media_types import JSON, PROBLEM

OPEN_INFERENCE: Final = "/v2"
"""Path below which refusals have the form of the Open Inference Protocol."""

# A fault has enough of a value to recognise it, but never a whole body.
MAX_CHARACTERS: Final = 200
MAX_ENTRIES: Final = 10
MAX_DEPTH: Final = 4
MAX_LISTED_FAULTS: Final = 5

TITLES: Final[Mapping[int, str]] = {
    400: "Malformed request",
    401: "Not authenticated",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Request timeout",
    409: "Not allowed in this state",
    413: "Too large",
    415: "Unsupported media type",
    422: "Invalid input",
    429: "Queue full",
    499: "Client closed request",
    500: "Internal error",
    501: "Not offered",
    503: "Unavailable",
    504: "Deadline passed",
    507: "Disk full",
}


class Problem(Exception):
    """A refusal of a request.

    Attributes:
        status: HTTP status.
        detail: What is wrong and what to do next.
        faults: All faults of the request.
        extra: Further members of the document.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        faults: Iterable[Fault] = (),
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.faults = tuple(faults)
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
        super().__init__(detail)

    def to_dict(self) -> dict[str, Any]:
        """Return the document as JSON data."""
        title = TITLES.get(self.status, "Refused")
        return {
            "type": f"urn:energy-flow:problem:{title.lower().replace(' ', '-')}",
            "title": title,
            "status": self.status,
            "detail": self.detail,
            "errors": [
                {"loc": list(fault.loc), "msg": fault.msg, "got": shorten(fault.got)}
                for fault in self.faults
            ],
            **self.extra,
        }

    def with_extra(self, **extra: Any) -> Problem:
        """Return the refusal with further members in its document."""
        return Problem(
            self.status,
            self.detail,
            faults=self.faults,
            extra={**self.extra, **extra},
            headers=self.headers,
        )

    def response(self, path: str = "") -> Response:
        """Return the answer to a request.

        Args:
            path: Path of the request.
        """
        is_inference = path == OPEN_INFERENCE or path.startswith(OPEN_INFERENCE + "/")
        return Response(
            orjson.dumps({"error": self.detail} if is_inference else self.to_dict()),
            status_code=self.status,
            headers=self.headers,
            media_type=JSON if is_inference else PROBLEM,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, as an ASGI application."""
        await self.response(scope["path"])(scope, receive, send)


def invalid(faults: Iterable[Fault]) -> Problem:
    """Return 422 for the faults of a request."""
    faults = tuple(faults)
    listed = faults[:MAX_LISTED_FAULTS]
    shown = [str(replace(fault, got=shorten(fault.got))) for fault in listed]
    if len(faults) > len(shown):
        shown.append(f"and {len(faults) - len(shown)} more")
    return Problem(422, "; ".join(shown), faults=faults)


def not_found(what: str) -> Problem:
    """Return 404 for something that does not exist.

    Args:
        what: Its kind and name, without an article.
    """
    return Problem(404, f"there is no {what}")


def conflict(action: str, state: str, allowed: Iterable[str]) -> Problem:
    """Return 409 for an action that is not allowed in a state.

    Args:
        action: The action, such as ``delete a run``.
        state: The state.
        allowed: States in which the action is allowed.
    """
    allowed = list(allowed)
    return Problem(
        409,
        f"cannot {action} in state '{state}'; it is allowed in {', '.join(allowed)}",
        extra={"state": state, "allowed": allowed},
    )


def disk_full() -> Problem:
    """Return 507 for a full disk of the data directory."""
    return Problem(507, "the server's disk is full; nothing of the request is stored")


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error, or one that caused it, is that of a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(error, sqlite3.Error) and "is full" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def problem_of(error: BaseException) -> Problem:
    """Return the refusal for an exception; 500 for an unexpected one."""
    match error:
        case Problem():
            return error
        case InvalidInput():
            return invalid(error.faults)
        case CapacityError():
            return Problem(
                413,
                str(error),
                extra={
                    "needed_bytes": error.needed_bytes,
                    "available_bytes": error.available_bytes,
                },
            )
        case DeviceMemoryError():
            return Problem(413, str(error) or "the device ran out of memory")
        case QueueFull():
            seconds = max(1, math.ceil(error.retry_after_seconds))
            return Problem(429, str(error), headers={"Retry-After": str(seconds)})
        case EngineFailed():
            return Problem(500, str(error))
        case EngineUnavailable():
            return unavailable(str(error) or "the engine accepts no work now")
        case DeadlineExceeded():
            return Problem(504, str(error) or "the deadline passed before the run ended")
        case RunCancelled():
            return Problem(
                409, str(error) or "the run was cancelled", extra={"state": RunState.CANCELLED}
            )
        case NonFiniteError():
            where = {"sample": error.sample, "flow": error.flow, "step": error.step}
            fault = Fault(("embeddings", error.sample), str(error), where)
            return Problem(422, str(error), faults=[fault], extra=where)
        case LedgerError():
            return Problem(500, str(error))
        case ClientDisconnect():
            return Problem(499, "the client disconnected")
        case _ if is_disk_full(error):
            return disk_full()
        case _:
            return Problem(500, "an internal error; the log of the server has the details")


def unavailable(detail: str, retry_after_seconds: int = 1) -> Problem:
    """Return 503 for a server that accepts no work.

    Args:
        detail: Why.
        retry_after_seconds: When to try again.
    """
    return Problem(503, detail, headers={"Retry-After": str(retry_after_seconds)})


def shorten(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return any value as JSON data of limited size.

    Args:
        value: The value.
        depth: How deeply lists and objects are shown; those below have only their size.
    """
    if isinstance(value, bool | None):
        return value
    if isinstance(value, int):
        # JSON readers lose digits of larger numbers, and orjson refuses them.
        return value if abs(value) < 2**53 else str(value)[:MAX_CHARACTERS]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping) and len(value) <= MAX_ENTRIES and depth > 0:
        items = {_cut(str(name)): shorten(entry, depth - 1) for name, entry in value.items()}
        if len(str(items)) <= MAX_ENTRIES * MAX_CHARACTERS:
            return items
    if isinstance(value, list | tuple) and len(value) <= MAX_ENTRIES and depth > 0:
        entries = [shorten(entry, depth - 1) for entry in value]
        if len(str(entries)) <= MAX_ENTRIES * MAX_CHARACTERS:
            return entries
    if isinstance(value, list | tuple | Mapping):
        return f"{type(value).__name__} of {len(value)}"
    return _cut(str(value).encode("utf-8", "replace").decode())


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + "…"
