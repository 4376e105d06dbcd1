"""``Load``: the requests of many callers of a server, and how long they take."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_ROWS = 8

Call = Callable[[int, NDArray[np.int64]], Awaitable[NDArray[np.float32]]]
"""Sends the embeddings of some rows as the caller of a number, and returns their surfaces."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of one caller.

    Attributes:
        pause: seconds before the request.
        first: index of the first embedding.
        count: number of embeddings.
    """

    pause: float
    first: int
    count: int

    @property
    def rows(self) -> NDArray[np.int64]:
        """Indices of the bundled embeddings that are sent."""
        return np.arange(self.first, self.first + self.count)


@dataclass(frozen=True, slots=True)
class Load:
    """The requests of all callers.

    Attributes:
        callers: for each caller, its requests in their order.
    """

    callers: tuple[tuple[Visit, ...], ...]

    @property
    def samples(self) -> int:
        """Number of all embeddings."""
        return sum(visit.count for caller in self.callers for visit in caller)

    @property
    def requests(self) -> int:
        """Number of all requests."""
        return sum(map(len, self.callers))


@dataclass(frozen=True, slots=True)
class Served:
    """The answers to a load.

    Attributes:
        samples: number of embeddings.
        seconds: time from the first request to the last answer.
        latencies: seconds of every request.
        wrong: number of answers that differ from the expected surfaces in any bit.
    """

    samples: int
    seconds: float
    latencies: tuple[float, ...]
    wrong: int


def uniform(callers: int, visits: int, rows_held: int, counts: Sequence[int], seed: int) -> Load:
    """Return callers that start together and send their next request after each answer.

    Args:
        callers: number of callers.
        visits: number of requests of each.
        rows_held: number of embeddings to choose from.
        counts: numbers of embeddings that a request may have.
        seed: seed of the choice.
    """
    return _load(callers, visits, rows_held, counts, seed, None)


def staggered(
    callers: int, visits: int, rows_held: int, counts: Sequence[int], seed: int, pause: float
) -> Load:
    """Return callers that pause before each request, for exponentially distributed times.

    Args:
        callers: number of callers.
        visits: number of requests of each.
        rows_held: number of embeddings to choose from.
        counts: numbers of embeddings that a request may have.
        seed: seed of the choice.
        pause: mean of the pauses, in seconds.
    """
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
    """Send all requests of a load.

    Args:
        load: the requests.
        call: sends one of them.
        expected: surfaces of all embeddings, with their indices as sample keys.
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
    """Let every contender serve its load once a round, always in the same order.

    Args:
        contenders: how to send a request and the load, by name.
        expected: surfaces of all embeddings.
        rounds: number of rounds.
        warm_up: whether there is another round before them.
        on_turn: called with the name of the contender before its turn.
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
    """Return the latencies of all rounds together and the median throughput, plain JSON data.

    Args:
        rounds: answers of each round.
    """
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
    """Return a percentile with linear interpolation.

    Args:
        values: the values.
        percent: in [0, 100].
    """
    return float(np.percentile(values, percent))
