"""Counter-based random numbers: Philox4x32-10 and the normals made from it.

Written with Python integers, one counter at a time (docs/simulation.md §6). A normal depends on
(seed, flow id, step, sample key, purpose) and on nothing else.
"""

from __future__ import annotations

import math
from typing import Final

Words4 = tuple[int, int, int, int]

EXPLORATION_NOISE: Final = 1
"""The `purpose` word of the exploration noise."""

_MASK_32: Final = 0xFFFFFFFF
_MULTIPLIER_0: Final = 0xD2511F53
_MULTIPLIER_1: Final = 0xCD9E8D57
_KEY_STEP_0: Final = 0x9E3779B9
_KEY_STEP_1: Final = 0xBB67AE85
_ROUNDS: Final = 10


def philox4x32_10(counter: Words4, key: tuple[int, int]) -> Words4:
    """Four 32-bit words for a counter of four 32-bit words and a key of two.

    Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3" (SC11).
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        product_0 = _MULTIPLIER_0 * c0
        product_1 = _MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (
            (product_1 >> 32) ^ c1 ^ k0,
            product_1 & _MASK_32,
            (product_0 >> 32) ^ c3 ^ k1,
            product_0 & _MASK_32,
        )
        k0 = (k0 + _KEY_STEP_0) & _MASK_32
        k1 = (k1 + _KEY_STEP_1) & _MASK_32
    return c0, c1, c2, c3


def uniform_open(word: int) -> float:
    """u(r) in (0, 1]: safe under a logarithm."""
    return ((word >> 8) + 1) * 2.0**-24


def uniform(word: int) -> float:
    """v(r) in [0, 1)."""
    return (word >> 8) * 2.0**-24


def normals(
    seed: int, flow: int, step: int, sample_key: int, purpose: int = EXPLORATION_NOISE
) -> tuple[float, float, float]:
    """(g_x, g_y, g_z), three standard normals in float64, by Box and Muller.

    Raises ValueError for a seed outside [0, 2^64) or another word outside [0, 2^32): the
    document does not define how such a number would be folded into the counter.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must be in [0, 2**64), got {seed}")
    counter = (flow, step, sample_key, purpose)
    for name, word in zip(("flow", "step", "sample_key", "purpose"), counter, strict=True):
        if not 0 <= word <= _MASK_32:
            raise ValueError(f"{name} must be in [0, 2**32), got {word}")
    r0, r1, r2, r3 = philox4x32_10(counter, (seed & _MASK_32, seed >> 32))
    radius_xy = math.sqrt(-2.0 * math.log(uniform_open(r0)))
    radius_z = math.sqrt(-2.0 * math.log(uniform_open(r2)))
    return (
        radius_xy * math.cos(2.0 * math.pi * uniform(r1)),
        radius_xy * math.sin(2.0 * math.pi * uniform(r1)),
        radius_z * math.cos(2.0 * math.pi * uniform(r3)),
    )
