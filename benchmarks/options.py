"""``Options``: what the command line asks of a benchmark; ``Findings``: what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Options:
    """How to measure.

    Attributes:
        device: for example ``cpu`` or ``cuda:0``.
        long: whether time does not matter; otherwise a benchmark should take a minute or two.
        pairs: rounds of every comparison, where it is not for the benchmark to choose.
    """

    device: str = "cpu"
    long: bool = False
    pairs: int | None = None

    def rounds(self, usual: int) -> int:
        """How many rounds a comparison gets that usually takes ``usual``."""
        if self.pairs is not None:
            return self.pairs
        return 3 * usual if self.long else usual


@dataclass(frozen=True, slots=True)
class Findings:
    """What a benchmark has found, as plain JSON data.

    Attributes:
        config: what was measured: shapes, sizes, rounds.
        figures: the numbers.
    """

    config: Mapping[str, Any]
    figures: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark.

    Attributes:
        short: whether it runs when no benchmark is named.
        load: imports what it needs and returns the function that measures.
    """

    name: str
    about: str
    short: bool
    load: Callable[[], Callable[[Options], Findings]]
