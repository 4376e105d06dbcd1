"""Contenders that are measured in turns, and the median of the ratios of their times.

On a machine that others use too, times drift by more than the differences that are measured. Two
times that are taken directly after each other share most of that drift, and their ratio does not
have it.
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
    """A median with its confidence interval.

    Attributes:
        median: median of the values.
        low: lower bound from order statistics, which assume no distribution.
        high: upper bound.
        coverage: probability that such bounds include the true median; below 0.95 only for too few
            values, whose bounds are the extremes.
        count: number of values.
    """

    median: float
    low: float
    high: float
    coverage: float
    count: int

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain JSON data."""
        return {
            name: round(value, 5) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


def estimate(values: Sequence[float]) -> Estimate:
    """Return the median of values, with the narrowest 95 % interval between two of them.

    Args:
        values: independent values.
    """
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
    """Seconds of every contender in every round.

    Attributes:
        seconds: by contender, one value a round.
    """

    seconds: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        """Return the median seconds of a contender.

        Args:
            name: name of the contender.
        """
        return statistics.median(self.seconds[name])

    def ratio(self, over: str, under: str) -> Estimate:
        """Return the ratio of the times of two contenders, round by round.

        Args:
            over: name of the contender in the numerator.
            under: name of the contender in the denominator.
        """
        pairs = zip(self.seconds[over], self.seconds[under], strict=True)
        return estimate([first / second for first, second in pairs])


def time_in_turns(
    contenders: Mapping[str, Callable[[], object]], rounds: int, device: str = "cpu"
) -> Times:
    """Run every contender once a round, always in the same order, after one warm-up each.

    Args:
        contenders: functions by name.
        rounds: number of rounds.
        device: device that the functions use.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender()
    gc.collect()
    for _ in range(rounds):
        for name, contender in contenders.items():
            seconds[name].append(time_once(contender, device))
    return Times(seconds)


def time_once(work: Callable[[], object], device: str = "cpu") -> float:
    """Return the seconds of a function, with the work that it has queued on the device.

    Args:
        work: the function.
        device: device that it uses.
    """
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if on_gpu:
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
