"""Callers that send embeddings and wait: how many, how large, when."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_ROWS = 8

Call = Callable[[int, NDArray[np.int64]], Awaitable[NDArray[np.float32]]]
"""Sends the embeddings of these rows for the caller of this number, gives back their surfaces."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of one caller: after a pause, so many embeddings from this row on."""

    pause: float
    first: int
    count: int

    @property
    def rows(self) -> NDArray[np.int64]:
        """The rows of the bundled embeddings that are sent."""
        return np.arange(self.first, self.first + self.count)


@dataclass(frozen=True, slots=True)
class Load:
    """What every caller does, one visit after the other."""

    callers: tuple[tuple[Visit, ...], ...]

    @property
    def samples(self) -> int:
        """Embeddings, all together."""
        return sum(visit.count for caller in self.callers for visit in caller)

    @property
    def requests(self) -> int:
        """Requests, all together."""
        return sum(map(len, self.callers))


@dataclass(frozen=True, slots=True)
class Served:
    """How a load went.

    Attributes:
        seconds: from the first request to the last answer. latencies: of every request.
        wrong: answers that differ from the expected surfaces in any bit.
    """

    samples: int
    seconds: float
    latencies: tuple[float, ...]
    wrong: int


def uniform(callers: int, visits: int, rows_held: int, counts: Sequence[int], seed: int) -> Load:
    """Callers that all come at once and come again as soon as they are answered."""
    return _load(callers, visits, rows_held, counts, seed, None)


def staggered(
    callers: int, visits: int, rows_held: int, counts: Sequence[int], seed: int, pause: float
) -> Load:
    """Callers that pause before each visit, ``pause`` seconds on average, exponentially."""
    return _load(callers, visits, rows_held, counts, seed, pause)


def _load(
    callers: int,
    visits: int,
    rows_held: int,
    counts: Sequence[int],
    seed: int,
    pause: float | None,
) -> Load:
    random = np.random.default_rng(seed)

    def visit() -> Visit:
        count = int(random.choice(counts))
        waits = 0.0 if pause is None else float(random.exponential(pause))
        return Visit(waits, int(random.integers(0, rows_held - count + 1)), count)

    return Load(tuple(tuple(visit() for _ in range(visits)) for _ in range(callers)))


async def serve(load: Load, call: Call, expected: NDArray[np.float32]) -> Served:
    """Lets all callers do what they do.

    Args:
        expected: surfaces of all rows, under the rows' own keys.
    """
    latencies: list[float] = []
    wrong = 0

    async def caller(number: int, visits: Sequence[Visit]) -> None:
        nonlocal wrong
        for visit in visits:
            if visit.pause:
                await asyncio.sleep(visit.pause)
            began = time.perf_counter()
            surfaces = await call(number, visit.rows)
            latencies.append(time.perf_counter() - began)
            wrong += not np.array_equal(surfaces, expected[visit.rows])

    began = time.perf_counter()
    await asyncio.gather(*(caller(*one) for one in enumerate(load.callers)))
    return Served(load.samples, time.perf_counter() - began, tuple(latencies), wrong)


async def serve_in_turns(
    contenders: Mapping[str, tuple[Call, Load]],
    expected: NDArray[np.float32],
    rounds: int,
    *,
    warm_up: bool = True,
    on_turn: Callable[[str], None] | None = None,
) -> dict[str, list[Served]]:
    """Every contender serves its load once a round, always in the same order.

    Args:
        on_turn: called with the name of the contender whose turn begins.
    """
    served: dict[str, list[Served]] = {name: [] for name in contenders}
    for turn in range(-1 if warm_up else 0, rounds):
        for name, (call, load) in contenders.items():
            if on_turn is not None:
                on_turn(name)
            one = await serve(load, call, expected)
            if turn >= 0:
                served[name].append(one)
    return served


def summary(rounds: Sequence[Served]) -> dict[str, Any]:
    """Latencies of all rounds together, and the median throughput, as plain JSON data."""
    latencies = [1e3 * one for served in rounds for one in served.latencies]
    return {
        "requests": len(latencies),
        "p50_ms": round(percentile(latencies, 50), 2),
        "p99_ms": round(percentile(latencies, 99), 2),
        "samples_per_second": round(
            statistics.median(served.samples / served.seconds for served in rounds), 2
        ),
        "wrong": sum(served.wrong for served in rounds),
    }


def percentile(values: Sequence[float], percent: float) -> float:
    """With linear interpolation."""
    return float(np.percentile(values, percent))
