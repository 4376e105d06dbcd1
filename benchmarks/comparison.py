"""Contenders measured in turns, and the median of the ratios of their times.

On a machine that others use too, times drift by far more than what is to be told apart. Two times
taken one right after the other share most of that drift, so their ratio does not have it.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import Any

import torch

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median with its interval.

    Attributes:
        low, high: bounds from order statistics, which suppose nothing of the distribution.
        coverage: probability that such bounds hold the true median; below 0.95 only where there
            are too few values, and then the bounds are the extremes.
        count: values that it was taken of.
    """

    median: float
    low: float
    high: float
    coverage: float
    count: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            name: round(value, 5) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


def estimate(values: Sequence[float]) -> Estimate:
    """The median of independent values, with the narrowest 95 % interval between two of them."""
    ordered, count = sorted(values), len(values)
    # P(fewer than `rank + 1` of `count` values lie below the median), for a fair coin.
    below, rank, coverage = 0, 0, 1 - 2 * 0.5**count
    for candidate in range(1, (count + 1) // 2):
        below = sum(comb(count, heads) for heads in range(candidate + 1))
        if 1 - 2 * below / 2**count < CONFIDENCE:
            break
        rank, coverage = candidate, 1 - 2 * below / 2**count
    return Estimate(statistics.median(ordered), ordered[rank], ordered[-1 - rank], coverage, count)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of every contender in every round."""

    seconds: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        """Median seconds of a contender."""
        return statistics.median(self.seconds[name])

    def ratio(self, over: str, under: str) -> Estimate:
        """Time of one contender over that of another, round by round."""
        pairs = zip(self.seconds[over], self.seconds[under], strict=True)
        return estimate([first / second for first, second in pairs])


def in_turns(
    contenders: Mapping[str, Callable[[], object]], rounds: int, device: str = "cpu"
) -> Times:
    """Lets every contender run once a round, always in the same order, after one warm-up each."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender()
    gc.collect()
    for _ in range(rounds):
        for name, contender in contenders.items():
            seconds[name].append(timed(contender, device))
    return Times(seconds)


def timed(work: Callable[[], object], device: str = "cpu") -> float:
    """Seconds that something takes, what it left on the device's queue included."""
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if on_gpu:
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
