"""What a CPU does to a block of rows between matrix products, each in one pass, compiled by Numba.

Tensor operations take many passes over memory for the same; a GRU's gates alone cost more than its
products in bfloat16. ``compiled_networks`` calls these; where they cannot run, ``carrier`` and
``neuron`` say the same in tensor operations.

Arithmetic is float32. Every product that is added to something is a fused multiply-add that says
so, and what may be reordered is said, so that a row's bits depend neither on its place nor on how
the compiler cuts a loop into vectors. bfloat16 is held as its 16 bits, uint16. A NaN stays one.

Shape legend: N rows, Nh neuron width, X input width of a GRU layer with its constant columns, H
hidden width, K width of the heads' hidden layer.
"""

# Numba compiles these functions from their bytecode, and infers their types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from energy_flow.runtime.numba_kernel import Kernel, part

f32 = np.float32
LIMIT = f32(30.0)
"""Beyond ±30, a sigmoid and a tanh are what they are there, in float32."""
CHUNK = 32
"""Rows that share a scratch row; blocks are multiples of it."""


def primitive(typing: Callable[..., Any]) -> Any:
    """An operation of the compiler's, for what Numba has no word for."""
    return intrinsic(typing)


@primitive
def fma(_typing, a, b, c):
    """``a · b + c``, rounded once."""

    def generate(_context, builder, _signature, arguments):
        return builder.fma(*arguments)

    return numba.float32(numba.float32, numba.float32, numba.float32), generate


@primitive
def bits(_typing, x):
    """The bits of a float32."""

    def generate(_context, builder, _signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return numba.uint32(numba.float32), generate


@primitive
def from_bits(_typing, x):
    """The float32 that has these bits."""

    def generate(_context, builder, _signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return numba.float32(numba.uint32), generate


@primitive
def wide(_typing, x):
    """An element as float32."""

    def generate(_context, builder, _signature, arguments):
        if x == numba.float32:
            return arguments[0]
        word = builder.zext(arguments[0], ir.IntType(32))
        word = builder.shl(word, ir.Constant(ir.IntType(32), 16))
        return builder.bitcast(word, ir.FloatType())

    return numba.float32(x), generate


@primitive
def narrow(_typing, array, x):
    """A float32 as an element of an array: itself, or rounded to bfloat16, ties to even."""
    element = array.dtype

    def generate(_context, builder, _signature, arguments):
        if element == numba.float32:
            return arguments[1]
        word_type = ir.IntType(32)
        word = builder.bitcast(arguments[1], word_type)
        odd = builder.and_(builder.lshr(word, word_type(16)), word_type(1))
        rounded = builder.add(word, builder.add(odd, word_type(0x7FFF)))
        is_nan = builder.fcmp_unordered("uno", arguments[1], arguments[1])
        kept = builder.select(is_nan, word_type(0x7FC00000), rounded)
        return builder.trunc(builder.lshr(kept, word_type(16)), ir.IntType(16))

    return element(array, numba.float32), generate


@part
def clamped(x, limit):
    """``x`` in [-limit, limit]; a NaN fails both comparisons and stays."""
    x = -limit if x < -limit else x  # noqa: FURB136 - max may drop a NaN
    return limit if x > limit else x  # noqa: FURB136


@part
def exp(x):
    """eˣ for |x| ≤ 87, within (2 + 0.3 |x|) · 1e-7 of it.

    2ᶠ · 2ⁿ with n the integer nearest to x log₂ e, which adding 1.5 · 2²³ leaves in the last bits;
    2ᶠ by a polynomial whose largest relative error on |f| ≤ 1/2 is least, 1.1e-7.
    """
    shifted = fma(x, f32(1.4426950408889634), f32(12582912.0))
    f = fma(x, f32(1.4426950408889634), f32(12582912.0) - shifted)
    p = fma(f32(0.001326472731307149), f, f32(0.009671512991189957))
    p = fma(p, f, f32(0.05550733581185341))
    p = fma(p, f, f32(0.24022242426872253))
    p = fma(p, f, f32(0.6931470036506653))
    p = fma(p, f, f32(1.0))
    return from_bits(bits(p) + (bits(shifted) << np.uint32(23)))


@part
def tanh(x):
    """The hyperbolic tangent, within 2e-7."""
    e = exp(clamped(x + x, LIMIT))
    return (e - f32(1.0)) / (e + f32(1.0))


@part
def gelu(x):
    """x Φ(x), within 3e-7 · |x|; erf as Abramowitz and Stegun 7.1.26.

    Of an infinite x it makes a NaN, so that weights that are not finite are noticed.
    """
    s = x * f32(0.7071067811865476)
    t = f32(1.0) / fma(f32(0.3275911), abs(s), f32(1.0))
    p = fma(f32(1.061405429), t, f32(-1.453152027))
    p = fma(p, t, f32(1.421413741))
    p = fma(p, t, f32(-0.284496736))
    p = fma(p, t, f32(0.254829592))
    tail = f32(0.5) * (p * t) * exp(clamped(-(s * s), f32(87.0)))
    return fma(x, tail if x < f32(0.0) else f32(1.0) - tail, x - x)


def _total(values):
    total = f32(0.0)
    for j in range(values.shape[0]):
        total += values[j]
    return total


def _squares(values, mean):
    total = f32(0.0)
    for j in range(values.shape[0]):
        total += (values[j] - mean) * (values[j] - mean)
    return total


def _dot(values, weights):
    total = f32(0.0)
    for j in range(values.shape[0]):
        total += values[j] * weights[j]
    return total


# A sum in vectors needs another order than the loop's: the same one for every row.
total, squares, dot = (
    numba.njit(one, fastmath={"reassoc", "contract"}, error_model="numpy")
    for one in (_total, _squares, _dot)
)


@part
def normalised(values, weight, bias, eps, out):
    """LayerNorm, then GELU, of one row."""
    width = values.shape[0]
    mean = total(values) / f32(width)
    scale = f32(1.0) / np.sqrt(squares(values, mean) / f32(width) + eps)
    for j in range(width):
        x = fma((values[j] - mean) * scale, wide(weight[j]), wide(bias[j]))
        out[j] = narrow(out, gelu(x))


@part
def copied(row, out):
    """One row as it is."""
    for j in range(out.shape[0]):
        out[j] = row[j]


@part
def converted(row, out):
    """One row in another dtype."""
    for j in range(row.shape[0]):
        out[j] = narrow(out, wide(row[j]))


@part
def filled(out, last):
    """Zeros, and ``last`` in the last column, if there is one."""
    for j in range(out.shape[0]):
        out[j] = narrow(out, f32(0.0))
    if out.shape[0] > 0:
        out[out.shape[0] - 1] = narrow(out, last)


@Kernel
def perceive(position, energy, w, b, norm_weight, norm_bias, eps, out):
    """The neuron's first layer, LayerNorm and GELU, of (x, y, z, e).

    Args:
        position: float32 [N, 3]. energy: float32 [N].
        w: [16, padded Nh], of which four rows mean something. b: [padded Nh].
        norm_weight, norm_bias: [Nh].
        out: [N, padded Nh].
    """
    rows, width = out.shape[0], norm_weight.shape[0]
    for chunk in numba.prange((rows + CHUNK - 1) // CHUNK):
        values = np.empty(width, f32)
        for i in range(chunk * CHUNK, min(rows, (chunk + 1) * CHUNK)):
            x, y, z, e = position[i, 0], position[i, 1], position[i, 2], energy[i]
            for j in range(width):
                value = fma(x, wide(w[0, j]), wide(b[j]))
                value = fma(y, wide(w[1, j]), value)
                value = fma(z, wide(w[2, j]), value)
                values[j] = fma(e, wide(w[3, j]), value)
            normalised(values, norm_weight, norm_bias, eps, out[i, :width])
            filled(out[i, width:], f32(0.0))


@Kernel
def conclude(product, b, norm_weight, norm_bias, eps, energy, out, end):
    """The neuron's second layer after its product, as the first GRU layer's input.

    Args:
        product: [N, padded Nh].
        out: [N, ≥ X]; columns up to ``end`` = X are written: Nh values, e, zeros, 1.
    """
    rows, width = out.shape[0], norm_weight.shape[0]
    for chunk in numba.prange((rows + CHUNK - 1) // CHUNK):
        values = np.empty(width, f32)
        for i in range(chunk * CHUNK, min(rows, (chunk + 1) * CHUNK)):
            for j in range(width):
                values[j] = wide(product[i, j]) + wide(b[j])
            normalised(values, norm_weight, norm_bias, eps, out[i, :width])
            out[i, width] = narrow(out, energy[i])
            filled(out[i, width + 1 : end], f32(1.0))


@Kernel
def gather(hidden, source, out, start):
    """Stored states into the columns of ``out`` from ``start`` on; zeros follow.

    Args:
        hidden: [R, H], in the dtype of ``out`` or in another. source: row of each state, int64 [N].
    """
    size = hidden.shape[1]
    for i in numba.prange(out.shape[0]):
        if hidden.dtype == out.dtype:
            copied(hidden[source[i]], out[i, start : start + size])
        else:
            converted(hidden[source[i]], out[i, start : start + size])
        filled(out[i, start + size :], f32(0.0))


@part
def gated(r, z, x, q, h):
    """Of one element: e⁻ʳ, e⁻ᶻ, e²ᶜ with c = x + q σ(r), and h' = tanh c + σ(z) (h - tanh c).

    With u = e⁻ᶻ and v = e²ᶜ, h' = (u (v - 1) + h (v + 1)) / ((1 + u) (v + 1)): one division.
    """
    from_r = exp(clamped(-r, LIMIT))
    from_z = exp(clamped(-z, LIMIT))
    c = x + q / (f32(1.0) + from_r)
    from_c = exp(clamped(c + c, LIMIT))
    above = from_c + f32(1.0)
    state = fma(h, above, (from_c - f32(1.0)) * from_z) / fma(above, from_z, above)
    return from_r, from_z, from_c, state


@part
def stepped(r, z, x, q, h, out):
    """The gates of one row."""
    for j in range(out.shape[0]):
        out[j] = narrow(out, gated(wide(r[j]), wide(z[j]), wide(x[j]), wide(q[j]), wide(h[j]))[3])


@part
def stepped_and_kept(r, z, x, q, h, out):
    """The gates of one row; σ(r), σ(z) and tanh c take the places of r, z and x."""
    one = f32(1.0)
    for j in range(out.shape[0]):
        from_r, from_z, from_c, state = gated(
            wide(r[j]), wide(z[j]), wide(x[j]), wide(q[j]), wide(h[j])
        )
        out[j] = narrow(out, state)
        r[j] = narrow(r, one / (one + from_r))
        z[j] = narrow(z, one / (one + from_z))
        x[j] = narrow(x, (from_c - one) / (from_c + one))


@Kernel
def step(rz, x, q, states, start, out, after, end, last, keeps):
    """A GRU layer's gates, and the new state once more where the next product reads it.

    Args:
        rz: [N, ≥ 2 H], r and z before their sigmoids. x: [N, ≥ H], of the candidate, from the
            input. q: [N, ≥ H], from the state; or one row for all.
        states: [N, ≥ start + H], the state from column ``start`` on; or one row for all.
        out: [N, H], the new state.
        after: [N, ≥ end], the new state; zeros up to ``end`` follow, the last one ``last``. Or
            [N, 0].
        keeps: whether r, z and the candidate are left in ``rz`` and ``x``.
    """
    size = out.shape[1]
    q_stride = 0 if q.shape[0] == 1 else 1
    state_stride = 0 if states.shape[0] == 1 else 1
    for i in numba.prange(out.shape[0]):
        r, z, c = rz[i, :size], rz[i, size : 2 * size], x[i, :size]
        of_state, h = q[i * q_stride], states[i * state_stride, start:]
        if keeps:
            stepped_and_kept(r, z, c, of_state, h, out[i])
        else:
            stepped(r, z, c, of_state, h, out[i])
        if after.shape[1] > 0:
            converted(out[i], after[i])
            filled(after[i, size:end], last)


@part
def activated(row, out):
    """GELU of one row."""
    for j in range(out.shape[0]):
        out[j] = gelu(row[j])


@Kernel
def point(before, w, b, energy, raw):
    """Both heads after their first product: energy and displacement.

    Args:
        before: float32 [N, K]. w: float32 [4, K]. b: float32 [4].
        energy: float32 [N]. raw: float32 [N, 3].
    """
    rows, width = before.shape
    for chunk in numba.prange((rows + CHUNK - 1) // CHUNK):
        values = np.empty(width, f32)
        for i in range(chunk * CHUNK, min(rows, (chunk + 1) * CHUNK)):
            activated(before[i], values)
            energy[i] = tanh(dot(values, w[0]) + b[0])
            for axis in range(3):
                raw[i, axis] = dot(values, w[axis + 1]) + b[axis + 1]
