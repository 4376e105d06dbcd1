"""What takes more than one request: waiting for a run, for a server, reading lists page by page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from service.client import calls
from service.client.errors import ResponseTimeout, UnexpectedAnswer
from service.client.exchange import (
    Dialogue,
    Lost,
    Pause,
    Reply,
    Request,
    Retry,
    ask,
    json_as,
    read_json,
)
from service.client.results import Run, run_from_json

T = TypeVar("T")


def polling_delays(first: float = 0.05, longest: float = 1.0) -> Iterator[float]:
    """Seconds between looks: soon at first, for short work, then ever more rarely."""
    delay = first
    while True:
        yield delay
        delay = min(delay * 1.5, longest)


def wait_for_run(
    run_id: str,
    retry: Retry,
    on_progress: Callable[[Run], object] | None,
    timeout: float | None,
) -> Dialogue[Run]:
    """Looks at a run until it has ended.

    Raises:
        ResponseTimeout: ``timeout`` seconds have passed.
    """
    started = time.monotonic()
    seen: Run | None = None
    for delay in polling_delays():
        run = yield from ask(
            calls.get(calls.at("runs", run_id)),
            json_as(run_from_json),
            retry,
            # A server that restarts goes on with the run, so its absence is borne for a while.
            reconnect=seen is not None,
        )
        if on_progress is not None and run != seen:
            on_progress(run)
        if run.ended:
            return run
        seen = run
        yield Pause(_within(delay, started, timeout, f"run {run_id} is still {run.state}"))
    raise AssertionError("polling goes on until something ends it")


def wait_until_ready(timeout: float | None) -> Dialogue[None]:
    """Looks at a server until it is ready for work.

    Raises:
        ResponseTimeout: ``timeout`` seconds have passed.
    """
    started = time.monotonic()
    for delay in polling_delays():
        reply = yield Request("GET", "/readyz")
        if is_up(reply):
            return
        said = "nobody answers" if isinstance(reply, Lost) else "the server is not ready"
        yield Pause(_within(delay, started, timeout, said))


def probe(path: str) -> Dialogue[bool]:
    """Whether a probe answers well; nobody answering counts as no."""
    return is_up((yield Request("GET", path)))


def is_up(reply: Reply | Lost | None) -> bool:
    """Whether the answer to a probe is a good one."""
    return isinstance(reply, Reply) and reply.status == 200


def _within(delay: float, started: float, timeout: float | None, said: str) -> float:
    """The delay, cut to what is left of the time."""
    if timeout is None:
        return delay
    left = started + timeout - time.monotonic()
    if left <= 0:
        raise ResponseTimeout(f"{said} after {timeout:g} s")
    return min(delay, left)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list, and how to ask for those after them."""

    items: tuple[T, ...]
    next_cursor: str | None


def page_of(read: Callable[[Any], T]) -> Callable[[Reply], Page[T]]:
    """A reader of pages whose items ``read`` understands."""

    def read_page(reply: Reply) -> Page[T]:
        data = read_json(reply)
        if not isinstance(data, dict) or not isinstance(data.get("items"), list):
            raise UnexpectedAnswer("a list was expected")
        return Page(tuple(read(item) for item in data["items"]), data.get("next_cursor"))

    return read_page
