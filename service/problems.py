"""Refusals as RFC 9457 problem documents.

A route raises :class:`Problem` or an exception of ``energy_flow``; both are answered with
``application/problem+json``. :func:`problem_of` is the table from exceptions to statuses.
"""

from __future__ import annotations

import errno
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

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
    MemoryInUse,
    NonFiniteError,
    QueueFull,
    RunCancelled,
)
from service.media_types import JSON, PROBLEM

if TYPE_CHECKING:
    # Commands that read files refuse them as a server does, where no server is installed.
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

OPEN_INFERENCE: Final = "/v2"
"""Path below which refusals have the form of the Open Inference Protocol."""

# A fault has enough of a value to recognise it, but never a whole body.
MAX_CHARACTERS: Final = 200
MAX_MESSAGE_CHARACTERS: Final = 5000
MAX_DETAIL_CHARACTERS: Final = 20_000
MAX_ENTRIES: Final = 10
MAX_DEPTH: Final = 4
MAX_LISTED_FAULTS: Final = 5
MAX_FAULTS: Final = 100
"""Most faults of an answer."""

# Kinds of SQLite's errors for a file that is lost, or is no database any more.
_DAMAGE_CODES: Final = frozenset(
    (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
    )
)
# The second is of the file that the connections share, without which nothing can be read.
_FULL_CODES: Final = frozenset((sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE))
_LOCKED_CODES: Final = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))
_LOST_TABLES: Final = ("no such table", "no such column")

# The same of PostgreSQL, as codes that its errors have as `sqlstate`.
_FULL_STATES: Final = frozenset(("53100",))
# Lock not available, deadlock, serialization failure.
_LOCKED_STATES: Final = frozenset(("55P03", "40P01", "40001"))
# Data or index corrupted, a file lost, an error of its disk, no such table, no such column.
_DAMAGE_STATES: Final = frozenset(("XX001", "XX002", "58P01", "58030", "42P01", "42703"))

_GRANT: Final = "give the user that runs Energy Flow permission to read and write it"
_RAISE_LIMIT: Final = "let the process open more files (ulimit -n), and start it again"
# What to do about errors of the system that are no fault of a request, and no damage.
_STORAGE_ADVICE: Final[Mapping[int, str]] = {
    errno.EACCES: _GRANT,
    errno.EPERM: _GRANT,
    errno.EROFS: "mount its file system so that it can be written",
    errno.EIO: "check the disk",
    errno.EMFILE: _RAISE_LIMIT,
    errno.ENFILE: _RAISE_LIMIT,
}
_REFUSALS: Final = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))

TITLES: Final[Mapping[int, str]] = {
    400: "Malformed request",
    401: "Not authenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Request timeout",
    409: "Not allowed in this state",
    413: "Too large",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    421: "Unknown host",
    422: "Invalid input",
    429: "Queue full",
    431: "Headers too large",
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
        title: What the refusal is called; by default, what others of its status are.
        extra: Further members of the document.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        title: str | None = None,
        faults: Iterable[Fault] = (),
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.title = title or TITLES.get(status, "Refused")
        self.faults = tuple(faults)
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
        super().__init__(detail)

    def to_dict(self) -> dict[str, Any]:
        """Return the document as JSON data."""
        left_out = len(self.faults) - MAX_FAULTS
        return {
            "type": f"urn:energy-flow:problem:{self.title.lower().replace(' ', '-')}",
            "title": self.title,
            "status": self.status,
            "detail": cut_text(self.detail, MAX_DETAIL_CHARACTERS),
            "errors": [
                {
                    "loc": _shorten_place(fault.loc),
                    "msg": cut_text(fault.msg, MAX_MESSAGE_CHARACTERS),
                    "got": shorten(fault.got),
                }
                for fault in self.faults[:MAX_FAULTS]
            ],
            **({"more_errors": left_out} if left_out > 0 else {}),
            **self.extra,
        }

    def with_extra(self, **extra: Any) -> Problem:
        """Return the refusal with further members in its document."""
        return Problem(
            self.status,
            self.detail,
            title=self.title,
            faults=self.faults,
            extra={**self.extra, **extra},
            headers=self.headers,
        )

    def response(self, path: str = "") -> Response:
        """Return the answer to a request.

        Args:
            path: Path of the request.
        """
        from starlette.responses import Response

        detail = cut_text(self.detail, MAX_DETAIL_CHARACTERS)
        is_inference = path == OPEN_INFERENCE or path.startswith(OPEN_INFERENCE + "/")
        return Response(
            orjson.dumps({"error": detail} if is_inference else self.to_dict()),
            status_code=self.status,
            headers=self.headers,
            media_type=JSON if is_inference else PROBLEM,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, as an ASGI application."""
        await self.response(scope["path"])(scope, receive, send)


class DamagedFile(Problem):
    """A refusal of a request that needs a file of the data directory which is damaged or lost.

    Attributes:
        file: Path of the file in the data directory.
        why: What is wrong with it.
        advice: What to do next.

    Args:
        file: Path of the file in the data directory.
        why: What is wrong with it.
        advice: What to do next.
    """

    def __init__(self, file: str, why: str, advice: str) -> None:
        self.file = file
        self.why = why
        self.advice = advice
        super().__init__(
            409,
            f"the file {file} in the server's data directory is damaged: {why}; {advice}",
            title="Damaged file",
            extra={"file": file},
        )


class UnusablePath(Problem):
    """A refusal of a request that needs a file or a folder which the system does not let it use.

    Attributes:
        path: The file or folder.
        why: What the system reports.
        advice: What to do next.

    Args:
        path: The file or folder.
        why: What the system reports.
        advice: What to do next.
    """

    def __init__(self, path: Path, why: str, advice: str) -> None:
        self.path = path
        self.why = why
        self.advice = advice
        super().__init__(
            503,
            f"{path} cannot be used: {why}; {advice}",
            title="Storage unavailable",
            extra={"file": str(path)},
        )


class IndexUnreachable(Problem):
    """A refusal of a request while the database of the index cannot be used; it can come back.

    Its document has no reason, which names hosts and users.

    Attributes:
        reason: What the database or its driver reports.

    Args:
        what: What is wrong.
        reason: What the database or its driver reports.
    """

    def __init__(self, what: str, reason: str) -> None:
        self.reason = " ".join(reason.split())
        super().__init__(
            503,
            f"{what}; try again",
            title="Index unreachable",
            headers={"Retry-After": "2"},
        )

    def __str__(self) -> str:
        return f"{self.detail.removesuffix('; try again')}: {self.reason}"


def invalid(faults: Iterable[Fault]) -> Problem:
    """Return 422 for the faults of a request."""
    faults = tuple(faults)
    listed = faults[:MAX_LISTED_FAULTS]
    shown = [
        str(replace(fault, loc=tuple(_shorten_place(fault.loc)), got=shorten(fault.got)))
        for fault in listed
    ]
    if len(faults) > len(shown):
        shown.append(f"and {len(faults) - len(shown)} more")
    return Problem(422, "; ".join(shown), faults=faults)


def not_found(what: str) -> Problem:
    """Return 404 for something that does not exist.

    Args:
        what: Its kind and name, without an article.
    """
    return Problem(404, f"there is no {what}")


def with_other_faults(absent: Problem, member: str, others: Iterable[Fault]) -> Problem:
    """Return the refusal of a body that names something that does not exist, with its other faults.

    Args:
        absent: The refusal for what does not exist.
        member: The member that names it.
        others: The other faults of the body.

    Returns:
        422 with all faults; the first refusal if there are no others, or if it is not 404.
    """
    others = list(others)
    if absent.status != 404 or not others:
        return absent
    return invalid([*(absent.faults or [Fault((member,), absent.detail)]), *others])


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


def storage_limit(what: str, needed: int, stored: int, limit: int, setting: str) -> Problem:
    """Return 507 for something that would exceed the limit of all things of its kind.

    Args:
        what: Kind of the thing, in the plural.
        needed: Bytes of the new thing.
        stored: Bytes of all things of the kind that are stored.
        limit: Most bytes that they may have.
        setting: Name of the setting of the limit.
    """
    return Problem(
        507,
        f"{needed:,} bytes would be stored, and all {what} have {stored:,} bytes already; the "
        f"limit is {limit:,} bytes; delete {what}, or start the server with a larger {setting}",
        title="Storage limit reached",
        extra={"needed_bytes": needed, "stored_bytes": stored, "limit_bytes": limit},
    )


def disk_full() -> Problem:
    """Return 507 for a full disk of the data directory."""
    return Problem(507, "the server's disk is full; nothing of the request is stored")


def removal_on_full_disk(*, are_removed: bool) -> Problem:
    """Return 507 for a deletion for which a full disk has no room.

    Args:
        are_removed: Whether the files of what was to be deleted are gone.
    """
    left = (
        "its files are removed, but it is still listed, without them"
        if are_removed
        else "nothing is removed"
    )
    return Problem(
        507,
        f"the server's disk is full, so the deletion is not complete: {left}; free some room on "
        "the disk, and delete it again",
    )


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error, or one that caused it, is that of a full disk."""
    return any(
        one.errno in (errno.ENOSPC, errno.EDQUOT)
        if isinstance(one, OSError)
        else getattr(one, "sqlite_errorcode", None) in _FULL_CODES
        or getattr(one, "sqlstate", None) in _FULL_STATES
        for one in _with_causes(error)
    )


def find_unreachable(error: BaseException | None) -> IndexUnreachable | None:
    """Return the refusal for a database that cannot be used now, if an error reports one."""
    return next((one for one in _with_causes(error) if isinstance(one, IndexUnreachable)), None)


def find_unusable_path(error: BaseException | None) -> UnusablePath | None:
    """Return the refusal for a path that cannot be used, if an error or its cause reports one."""
    for one in _with_causes(error):
        if isinstance(one, UnusablePath):
            return one
        code = one.errno if isinstance(one, OSError) else None
        if isinstance(one, OSError) and code is not None and code in _STORAGE_ADVICE:
            names = [
                name for name in (one.filename, one.filename2) if isinstance(name, str | bytes)
            ]
            paths = [Path(os.fsdecode(name)) for name in names] or [Path("the disk of the server")]
            path = _find_refused(paths) if code in _REFUSALS else paths[0]
            return UnusablePath(path, os.strerror(code), _STORAGE_ADVICE[code])
    return None


def is_storage_fault(error: BaseException | None) -> bool:
    """Return whether an error is that of the storage, so that the same work can succeed later."""
    return (
        is_disk_full(error)
        or find_unreachable(error) is not None
        or find_unusable_path(error) is not None
        or find_damage(error) is not None
    )


def _find_refused(paths: list[Path]) -> Path:
    """Return which path the system refuses: one that was named, or a folder that it is in."""
    for path in paths:
        # What does not exist was to be made, or may not even be looked up.
        found = next((one for one in (path, *path.parents) if os.path.lexists(one)), path)
        for one in (found, found.parent):
            is_folder = os.access(one, os.F_OK) and one.is_dir()
            if not os.access(one, os.R_OK | os.W_OK | (os.X_OK if is_folder else 0)):
                return one
    return paths[0]


def is_index_locked(error: BaseException | None) -> bool:
    """Return whether an error, or one that caused it, is that of an index that others lock."""
    return any(
        getattr(one, "sqlite_errorcode", 0) & 0xFF in _LOCKED_CODES
        or getattr(one, "sqlstate", None) in _LOCKED_STATES
        for one in _with_causes(error)
    )


def find_damage(error: BaseException | None) -> Problem | None:
    """Return the refusal for damaged data, if an error, or one that caused it, reports them."""
    for one in _with_causes(error):
        if isinstance(one, DamagedFile):
            return one
        # Of the extended code, the lowest byte is the kind of the error.
        code = getattr(one, "sqlite_errorcode", None)
        is_damage = code is not None and code & 0xFF in _DAMAGE_CODES
        is_damage |= getattr(one, "sqlstate", None) in _DAMAGE_STATES
        if is_damage or (isinstance(one, sqlite3.Error) and str(one).startswith(_LOST_TABLES)):
            return damaged_index(str(one))
    return None


def damaged_index(why: str) -> Problem:
    """Return 503 for an index that cannot be read or written.

    Args:
        why: What is wrong with it.
    """
    return Problem(
        503,
        f"the index of the server is damaged: {why}; stop the server, look for damage with: "
        "energy-flow data verify, and restore the index from a backup, or make a new one from the "
        "files with: energy-flow data rebuild-index",
    )


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def problem_of(error: BaseException) -> Problem:
    """Return the refusal for an exception; 500 for an unexpected one."""
    from starlette.requests import ClientDisconnect

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
            headers = {"Retry-After": str(seconds)}
            if not isinstance(error, MemoryInUse):
                return Problem(429, str(error), headers=headers)
            extra = {
                "needed_bytes": error.needed_bytes,
                "available_bytes": error.available_bytes,
            }
            return Problem(429, str(error), title="Memory in use", extra=extra, headers=headers)
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
        case _ if (unreachable := find_unreachable(error)) is not None:
            return unreachable
        case _ if (unusable := find_unusable_path(error)) is not None:
            return unusable
        case _ if is_index_locked(error):
            return unavailable("another process has locked the index of the server; try again", 2)
        case _ if (damage := find_damage(error)) is not None:
            return damage
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
        # JSON readers lose digits of larger numbers, and orjson refuses them. Python writes no
        # integer of thousands of digits.
        if abs(value) < 2**53:
            return value
        bits = value.bit_length()
        return str(value) if bits <= MAX_CHARACTERS else f"an integer of {bits:,} bits"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping) and len(value) <= MAX_ENTRIES and depth > 0:
        items = {cut_text(str(name)): shorten(entry, depth - 1) for name, entry in value.items()}
        if len(str(items)) <= MAX_ENTRIES * MAX_CHARACTERS:
            return items
    if isinstance(value, list | tuple) and len(value) <= MAX_ENTRIES and depth > 0:
        entries = [shorten(entry, depth - 1) for entry in value]
        if len(str(entries)) <= MAX_ENTRIES * MAX_CHARACTERS:
            return entries
    if isinstance(value, list | tuple | Mapping):
        return f"{type(value).__name__} of {len(value)}"
    return cut_text(str(value))


def cut_text(text: str, most: int = MAX_CHARACTERS) -> str:
    """Return a text, or its beginning and an ellipsis, as text that can be sent.

    Args:
        text: The text.
        most: Most characters.
    """
    shown = text if len(text) <= most else text[:most] + "…"
    return shown.encode("utf-8", "replace").decode()


def _shorten_place(place: tuple[str | int, ...]) -> list[str | int]:
    return [cut_text(part) if isinstance(part, str) else part for part in place]
