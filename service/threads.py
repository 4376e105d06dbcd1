"""``in_thread``: calls that block, in threads of their own for each kind of work.

So work of one kind, however much there is, does not keep the other kinds waiting. What the server
does by itself uses ``asyncio.to_thread``, which has other threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from enum import Enum, auto
from functools import partial
from typing import Final, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

P = ParamSpec("P")
Result = TypeVar("Result")


class Threads(Enum):
    """Kinds of work that requests need threads for."""

    READS = auto()
    """Lists, and everything else that is small and read from the index or the disk."""
    FILES = auto()
    """Files and arrays that are read and verified."""
    CHANGES = auto()
    """Changes of what is stored."""
    UPLOADS = auto()
    """Files that are received."""
    BODIES = auto()
    """Bodies that are parsed, and answers that are encoded."""


# Few threads compute: they take cores from the engine, and one at a time runs Python, so that each
# of them delays the event loop.
_COUNTS: Final[Mapping[Threads, int]] = {
    Threads.READS: 8,
    Threads.FILES: 2,
    Threads.CHANGES: 8,
    Threads.UPLOADS: 8,
    Threads.BODIES: 2,
}

_DOWNLOADS: Final = 2
"""Threads that read and encode answers piece by piece, which Starlette chooses by itself."""

# Limiters belong to an event loop.
_LIMITERS: Final[RunVar[dict[Threads, CapacityLimiter]]] = RunVar("thread_limiters")

_IS_REQUEST: Final = ContextVar("is_request", default=False)


async def in_thread(
    threads: Threads, function: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs
) -> Result:
    """Call a function that blocks, for a request.

    If the request is cancelled meanwhile, the call ends nevertheless.

    Args:
        threads: The kind of work.
        function: The function.
        args: Its arguments.
        kwargs: Its keyword arguments.
    """
    try:
        limiters = _LIMITERS.get()
    except LookupError:
        limiters = {kind: CapacityLimiter(count) for kind, count in _COUNTS.items()}
        _LIMITERS.set(limiters)
    call = partial(_call_for_request, partial(function, *args, **kwargs))
    return await to_thread.run_sync(call, limiter=limiters[threads])


def limit_download_threads() -> None:
    """Limit the threads of answers that are sent piece by piece; call it on the event loop."""
    to_thread.current_default_thread_limiter().total_tokens = _DOWNLOADS


def is_request() -> bool:
    """Return whether this thread works for a request, which must not wait for long."""
    return _IS_REQUEST.get()


def _call_for_request(call: Callable[[], Result]) -> Result:
    # This context is a copy, which ends with the call.
    _IS_REQUEST.set(True)
    return call()
