"""The exceptions of the client, as one tree.

::

    FlowClientError
    ├── ServerUnreachable      no server answers there, or the connection broke
    ├── ResponseTimeout        the server did not answer in time
    ├── UnexpectedAnswer       the answer is not one of an Energy Flow server
    └── ProblemError           the server refused: status, title, detail, errors
        ├── BadRequest           400
        ├── Unauthorized         401
        ├── Forbidden            403
        ├── NotFound             404
        ├── Conflict             409
        ├── TooLarge             413
        ├── UnsupportedMedia     415
        ├── Unprocessable        422
        ├── Overloaded           429, with retry_after
        ├── RunInterrupted       499, the run was cancelled
        ├── ServerFailure        500
        ├── ServerUnavailable    503, with retry_after
        ├── DeadlinePassed       504
        └── StorageFull          507
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


class FlowClientError(Exception):
    """The base of the errors that the client raises about a server."""


class ServerUnreachable(FlowClientError):
    """No server answers at the address, or the connection broke before the answer was complete."""


class ResponseTimeout(FlowClientError):
    """The server did not answer, or a run did not end, within the time limit of the caller."""


class UnexpectedAnswer(FlowClientError):
    """The answer is not one of an Energy Flow server."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of a request, as the server reports it.

    Attributes:
        loc: path to the field or element, for example ``("embeddings", 3, 17)``.
        msg: what would be allowed.
        got: the invalid value, if the server repeats it.
    """

    loc: tuple[str | int, ...]
    msg: str
    got: Any = None

    def __str__(self) -> str:
        where = ".".join(str(part) for part in self.loc)
        return f"{where}: {self.msg}" if where else self.msg


class ProblemError(FlowClientError):
    """A refusal of the server (RFC 9457).

    Attributes:
        status: HTTP status.
        type: URI of the kind of problem.
        title: the kind of problem in words.
        detail: this occurrence in words.
        errors: every fault of the request that the server found.
        retry_after: seconds after which the server accepts the request again, or ``None``.
        extensions: further members of the problem, for example ``needed_bytes``.
    """

    STATUS: ClassVar[int] = 0  # of this kind of problem

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        type: str = "about:blank",
        errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        self.status = status
        self.type = type
        self.title = title
        self.detail = detail
        self.errors = errors
        self.retry_after = retry_after
        self.extensions = dict(extensions or {})
        super().__init__(self._message())

    def _message(self) -> str:
        parts = [f"{self.status} {self.title}"]
        if self.detail and self.detail != self.title:
            parts.append(self.detail)
        # A detail often repeats the faults; each appears once.
        parts.extend(str(error) for error in self.errors if error.msg not in self.detail)
        return ": ".join(parts[:2]) + "".join(f"; {part}" for part in parts[2:])


class BadRequest(ProblemError):
    """The request cannot be read, for example because its JSON is malformed."""

    STATUS = 400


class Unauthorized(ProblemError):
    """The API key is missing or wrong."""

    STATUS = 401


class Forbidden(ProblemError):
    """The role of the API key does not allow it."""

    STATUS = 403


class NotFound(ProblemError):
    """There is no such run, model or dataset."""

    STATUS = 404


class Conflict(ProblemError):
    """The state of the resource does not allow this, or its name is used."""

    STATUS = 409


class TooLarge(ProblemError):
    """The body is larger than the server accepts, or the batch can never fit in its memory."""

    STATUS = 413


class UnsupportedMedia(ProblemError):
    """The server does not read bodies of this type."""

    STATUS = 415


class Unprocessable(ProblemError):
    """Values are not valid: dimension, numbers that are not finite, options."""

    STATUS = 422


class Overloaded(ProblemError):
    """The queue is full; retry after ``retry_after`` seconds."""

    STATUS = 429


class RunInterrupted(ProblemError):
    """The run was cancelled before it ended."""

    STATUS = 499


class ServerFailure(ProblemError):
    """The server failed."""

    STATUS = 500


class ServerUnavailable(ProblemError):
    """The server is starting or shutting down."""

    STATUS = 503


class DeadlinePassed(ProblemError):
    """The run did not end within its ``timeout_ms``."""

    STATUS = 504


class StorageFull(ProblemError):
    """The server's disk is full."""

    STATUS = 507


PROBLEM_BY_STATUS: Mapping[int, type[ProblemError]] = {
    problem.STATUS: problem
    for problem in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        Conflict,
        TooLarge,
        UnsupportedMedia,
        Unprocessable,
        Overloaded,
        RunInterrupted,
        ServerFailure,
        ServerUnavailable,
        DeadlinePassed,
        StorageFull,
    )
}
