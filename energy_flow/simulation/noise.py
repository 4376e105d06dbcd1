"""Counter-based normal numbers: a function of (seed, flow, step, sample key) and nothing else.

Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
(SC 2011), as in Random123. All words are unsigned 32-bit numbers held in int64 tensors.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

MASK: Final = 0xFFFFFFFF
MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
WEYL: Final = (0x9E3779B9, 0xBB67AE85)
ROUNDS: Final = 10
EXPLORATION: Final = 1
"""The purpose word of exploration noise."""


def philox(counter_4N: Tensor, key_2N: Tensor) -> Tensor:
    """Return the output words of Philox4x32-10.

    Args:
        counter_4N: int64 [4, N], each in [0, 2³²).
        key_2N: int64 [2, N] or [2, 1], likewise.

    Returns:
        int64 [4, N], the four output words of each counter.
    """
    multiplier_21, weyl_21 = _column(MULTIPLIERS, counter_4N), _column(WEYL, counter_4N)
    even_2N = counter_4N[0::2].contiguous()
    odd = counter_4N[1], counter_4N[3]
    # Few arrays, written in place, so that they stay in the cache; two of them alternate.
    high_2N = torch.empty_like(even_2N)
    products = torch.empty_like(even_2N), torch.empty_like(even_2N)
    for turn in range(ROUNDS):
        # The 64-bit product wraps as a signed number; its bits are those of the unsigned one.
        product_2N = torch.mul(even_2N, multiplier_21, out=products[turn % 2])
        torch.bitwise_right_shift(product_2N, 32, out=high_2N).bitwise_and_(MASK)
        low_2N = product_2N.bitwise_and_(MASK)
        torch.bitwise_xor(high_2N[1], odd[0], out=even_2N[0])
        torch.bitwise_xor(high_2N[0], odd[1], out=even_2N[1])
        even_2N ^= key_2N
        odd = low_2N[1], low_2N[0]
        key_2N = (key_2N + weyl_21) & MASK
    return torch.stack((even_2N[0], odd[0], even_2N[1], odd[1]))


def _column(words: tuple[int, int], like: Tensor) -> Tensor:
    """Return two words, [2, 1], made on the device: a copy from the host would wait for it."""
    column_21 = like.new_empty((2, 1))
    for row, word in enumerate(words):
        column_21[row].fill_(word)
    return column_21


def normals(
    flow_N: Tensor, step_N: Tensor, sample_key_N: Tensor, seed_2N: Tensor, dtype: torch.dtype
) -> Tensor:
    """Return three standard normal numbers a flow, [N, 3].

    ``g_x = √(-2 ln u(r0)) cos(2π v(r1))``, ``g_y`` with the sine, ``g_z`` from r2 and r3, where
    ``u(r) = ((r >> 8) + 1) · 2⁻²⁴`` and ``v(r) = (r >> 8) · 2⁻²⁴``: the transform of Box and
    Muller, "A note on the generation of random normal deviates" (1958).

    Args:
        flow_N: flow ids, int64 in [0, 2³²).
        step_N: numbers of steps, int64 in [0, 2³²).
        sample_key_N: sample keys, int64 in [0, 2³²).
        seed_2N: low and high words of the seed, int64 [2, N], or [2, 1] when all have the same.
        dtype: of the result.
    """
    purpose_N = torch.full_like(flow_N, EXPLORATION)
    words_4N = philox(torch.stack((flow_N, step_N, sample_key_N, purpose_N)), seed_2N) >> 8
    # Evaluated in float64 and rounded once: vector and scalar code of a library may differ in a
    # last bit, and a flow's place in a tensor must not matter.
    unit_4N = words_4N.to(torch.float64) * 2.0**-24
    radius_2N = (-2.0 * (unit_4N[0::2] + 2.0**-24).log()).sqrt()
    angle_2N = (2.0 * math.pi) * unit_4N[1::2]
    cosine_2N = angle_2N.cos()
    g_x = radius_2N[0] * cosine_2N[0]
    g_y = radius_2N[0] * angle_2N[0].sin()
    g_z = radius_2N[1] * cosine_2N[1]
    return torch.stack((g_x, g_y, g_z), dim=1).to(dtype)
