"""The five networks of docs/simulation.md §2, for one sample or one flow at a time.

Everything is evaluated in float64 from the checkpoint's tensors; what leaves a network and is
float32 in a run (energies, displacements, hidden state, embedding) is rounded on the way out.

Shapes: E embedding, S = W·H cells, P surfaces read by the output mapper, E_out output embedding,
N neuron output, L layers, C = carrier hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from .layers import Float32, Float64, GRULayer, Tensors, gelu, to_float32
from .mappers import InputMapper, OutputMapper
from .rules import Rules

DISPLACEMENT_HEAD_HIDDEN: Final = 64


@dataclass(frozen=True)
class Proposal:
    """What the carrier proposes for one flow and one step."""

    energy: np.float32
    """e'; from -1 to 1 unless the update is residual."""
    displacement: Float32
    """r [3], before scaling and clamping."""
    hidden: Float32
    """h' [L, C]."""


class Networks:
    """The five networks, built from a mapping of checkpoint tensor names to arrays.

    Raises ValueError naming the tensor that is missing, misshapen or not finite.
    """

    def __init__(self, rules: Rules, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
        self._rules = rules
        tensors = Tensors(weights)
        inner, neuron = rules.neuron_hidden_dim, rules.neuron_output_dim
        carrier = rules.carrier_hidden_size

        self.map_input = InputMapper(rules, tensors)
        """Embedding [E] to initial energies [H, W]."""
        self.map_output = OutputMapper(rules, tensors)
        """Surfaces [P, H, W] to embedding [E_out]."""

        self._neuron_first = tensors.linear("neuron.layers.0", rules.neuron_inputs, inner)
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

    @property
    def constant_axes(self) -> tuple[bool, bool, bool]:
        """Axes whose displacement is the last bias whatever the input, so free of rounding."""
        x, y, z = (bool((row == 0.0).all()) for row in self._displacement_last.weight)
        return x, y, z

    def propose(
        self, position: Float32, energy: np.float32, sensed: Float64, hidden: Float32
    ) -> Proposal:
        """One pass of neuron, GRU and heads for a flow at position [3] with hidden [L, C].

        `sensed` is (g, g_x, g_y), or empty where nothing is sensed.
        """
        x = np.array([*position, energy, *sensed], dtype=np.float64)
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
        if self._rules.residual:
            e = np.float64(energy) + e
        r = self._displacement_last(gelu(self._displacement_first(o)))
        return Proposal(to_float32(e)[0], to_float32(r), to_float32(new_hidden))
