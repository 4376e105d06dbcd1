"""The layers that the networks are made of, evaluated in float64 from the checkpoint's tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

LAYER_NORM_EPSILON: Final = 1e-5


def gelu(x: Float64) -> Float64:
    """x · Φ(x) with the exact error function."""
    erf = np.array([math.erf(value / math.sqrt(2.0)) for value in x], dtype=np.float64)
    return 0.5 * x * (1.0 + erf)


def sigmoid(x: Float64) -> Float64:
    """1 / (1 + exp(-x)), written with tanh so that it cannot overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def to_float32(x: Float64) -> Float32:
    """Round to float32; an overflow becomes inf, which the simulator reports as its own error."""
    with np.errstate(over="ignore"):
        return x.astype(np.float32)


@dataclass(frozen=True)
class Linear:
    """y = weight · x + bias; weight [out, in], bias [out]."""

    weight: Float64
    bias: Float64

    def __call__(self, x: Float64) -> Float64:
        return self.weight @ x + self.bias


@dataclass(frozen=True)
class LayerNorm:
    """Normalise a vector by its mean and population variance, then scale and shift."""

    weight: Float64
    bias: Float64

    def __call__(self, x: Float64) -> Float64:
        centred: Float64 = x - x.mean()
        variance = float(np.mean(centred * centred))
        return centred / math.sqrt(variance + LAYER_NORM_EPSILON) * self.weight + self.bias


@dataclass(frozen=True)
class GRULayer:
    """One layer in the PyTorch convention; the gates are stacked in the order r, z, n.

    weight_ih [3C, in], weight_hh [3C, C], bias_ih [3C], bias_hh [3C].
    """

    weight_ih: Float64
    weight_hh: Float64
    bias_ih: Float64
    bias_hh: Float64

    def __call__(self, x: Float64, h: Float64) -> Float64:
        from_input = np.split(self.weight_ih @ x + self.bias_ih, 3)
        from_hidden = np.split(self.weight_hh @ h + self.bias_hh, 3)
        reset = sigmoid(from_input[0] + from_hidden[0])
        update = sigmoid(from_input[1] + from_hidden[1])
        candidate = np.tanh(from_input[2] + reset * from_hidden[2])
        return (1.0 - update) * candidate + update * h


class Tensors:
    """Checked access to the checkpoint's tensors."""

    def __init__(self, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
        self._weights = weights

    def take(self, name: str, *shape: int) -> Float64:
        if name not in self._weights:
            raise ValueError(f"weights lack the tensor {name}")
        tensor = np.asarray(self._weights[name], dtype=np.float64)
        if tensor.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tensor.shape}")
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} holds numbers that are not finite")
        return tensor

    def linear(self, name: str, inputs: int, outputs: int) -> Linear:
        return Linear(
            self.take(f"{name}.weight", outputs, inputs), self.take(f"{name}.bias", outputs)
        )

    def layer_norm(self, name: str, width: int) -> LayerNorm:
        return LayerNorm(self.take(f"{name}.weight", width), self.take(f"{name}.bias", width))
