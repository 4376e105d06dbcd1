"""The five networks of docs/simulation.md §2, for one sample or one flow at a time.

Everything is evaluated in float64 from the checkpoint's tensors; what leaves a network and is
float32 in a run (energies, displacements, hidden state, embedding) is rounded on the way out.

Shapes: E embedding, M mapper hidden, S = W·H cells, N neuron output, L layers, C = carrier hidden.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from .rules import Rules

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

LAYER_NORM_EPSILON: Final = 1e-5
DISPLACEMENT_HEAD_HIDDEN: Final = 64


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


@dataclass(frozen=True)
class Proposal:
    """What the carrier proposes for one flow and one step."""

    energy: np.float32
    """e', from -1 to 1."""
    displacement: Float32
    """r [3], before scaling and clamping."""
    hidden: Float32
    """h' [L, C]."""


class _Tensors:
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


class Networks:
    """The five networks, built from a mapping of checkpoint tensor names to arrays.

    Raises ValueError naming the tensor that is missing, misshapen or not finite.
    """

    def __init__(self, rules: Rules, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
        self._rules = rules
        tensors = _Tensors(weights)
        width, height, cells = rules.width, rules.height, rules.cells
        embedding, mapper = rules.embedding_dim, rules.mapper_hidden_dim
        inner, neuron = rules.neuron_hidden_dim, rules.neuron_output_dim
        carrier = rules.carrier_hidden_size

        self._in_first = tensors.linear("input_mapper.layers.0", embedding, mapper)
        self._in_norm = tensors.layer_norm("input_mapper.layers.2", mapper)
        self._in_last = tensors.linear("input_mapper.layers.3", mapper, cells)
        self._energy_scale = tensors.take("input_mapper.energy_scale", 1)
        self._energy_bias = tensors.take("input_mapper.energy_bias", 1)
        self._positions = tensors.take("input_mapper.positional_encoding", height, width)

        self._neuron_first = tensors.linear("neuron.layers.0", 4, inner)
        self._neuron_norm_1 = tensors.layer_norm("neuron.layers.1", inner)
        self._neuron_middle = tensors.linear("neuron.layers.3", inner, inner)
        self._neuron_norm_2 = tensors.layer_norm("neuron.layers.4", inner)
        self._neuron_last = tensors.linear("neuron.layers.6", inner, neuron)

        self._gru = [
            GRULayer(
                tensors.take(
                    f"carrier.gru.weight_ih_l{layer}",
                    3 * carrier,
                    neuron + 1 if layer == 0 else carrier,
                ),
                tensors.take(f"carrier.gru.weight_hh_l{layer}", 3 * carrier, carrier),
                tensors.take(f"carrier.gru.bias_ih_l{layer}", 3 * carrier),
                tensors.take(f"carrier.gru.bias_hh_l{layer}", 3 * carrier),
            )
            for layer in range(rules.carrier_num_layers)
        ]
        self._energy_first = tensors.linear("carrier.energy_head.0", carrier, carrier // 2)
        self._energy_last = tensors.linear("carrier.energy_head.2", carrier // 2, 1)
        self._displacement_first = tensors.linear(
            "carrier.displacement_head.0", carrier, DISPLACEMENT_HEAD_HIDDEN
        )
        self._displacement_last = tensors.linear(
            "carrier.displacement_head.2", DISPLACEMENT_HEAD_HIDDEN, 3
        )

        self._position_weights = tensors.take("output_mapper.position_weights", height, width)
        self._out_first = tensors.linear("output_mapper.layers.0", cells, mapper)
        self._out_norm = tensors.layer_norm("output_mapper.layers.2", mapper)
        self._out_last = tensors.linear("output_mapper.layers.3", mapper, embedding)

    @property
    def constant_axes(self) -> tuple[bool, bool, bool]:
        """Axes whose displacement is the last bias whatever the input, so free of rounding."""
        x, y, z = (bool((row == 0.0).all()) for row in self._displacement_last.weight)
        return x, y, z

    def map_input(self, embedding: Float64) -> Float32:
        """Embedding [E] to initial energies [H, W]."""
        hidden = self._in_norm(gelu(self._in_first(embedding)))
        surface = np.tanh(self._in_last(hidden)).reshape(self._rules.height, self._rules.width)
        return to_float32(surface * self._energy_scale + self._energy_bias + self._positions)

    def map_output(self, surface: Float32) -> Float32:
        """Surface [H, W] to embedding [E]."""
        weighted = (surface.astype(np.float64) * self._position_weights).reshape(-1)
        return to_float32(self._out_last(self._out_norm(gelu(self._out_first(weighted)))))

    def propose(self, position: Float32, energy: np.float32, hidden: Float32) -> Proposal:
        """One pass of neuron, GRU and heads for a flow at position [3] with hidden [L, C]."""
        x = np.array([*position, energy], dtype=np.float64)
        x = gelu(self._neuron_norm_1(self._neuron_first(x)))
        x = gelu(self._neuron_norm_2(self._neuron_middle(x)))
        n = self._neuron_last(x)

        layer_input: Float64 = np.append(n, np.float64(energy))
        new_hidden = np.empty(hidden.shape, dtype=np.float64)
        for index, layer in enumerate(self._gru):
            layer_input = layer(layer_input, hidden[index].astype(np.float64))
            new_hidden[index] = layer_input
        o = layer_input

        e = np.tanh(self._energy_last(gelu(self._energy_first(o))))
        r = self._displacement_last(gelu(self._displacement_first(o)))
        return Proposal(to_float32(e)[0], to_float32(r), to_float32(new_hidden))
