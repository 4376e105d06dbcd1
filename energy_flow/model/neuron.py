"""``SimpleNeuron``: what a flow perceives of its place and energy.

Shape legend: N flows, Nh neuron width, A the neuron's output width (``neuron_output_dim``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from energy_flow.config.flow_config import FlowConfig
from energy_flow.model.linear import (
    PackedNorm,
    PaddedLinear,
    constant_columns,
    draw_defaults,
    linears,
    norms,
)


@dataclass(frozen=True, slots=True)
class PackedNeuron:
    """The neuron up to its last layer, padded and in the dtype of its arithmetic.

    The last layer is linear, and so is what the carrier does with it: the two are multiplied once,
    when the carrier is packed with ``last_weight`` [A, Nh] and ``last_bias`` [A].
    """

    first: PaddedLinear
    first_norm: PackedNorm
    second: PaddedLinear
    second_norm: PackedNorm
    last_weight: Tensor
    last_bias: Tensor

    def __call__(self, position_N3: Tensor, energy_N: Tensor) -> Tensor:
        """The carrier's input: [last hidden layer, e, zeros, 1], a multiple of 16 wide."""
        dtype = self.first.weight.dtype
        energy_N1 = energy_N.unsqueeze(1).to(dtype)
        rows, width = energy_N.shape[0], self.last_weight.shape[1]
        unused = self.first.weight.shape[0] - 4
        x = torch.cat((position_N3.to(dtype), energy_N1, energy_N1.new_zeros(rows, unused)), dim=1)
        x = gelu(self.first_norm(self.first(x)))
        x = gelu(self.second_norm(self.second(x)))
        constant = constant_columns(rows, width + 1, energy_N1)
        return torch.cat((x, energy_N1, constant), dim=1)

    def tensors(self) -> tuple[Tensor, ...]:
        """The weights that a call uses, in order."""
        parts = (self.first, self.first_norm, self.second, self.second_norm)
        return tuple(tensor for part in parts for tensor in (part.weight, part.bias))

    def like(self, tensors: Sequence[Tensor]) -> PackedNeuron:
        """The same with other tensors, in the order of :meth:`tensors`."""
        w1, b1, nw1, nb1, w2, b2, nw2, nb2 = tensors
        return replace(
            self,
            first=replace(self.first, weight=w1, bias=b1),
            first_norm=replace(self.first_norm, weight=nw1, bias=nb1),
            second=replace(self.second, weight=w2, bias=b2),
            second_norm=replace(self.second_norm, weight=nw2, bias=nb2),
        )

    def multiplied_in(self, dtype: torch.dtype) -> PackedNeuron:
        """The same numbers, with products in another dtype."""
        return self.like([tensor.to(dtype) for tensor in self.tensors()])


class SimpleNeuron(nn.Module):
    """(x, y, z, e) -> n: three linear layers, the first two with LayerNorm and GELU."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        width = config.neuron_hidden_dim
        self.layers = nn.Sequential(
            nn.Linear(4, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, config.neuron_output_dim),
        )

    def draw(self, generator: torch.Generator) -> None:
        """Draws the weights of an untrained neuron."""
        draw_defaults(self.layers, generator)

    def packed(self, dtype: torch.dtype) -> PackedNeuron:
        """The weights as a step uses them; differentiable in the parameters."""
        first, second, last = linears(self.layers)
        first_norm, second_norm = (PackedNorm.of(one, dtype) for one in norms(self.layers))
        return PackedNeuron(
            PaddedLinear.of(first.weight, first.bias, dtype),
            first_norm,
            PaddedLinear.of(second.weight, second.bias, dtype),
            second_norm,
            last.weight,
            last.bias,
        )

    def forward(self, position_N3: Tensor, energy_N: Tensor) -> Tensor:
        """What flows perceive, [N, A]."""
        packed = self.packed(position_N3.dtype)
        hidden = packed(position_N3, energy_N)[:, : packed.last_weight.shape[1]]
        return hidden @ packed.last_weight.t() + packed.last_bias
