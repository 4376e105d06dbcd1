"""What a CPU does to a block of rows between matrix products, each in one pass, compiled by Numba.

Tensor operations take many passes over memory for the same; a GRU's gates alone cost more than its
products in bfloat16. ``networks`` calls these; ``tensor.networks`` computes the same in tensor
operations.

Arithmetic is float32. Every product that is added to something is an explicit fused multiply-add,
and what may be reordered is marked, so that a row's bits depend neither on its place nor on how the
compiler cuts a loop into vectors. bfloat16 is held as its 16 bits, uint16. A NaN stays one.

Shape legend: N rows, F numbers that the neuron reads of each, R stored rows, Nh neuron width, X
input width of a GRU layer with its constant columns, H hidden width, K width of the heads' hidden
layer.
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
"""Beyond ±30, a sigmoid and a tanh do not change any more in float32."""
CHUNK = 32
"""Rows that share a scratch row; blocks are multiples of it."""


def primitive(typing: Callable[..., Any]) -> Any:
    """Return a compiler operation, for what Numba has no function for."""
    return intrinsic(typing)


@primitive
def fma(_typing, a, b, c):
    """Return ``a · b + c``, rounded once."""

    def generate(_context, builder, _signature, arguments):
        return builder.fma(*arguments)

    return numba.float32(numba.float32, numba.float32, numba.float32), generate


@primitive
def bits(_typing, x):
    """Return the bits of a float32."""

    def generate(_context, builder, _signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return numba.uint32(numba.float32), generate


@primitive
def from_bits(_typing, x):
    """Return the float32 that has these bits."""

    def generate(_context, builder, _signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return numba.float32(numba.uint32), generate


@primitive
def load_f32(_typing, x):
    """Return an element, float32 or bfloat16, as float32."""

    def generate(_context, builder, _signature, arguments):
        if x == numba.float32:
            return arguments[0]
        word = builder.zext(arguments[0], ir.IntType(32))
        word = builder.shl(word, ir.Constant(ir.IntType(32), 16))
        return builder.bitcast(word, ir.FloatType())

    return numba.float32(x), generate


@primitive
def store(_typing, array, x):
    """Return a float32 as an element of an array: itself, or rounded to bfloat16, ties to even."""
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
def clamp(x, limit):
    """Return ``x`` in [-limit, limit]; a NaN fails both comparisons and stays."""
    x = -limit if x < -limit else x  # noqa: FURB136 - max may drop a NaN
    return limit if x > limit else x  # noqa: FURB136


@part
def exp(x):
    """Return eˣ for |x| ≤ 87, with a relative error of at most (2 + 0.3 |x|) · 1e-7.

    Range reduction as in Cody and Waite, "Software manual for the elementary functions" (1980):
    2ᶠ · 2ⁿ with n the integer nearest to x log₂ e, which adding 1.5 · 2²³ leaves in the last bits;
    2ᶠ by the polynomial of degree 5 whose largest relative error on |f| ≤ 1/2 is least, 1.1e-7.
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
    """Return tanh x = (e²ˣ - 1) / (e²ˣ + 1), within 2e-7."""
    e = exp(clamp(x + x, LIMIT))
    return (e - f32(1.0)) / (e + f32(1.0))


@part
def gelu(x):
    """Return x Φ(x), within 3e-7 · |x|.

    GELU as Hendrycks and Gimpel, "Gaussian error linear units" (2016); its erf as Abramowitz and
    Stegun, "Handbook of mathematical functions" (1964), 7.1.26. An infinite x gives a NaN, so that
    weights that are not finite are noticed.
    """
    s = x * f32(0.7071067811865476)
    t = f32(1.0) / fma(f32(0.3275911), abs(s), f32(1.0))
    p = fma(f32(1.061405429), t, f32(-1.453152027))
    p = fma(p, t, f32(1.421413741))
    p = fma(p, t, f32(-0.284496736))
    p = fma(p, t, f32(0.254829592))
    tail = f32(0.5) * (p * t) * exp(clamp(-(s * s), f32(87.0)))
    return fma(x, tail if x < f32(0.0) else f32(1.0) - tail, x - x)


def _add_up(values):
    total = f32(0.0)
    for j in range(values.shape[0]):
        total += values[j]
    return total


def _add_up_squares(values, mean):
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
add_up, add_up_squares, dot = (
    numba.njit(one, fastmath={"reassoc", "contract"}, error_model="numpy")
    for one in (_add_up, _add_up_squares, _dot)
)


@part
def normalise(values, weight, bias, eps, out):
    """Write LayerNorm, then GELU, of one row; LayerNorm as in ``linear.PackedNorm``."""
    width = values.shape[0]
    mean = add_up(values) / f32(width)
    scale = f32(1.0) / np.sqrt(add_up_squares(values, mean) / f32(width) + eps)
    for j in range(width):
        x = fma((values[j] - mean) * scale, load_f32(weight[j]), load_f32(bias[j]))
        out[j] = store(out, gelu(x))


@part
def copy(row, out):
    """Copy one row as it is."""
    for j in range(out.shape[0]):
        out[j] = row[j]


@part
def convert(row, out):
    """Copy one row in another dtype."""
    for j in range(row.shape[0]):
        out[j] = store(out, load_f32(row[j]))


@part
def fill(out, last):
    """Write zeros, and ``last`` in the last column, if there is one."""
    for j in range(out.shape[0]):
        out[j] = store(out, f32(0.0))
    if out.shape[0] > 0:
        out[out.shape[0] - 1] = store(out, last)


@Kernel
def neuron_layer1(features, w, b, norm_weight, norm_bias, eps, out):
    """Compute the neuron's first layer, LayerNorm and GELU, of x, y, z, e and what is sensed.

    Args:
        features: float32 [N, F].
        w: weights, [16, padded Nh], of which F rows are not padding.
        b: biases, [padded Nh].
        norm_weight: of the LayerNorm, [Nh].
        norm_bias: of the LayerNorm, [Nh].
        eps: of the LayerNorm, float32.
        out: [N, padded Nh].
    """
    rows, width = out.shape[0], norm_weight.shape[0]
    for chunk in numba.prange((rows + CHUNK - 1) // CHUNK):
        values = np.empty(width, f32)
        for i in range(chunk * CHUNK, min(rows, (chunk + 1) * CHUNK)):
            x, y, z, e = features[i, 0], features[i, 1], features[i, 2], features[i, 3]
            for j in range(width):
                value = fma(x, load_f32(w[0, j]), load_f32(b[j]))
                value = fma(y, load_f32(w[1, j]), value)
                value = fma(z, load_f32(w[2, j]), value)
                values[j] = fma(e, load_f32(w[3, j]), value)
            for k in range(4, features.shape[1]):
                sensed = features[i, k]
                for j in range(width):
                    values[j] = fma(sensed, load_f32(w[k, j]), values[j])
            normalise(values, norm_weight, norm_bias, eps, out[i, :width])
            fill(out[i, width:], f32(0.0))


@Kernel
def neuron_layer2(product, b, norm_weight, norm_bias, eps, features, out, end):
    """Compute the neuron's second layer after its product, as the first GRU layer's input.

    Args:
        product: [N, padded Nh].
        b: biases, [padded Nh].
        norm_weight: of the LayerNorm, [Nh].
        norm_bias: of the LayerNorm, [Nh].
        eps: of the LayerNorm, float32.
        features: float32 [N, F], of which the fourth column is e.
        out: [N, ≥ X]; columns up to ``end`` are written: Nh values, e, zeros, 1.
        end: X.
    """
    rows, width = out.shape[0], norm_weight.shape[0]
    for chunk in numba.prange((rows + CHUNK - 1) // CHUNK):
        values = np.empty(width, f32)
        for i in range(chunk * CHUNK, min(rows, (chunk + 1) * CHUNK)):
            for j in range(width):
                values[j] = load_f32(product[i, j]) + load_f32(b[j])
            normalise(values, norm_weight, norm_bias, eps, out[i, :width])
            out[i, width] = store(out, features[i, 3])
            fill(out[i, width + 1 : end], f32(1.0))


@Kernel
def gather(hidden, source, out, start):
    """Gather stored states into the columns of ``out`` from ``start`` on; zeros follow.

    Args:
        hidden: [R, H], in the dtype of ``out`` or in another.
        source: row of each state, int64 [N].
        out: [N, ≥ start + H].
        start: the first column.
    """
    size = hidden.shape[1]
    for i in numba.prange(out.shape[0]):
        if hidden.dtype == out.dtype:
            copy(hidden[source[i]], out[i, start : start + size])
        else:
            convert(hidden[source[i]], out[i, start : start + size])
        fill(out[i, start + size :], f32(0.0))


@part
def gate(r, z, x, q, h):
    """Return of one element e⁻ʳ, e⁻ᶻ, e²ᶜ and h', the equations of ``carrier.PackedGRULayer``.

    c = x + q σ(r) and h' = tanh c + σ(z) (h - tanh c). With u = e⁻ᶻ and v = e²ᶜ,
    h' = (u (v - 1) + h (v + 1)) / ((1 + u) (v + 1)): one division.
    """
    from_r = exp(clamp(-r, LIMIT))
    from_z = exp(clamp(-z, LIMIT))
    c = x + q / (f32(1.0) + from_r)
    from_c = exp(clamp(c + c, LIMIT))
    above = from_c + f32(1.0)
    state = fma(h, above, (from_c - f32(1.0)) * from_z) / fma(above, from_z, above)
    return from_r, from_z, from_c, state


@part
def step_row(r, z, x, q, h, out):
    """Compute the new state of one row."""
    for j in range(out.shape[0]):
        out[j] = store(
            out,
            gate(load_f32(r[j]), load_f32(z[j]), load_f32(x[j]), load_f32(q[j]), load_f32(h[j]))[3],
        )


@part
def step_row_and_keep(r, z, x, q, h, out):
    """Compute the new state of one row; write σ(r), σ(z) and tanh c over r, z and x."""
    one = f32(1.0)
    for j in range(out.shape[0]):
        from_r, from_z, from_c, state = gate(
            load_f32(r[j]), load_f32(z[j]), load_f32(x[j]), load_f32(q[j]), load_f32(h[j])
        )
        out[j] = store(out, state)
        r[j] = store(r, one / (one + from_r))
        z[j] = store(z, one / (one + from_z))
        x[j] = store(x, (from_c - one) / (from_c + one))


@Kernel
def gru_step(rz, x, q, states, start, out, after, end, last, keeps):
    """Compute a GRU layer's new state, and write it once more where the next product reads it.

    Args:
        rz: [N, ≥ 2 H], r and z before their sigmoids.
        x: [N, ≥ H], the candidate's part from the input.
        q: [N, ≥ H], the candidate's part from the state; or one row for all.
        states: [N, ≥ start + H], the state from column ``start`` on; or one row for all.
        start: the state's first column.
        out: [N, H], the new state.
        after: [N, ≥ end], the new state; zeros up to ``end`` follow, then ``last`` in the last
            column. Or [N, 0].
        end: one past the last column of ``after`` that is written.
        last: 0 or 1, float32.
        keeps: whether r, z and the candidate are left in ``rz`` and ``x``.
    """
    size = out.shape[1]
    q_stride = 0 if q.shape[0] == 1 else 1
    state_stride = 0 if states.shape[0] == 1 else 1
    for i in numba.prange(out.shape[0]):
        r, z, c = rz[i, :size], rz[i, size : 2 * size], x[i, :size]
        of_state, h = q[i * q_stride], states[i * state_stride, start:]
        if keeps:
            step_row_and_keep(r, z, c, of_state, h, out[i])
        else:
            step_row(r, z, c, of_state, h, out[i])
        if after.shape[1] > 0:
            convert(out[i], after[i])
            fill(after[i, size:end], last)


@part
def activate(row, out):
    """Write GELU of one row."""
    for j in range(out.shape[0]):
        out[j] = gelu(row[j])


@Kernel
def output_heads(before, w, b, energy, displacement):
    """Compute both heads after their first product.

    Args:
        before: float32 [N, K], before the activation.
        w: weights, float32 [4, K].
        b: biases, float32 [4].
        energy: receives e', float32 [N].
        displacement: receives r, float32 [N, 3].
    """
    rows, width = before.shape
    for chunk in numba.prange((rows + CHUNK - 1) // CHUNK):
        values = np.empty(width, f32)
        for i in range(chunk * CHUNK, min(rows, (chunk + 1) * CHUNK)):
            activate(before[i], values)
            energy[i] = tanh(dot(values, w[0]) + b[0])
            for axis in range(3):
                displacement[i, axis] = dot(values, w[axis + 1]) + b[axis + 1]
