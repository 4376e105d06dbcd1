"""Refusals as RFC 9457 problem documents.

A route raises :class:`Problem` or lets an exception of ``energy_flow`` through; either becomes one
``application/problem+json`` answer. :func:`problem_of` is the whole table from exception to status.
"""

from __future__ import annotations

import errno
import math
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from energy_flow.errors import (
    CapacityError,
    DeadlineExceeded,
    DeviceMemoryError,
    EngineUnavailable,
    Fault,
    InvalidInput,
    LedgerError,
    NonFiniteError,
    QueueFull,
    RunCancelled,
)

MEDIA_TYPE = "application/problem+json"

OPEN_INFERENCE = "/v2"
"""Below it, refusals have the form of the Open Inference Protocol."""

# Enough to recognise a value by; a refusal must not send a body back whole.
LONGEST_GOT = 200
MOST_SHOWN = 10

TITLES: Mapping[int, str] = {
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
    """A refusal with everything that its answer says.

    Attributes:
        status: HTTP status.
        detail: what is wrong and what would be right, in a sentence.
        faults: each thing that is wrong, all of them at once.
        extra: further members of the document.
        headers: further headers of the answer.
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
        """The document, as plain JSON data."""
        title = TITLES.get(self.status, "Refused")
        return {
            "type": f"urn:energy-flow:problem:{title.lower().replace(' ', '-')}",
            "title": title,
            "status": self.status,
            "detail": self.detail,
            "errors": [
                {"loc": list(fault.loc), "msg": fault.msg, "got": presentable(fault.got)}
                for fault in self.faults
            ],
            **self.extra,
        }

    def with_extra(self, **extra: Any) -> Problem:
        """The same refusal with more members in its document."""
        return Problem(
            self.status,
            self.detail,
            faults=self.faults,
            extra={**self.extra, **extra},
            headers=self.headers,
        )

    def response(self, path: str = "") -> Response:
        """The answer to send to a request for a path."""
        inference = path == OPEN_INFERENCE or path.startswith(OPEN_INFERENCE + "/")
        return Response(
            orjson.dumps({"error": self.detail} if inference else self.to_dict()),
            status_code=self.status,
            headers=self.headers,
            media_type="application/json" if inference else MEDIA_TYPE,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer, so that middleware can hand over to it."""
        await self.response(scope["path"])(scope, receive, send)


def invalid(faults: Iterable[Fault]) -> Problem:
    """422 for faults in what the caller sent."""
    faults = tuple(faults)
    shown = [str(replace(fault, got=presentable(fault.got))) for fault in faults[:5]]
    if len(faults) > len(shown):
        shown.append(f"and {len(faults) - len(shown)} more")
    return Problem(422, "; ".join(shown), faults=faults)


def not_found(what: str) -> Problem:
    """404 for something that does not exist (any more)."""
    return Problem(404, f"there is no {what}")


def conflict(action: str, state: str, allowed: Iterable[str]) -> Problem:
    """409 for a transition that is not allowed, naming the states in which it is."""
    allowed = list(allowed)
    return Problem(
        409,
        f"cannot {action} in state '{state}'; that is allowed in {', '.join(allowed)}",
        extra={"state": state, "allowed": allowed},
    )


def disk_full() -> Problem:
    """507 when the data directory's file system has no room."""
    return Problem(507, "the server's disk is full; nothing of this request was kept")


def is_disk_full(error: BaseException | None) -> bool:
    """Whether the error, or one that caused it, says that there is no room on the disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(error, sqlite3.Error) and "is full" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def problem_of(error: BaseException) -> Problem:
    """The refusal for an exception; 500 for those nobody expects."""
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
        case EngineUnavailable():
            return unavailable(str(error) or "the engine takes no work now")
        case DeadlineExceeded():
            return Problem(504, str(error) or "the deadline passed before the run ended")
        case RunCancelled():
            return Problem(409, str(error) or "the run was cancelled", extra={"state": "cancelled"})
        case NonFiniteError():
            where = {"sample": error.sample, "flow": error.flow, "step": error.step}
            fault = Fault(("embeddings", error.sample), str(error), where)
            return Problem(422, str(error), faults=[fault], extra=where)
        case LedgerError():
            return Problem(500, str(error))
        case ClientDisconnect():
            return Problem(499, "the client hung up")
        case _ if is_disk_full(error):
            return disk_full()
        case _:
            return Problem(500, "something went wrong in the server; its log says what")


def unavailable(detail: str, retry_after_seconds: int = 1) -> Problem:
    """503 while the server starts or drains."""
    return Problem(503, detail, headers={"Retry-After": str(retry_after_seconds)})


def presentable(value: Any) -> Any:
    """A value of the caller's as JSON data of bounded size."""
    if isinstance(value, bool | None):
        return value
    if isinstance(value, int):
        # JSON readers lose digits beyond this, and orjson refuses them.
        return value if abs(value) < 2**53 else str(value)[:LONGEST_GOT]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping) and len(value) <= MOST_SHOWN:
        items = {_cut(str(name)): presentable(entry) for name, entry in value.items()}
        if len(str(items)) <= MOST_SHOWN * LONGEST_GOT:
            return items
    if isinstance(value, list | tuple) and len(value) <= MOST_SHOWN:
        entries = [presentable(entry) for entry in value]
        if len(str(entries)) <= MOST_SHOWN * LONGEST_GOT:
            return entries
    if isinstance(value, list | tuple | Mapping):
        return f"{type(value).__name__} of {len(value)}"
    return _cut(str(value).encode("utf-8", "replace").decode())


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_GOT else text[:LONGEST_GOT] + "…"
