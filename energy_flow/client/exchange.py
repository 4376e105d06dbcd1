"""Requests, replies and when to ask again; nothing here touches a network.

What a client does is written once, as a *dialogue*: a generator that yields a :class:`Request` or a
:class:`Pause`, is sent a :class:`Reply` or a :class:`Lost` for it, and returns the parsed answer.
The blocking and the asynchronous client differ only in how they carry these out.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson

from energy_flow.client.errors import (
    PROBLEM_BY_STATUS,
    FieldError,
    FlowClientError,
    ProblemError,
    UnexpectedAnswer,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileBody:
    """A file that is sent a piece at a time.

    Attributes:
        size: its bytes.
        on_progress: called with the bytes that have been sent, and all of them.
    """

    path: Path
    size: int
    on_progress: Callable[[int, int], object] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, still to be sent.

    Attributes:
        save_to: where the body of a good answer is written, instead of being kept in memory.
        repeatable: whether it may be sent again after the connection broke half-way.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | FileBody | None = None
    save_to: Path | None = None
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this long before going on."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """No complete answer came.

    Attributes:
        error: what to raise if the request is not tried again.
        broken: whether the server had been reached and the connection then broke, so that it may
            have acted.
    """

    error: FlowClientError
    broken: bool


Dialogue = Generator[Request | Pause, Reply | Lost | None, T]


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how long a client asks again when the server is busy (429, 503).

    The server's ``Retry-After`` decides the wait; without one it doubles from ``first_wait``.

    Attributes:
        attempts: further tries after the first; 0 turns retrying off, ``None`` sets no limit.
        longest_wait: seconds; a server that asks for more is not waited for.
        first_wait: seconds.
        away_seconds: of trying in vain, after which no other try is made; ``None`` sets no limit.
        unreachable: whether to ask again, where that is safe, also while nobody answers at all, or
            only a gateway does (502, 504), as when a server restarts.
    """

    attempts: int | None = 3
    longest_wait: float = 30.0
    first_wait: float = 0.25
    away_seconds: float | None = None
    unreachable: bool = False

    def wait(
        self, attempt: int, retry_after: float | None = None, tried_for: float = 0.0
    ) -> float | None:
        """Seconds before try ``attempt`` + 1 (counted from 0), or ``None`` to give up.

        Args:
            tried_for: seconds since the first failure.
        """
        if self.attempts is not None and attempt >= self.attempts:
            return None
        if self.away_seconds is not None and tried_for >= self.away_seconds:
            return None
        if retry_after is not None:
            return retry_after if retry_after <= self.longest_wait else None
        # Beyond the longest wait long before; more doublings than that leave the range of floats.
        doubled: float = self.first_wait * 2.0 ** min(attempt, 64)
        # Spread out, so that clients turned away together do not come back together.
        return min(doubled * random.uniform(1.0, 1.5), self.longest_wait)


NO_RETRY = Retry(attempts=0)

PATIENT = Retry(attempts=None, longest_wait=10.0, away_seconds=900.0, unreachable=True)
"""Bears a server that is away for a quarter of an hour, for whoever follows work of hours."""

BUSY_STATUSES = frozenset({429, 503})
GATEWAY_STATUSES = frozenset({502, 504})
"""What a gateway answers in place of a server that it cannot reach."""


def ask(request: Request, read: Callable[[Reply], T], retry: Retry) -> Dialogue[T]:
    """Sends a request until it is answered, within ``retry``, and parses the answer.

    Raises:
        ProblemError: the server refused.
        FlowClientError: it could not be reached.
    """
    attempt = 0
    began = time.monotonic()
    while True:
        reply = yield request
        error: FlowClientError
        after: float | None = None
        absent_is_borne = retry.unreachable and request.repeatable
        if isinstance(reply, Lost):
            error = reply.error
            again = absent_is_borne or (request.repeatable and reply.broken)
        else:
            assert reply is not None, "a request is answered by a reply"
            if 200 <= reply.status < 300:
                return read(reply)
            problem = read_problem(reply)
            error, after = problem, problem.retry_after
            again = reply.status in BUSY_STATUSES or (
                absent_is_borne and reply.status in GATEWAY_STATUSES
            )
        wait = retry.wait(attempt, after, time.monotonic() - began) if again else None
        if wait is None:
            raise error
        yield Pause(wait)
        attempt += 1


def read_json(reply: Reply) -> Any:
    """The body as JSON data.

    Raises:
        UnexpectedAnswer: it is none.
    """
    try:
        return orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        kind = reply.headers.get("content-type", "no content type")
        raise UnexpectedAnswer(
            f"status {reply.status} with {len(reply.body)} bytes that are not JSON ({kind}); "
            "is this the address of an Energy Flow server?"
        ) from None


def json_as(parse: Callable[[Any], T]) -> Callable[[Reply], T]:
    """A reader of JSON answers that ``parse`` understands."""
    return lambda reply: parse(read_json(reply))


def read_nothing(reply: Reply) -> None:
    """For answers whose body says nothing."""


def read_problem(reply: Reply) -> ProblemError:
    """The exception that an answer of 300 or above stands for."""
    try:
        data = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        data = None
    if not isinstance(data, dict):
        text = reply.body[:200].decode("utf-8", "replace").strip()
        data = {"title": "Refused", "detail": text or "without a word of explanation"}
    retry_after = parse_retry_after(reply.headers.get("retry-after"))
    return problem_from_json({**data, "status": reply.status}, retry_after)


def problem_from_json(data: Mapping[str, Any], retry_after: float | None = None) -> ProblemError:
    """The exception that a problem document stands for."""
    status = int(data.get("status", 500))
    known = {"type", "title", "status", "detail", "errors"}
    return PROBLEM_BY_STATUS.get(status, ProblemError)(
        status,
        str(data.get("title") or "Refused"),
        str(data.get("detail") or ""),
        type=str(data.get("type") or "about:blank"),
        errors=_field_errors(data.get("errors")),
        retry_after=retry_after,
        extensions={name: value for name, value in data.items() if name not in known},
    )


def _field_errors(data: Any) -> tuple[FieldError, ...]:
    if not isinstance(data, list):
        return ()
    return tuple(
        FieldError(tuple(entry.get("loc") or ()), str(entry.get("msg", "")), entry.get("got"))
        for entry in data
        if isinstance(entry, dict)
    )


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds to wait by a ``Retry-After`` header, which holds seconds or a date."""
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
