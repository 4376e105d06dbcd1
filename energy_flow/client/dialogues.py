"""What takes more than one request: waiting for work, for a server, reading lists page by page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from energy_flow.client import calls
from energy_flow.client.errors import ResponseTimeout, UnexpectedAnswer
from energy_flow.client.exchange import (
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
from energy_flow.client.experiments import ExperimentResults, results_from_pages
from energy_flow.client.results import object_from_json

T = TypeVar("T")


def polling_delays(first: float = 0.05, longest: float = 1.0) -> Iterator[float]:
    """Seconds between looks: soon at first, for short work, then ever more rarely."""
    delay = first
    while True:
        yield delay
        delay = min(delay * 1.5, longest)


class Work(Protocol):
    """What a server carries to an end: a run, an experiment."""

    @property
    def state(self) -> str:
        """One of its states."""
        ...

    @property
    def ended(self) -> bool:
        """Whether it is in a state that it never leaves."""
        ...


W = TypeVar("W", bound=Work)


def wait_until_ended(
    what: str,
    path: str,
    read: Callable[[Any], W],
    first: Retry,
    later: Retry,
    on_progress: Callable[[W], object] | None,
    timeout: float | None,
) -> Dialogue[W]:
    """Looks at work until it has ended.

    Args:
        what: its name, for an error.
        path: where it is.
        first: how to ask for it the first time, when it is not yet known to be there.
        later: how to ask after that: a server that restarts goes on with its work.

    Raises:
        ResponseTimeout: ``timeout`` seconds have passed.
    """
    started = time.monotonic()
    seen: W | None = None
    for delay in polling_delays():
        work = yield from ask(calls.get(path), json_as(read), first if seen is None else later)
        if on_progress is not None and work != seen:
            on_progress(work)
        if work.ended:
            return work
        seen = work
        yield Pause(_within(delay, started, timeout, f"{what} is still {work.state}"))
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


def experiment_results(experiment: str, of: str, retry: Retry) -> Dialogue[ExperimentResults]:
    """Reads all pages of an experiment's results."""
    pages: list[Any] = []
    cursor: str | None = None
    while not pages or cursor is not None:
        page = yield from ask(
            calls.results(experiment, of, cursor), json_as(object_from_json), retry
        )
        pages.append(page)
        cursor = page.get("next_cursor")
    return results_from_pages(of, pages)
