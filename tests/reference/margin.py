"""How close a sample came to deciding otherwise.

The reference rounds its networks from float64; an implementation in float32 rounds all along. The
two may part only where a number lay next to the threshold that it was compared with. `Margin`
keeps the smallest such distance.

A decision counts only if its number carries such rounding. These are *known* to the last bit in
every implementation that does position arithmetic as written, and are left out, so that the rule
alone decides their ties:

- a displacement that was clamped, by clearly more than rounding, or that is the bias of a head
  whose weights are zero, as long as no noise is added to it;
- a coordinate reached from a cell by known displacements alone, or put on ±1 by a clamp;
- a length whose components are known and whose square is the exact sum of their squares;
- lengths compared with each other that are equal because the flows are the same in all but id
  (siblings without noise), or have the same known components;
- everything that convergence does, which is arithmetic on counts.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

CLEARLY_BEYOND: Final = 1e-4
"""By how much a number must pass a clamp for the clamp to be sure to act everywhere."""


class Margin:
    """The smallest distance seen, and the decision that it belongs to."""

    def __init__(self) -> None:
        self.distance = math.inf
        self.decision = ""

    def see(self, distance: float | np.floating, step: int, flow: int, decision: str) -> None:
        """Note a decision whose number lay `distance` from its threshold."""
        if distance < self.distance:
            self.distance = float(distance)
            self.decision = f"step {step}, flow {flow}: {decision}"


def length_is_exact(
    displacement: npt.NDArray[np.float32], known: tuple[bool, bool, bool], length: np.float32
) -> bool:
    """Whether the length was computed without rounding from known components."""
    if not all(known):
        return False
    squares = sum((Fraction(float(component)) ** 2 for component in displacement), Fraction(0))
    return Fraction(float(length)) ** 2 == squares
