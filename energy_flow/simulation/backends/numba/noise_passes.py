"""Exploration noise of all flows in one pass; ``noise`` computes the same in tensor operations.

Shape legend: N flows, B samples.
"""

# Numba compiles these functions from their bytecode, and infers their types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import math

import numba
import numpy as np

from energy_flow.runtime.numba_kernel import Kernel, part
from energy_flow.simulation.noise import EXPLORATION, MULTIPLIERS, ROUNDS, WEYL

CHUNK = 256
"""Flows whose random words are computed at once, in vectors, before their logarithms and angles."""

u64, f32, f64 = np.uint64, np.float32, np.float64
MASK = u64(0xFFFFFFFF)
M0, M1 = u64(MULTIPLIERS[0]), u64(MULTIPLIERS[1])
W0, W1 = u64(WEYL[0]), u64(WEYL[1])
PURPOSE = u64(EXPLORATION)
HALF = u64(32)
UNIT = 2.0**-24


@part
def philox(flow, step, key, low, high, out, at):
    """Write Philox4x32-10 of one counter into column ``at`` of ``out`` [4, ·].

    Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
    """
    c0, c1, c2, c3 = flow, step, key, PURPOSE
    for _ in range(ROUNDS):
        p0, p1 = c0 * M0, c2 * M1
        c0, c1, c2, c3 = (p1 >> HALF) ^ c1 ^ low, p1 & MASK, (p0 >> HALF) ^ c3 ^ high, p0 & MASK
        low, high = (low + W0) & MASK, (high + W1) & MASK
    out[0, at], out[1, at], out[2, at], out[3, at] = c0, c1, c2, c3


@part
def unit(word):
    """Return v(r) = (r >> 8) · 2⁻²⁴."""
    return f64(word >> u64(8)) * UNIT


@Kernel
def explore(flow, sample, step, key, low, high, scale, scale_z, out):
    """Write the scaled noise of every flow.

    Normal numbers by the transform of Box and Muller, "A note on the generation of random normal
    deviates" (1958).

    Args:
        flow: ids, int64 [N].
        sample: rows of the samples, int64 [N].
        step: number of the step, int64 [B].
        key: sample keys, int64 [B].
        low: low words of the seeds, int64 [B].
        high: high words of the seeds, int64 [B].
        scale: standard deviations along x and y, float32 [B].
        scale_z: standard deviations along z, float32 [B].
        out: receives the noise, float32 [N, 3].
    """
    rows = out.shape[0]
    for chunk in numba.prange((rows + CHUNK - 1) // CHUNK):
        drawn = np.empty((4, CHUNK), u64)
        first = chunk * CHUNK
        count = min(CHUNK, rows - first)
        for i in range(count):
            b = sample[first + i]
            philox(
                u64(flow[first + i]), u64(step[b]), u64(key[b]), u64(low[b]), u64(high[b]), drawn, i
            )
        for i in range(count):
            b = sample[first + i]
            radius = math.sqrt(-2.0 * math.log(unit(drawn[0, i]) + UNIT))
            angle = (2.0 * math.pi) * unit(drawn[1, i])
            radius_z = math.sqrt(-2.0 * math.log(unit(drawn[2, i]) + UNIT))
            angle_z = (2.0 * math.pi) * unit(drawn[3, i])
            out[first + i, 0] = f32(radius * math.cos(angle)) * scale[b]
            out[first + i, 1] = f32(radius * math.sin(angle)) * scale[b]
            out[first + i, 2] = f32(radius_z * math.cos(angle_z)) * scale_z[b]
