"""``SimpleNeuron``: what a flow perceives of its place and energy.

Shape legend: N flows, Nh neuron width, A the neuron's output width (``neuron_output_dim``).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from energy_flow.config import FlowConfig
from energy_flow.linear import (
    PackedNorm,
    PaddedLinear,
    draw_defaults,
    linears,
    norms,
    padded_width,
)


@dataclass(frozen=True, slots=True)
class PackedNeuron:
    """The neuron's weights, padded and in the dtype of its arithmetic."""

    first: PaddedLinear
    first_norm: PackedNorm
    second: PaddedLinear
    second_norm: PackedNorm
    third: PaddedLinear

    def __call__(self, position_N3: Tensor, energy_N: Tensor) -> Tensor:
        """The carrier's input: [n, e] with zero columns up to a multiple of 16."""
        dtype = self.first.weight.dtype
        energy_N1 = energy_N.unsqueeze(1).to(dtype)
        rows = energy_N.shape[0]
        x = torch.cat((position_N3.to(dtype), energy_N1, energy_N1.new_zeros((rows, 12))), dim=1)
        x = gelu(self.first_norm(self.first(x)))
        x = gelu(self.second_norm(self.second(x)))
        missing = padded_width(self.third.out_width + 1) - self.third.out_width - 1
        return torch.cat((self.third(x), energy_N1, energy_N1.new_zeros((rows, missing))), dim=1)


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
        first, second, third = (
            PaddedLinear.of(one.weight, one.bias, dtype) for one in linears(self.layers)
        )
        first_norm, second_norm = (PackedNorm.of(one, dtype) for one in norms(self.layers))
        return PackedNeuron(first, first_norm, second, second_norm, third)

    def forward(self, position_N3: Tensor, energy_N: Tensor) -> Tensor:
        """What flows perceive, [N, A]."""
        packed = self.packed(position_N3.dtype)
        return packed(position_N3, energy_N)[:, : packed.third.out_width]
