"""``Benchmark``: a measurement, how to do it (``Options``), and its results (``Findings``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Options:
    """How to measure.

    Attributes:
        device: name of the device, such as ``cpu`` or ``cuda:0``.
        long: whether a benchmark may take longer than a minute or two.
        pairs: number of rounds of every comparison; the benchmark's own number if none.
        quick: whether small sizes do.
        until: when nothing further begins, in seconds of ``time.perf_counter``.
    """

    device: str = "cpu"
    long: bool = False
    pairs: int | None = None
    quick: bool = False
    until: float = math.inf

    def rounds(self, usual: int) -> int:
        """Return the number of rounds of a comparison.

        Args:
            usual: number without other options.
        """
        if self.pairs is not None:
            return self.pairs
        return 3 * usual if self.long else usual


@dataclass(frozen=True, slots=True)
class Findings:
    """Results of a benchmark, as plain JSON data.

    Attributes:
        config: what was measured: shapes, sizes, rounds.
        figures: the measured numbers.
    """

    config: Mapping[str, Any]
    figures: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: name in the command line.
        about: what it measures, in a line.
        short: whether it runs when no benchmark is named.
        load: imports what it needs and returns the function that measures.
    """

    name: str
    about: str
    short: bool
    load: Callable[[], Callable[[Options], Findings]]
