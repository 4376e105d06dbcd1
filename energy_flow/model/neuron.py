"""``SimpleNeuron``: the network that reads a flow's position and energy, and what it senses.

Shape legend: N flows, F numbers that are read of each (x, y, z, e and what it senses), Nh neuron
width, A the neuron's output width (``neuron_output_dim``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from energy_flow.config.flow_config import FlowConfig
from energy_flow.model.linear import PackedNorm, PaddedLinear, init_defaults, linears, norms

OWN_FEATURES = 4
"""Numbers that are read of every flow: x, y, z and e."""
ENERGY = 3
"""Column of e."""


@dataclass(frozen=True, slots=True)
class PackedNeuron:
    """The neuron up to its last layer, padded and in the dtype of its arithmetic.

    The last layer is linear, and so is what the carrier does with it: the two are multiplied once,
    when the carrier is packed.

    Attributes:
        first: from F to Nh.
        first_norm: of Nh columns.
        second: from Nh to Nh.
        second_norm: of Nh columns.
        last_weight: [A, Nh].
        last_bias: [A].
        features: F.
    """

    first: PaddedLinear
    first_norm: PackedNorm
    second: PaddedLinear
    second_norm: PackedNorm
    last_weight: Tensor
    last_bias: Tensor
    features: int

    def tensors(self) -> tuple[Tensor, ...]:
        """Return the weights that a call uses, in order."""
        parts = (self.first, self.first_norm, self.second, self.second_norm)
        return tuple(tensor for part in parts for tensor in (part.weight, part.bias))

    def with_tensors(self, tensors: Sequence[Tensor]) -> PackedNeuron:
        """Return the same with other tensors, in the order of :meth:`tensors`."""
        w1, b1, nw1, nb1, w2, b2, nw2, nb2 = tensors
        return replace(
            self,
            first=replace(self.first, weight=w1, bias=b1),
            first_norm=replace(self.first_norm, weight=nw1, bias=nb1),
            second=replace(self.second, weight=w2, bias=b2),
            second_norm=replace(self.second_norm, weight=nw2, bias=nb2),
        )

    def with_product_dtype(self, dtype: torch.dtype) -> PackedNeuron:
        """Return the same numbers, with products in another dtype."""
        return self.with_tensors([tensor.to(dtype) for tensor in self.tensors()])


class SimpleNeuron(nn.Module):
    """(x, y, z, e) and what is sensed -> n: three linear layers, two with LayerNorm and GELU.

    Attributes:
        layers: the Sequential stack, F -> Nh -> Nh -> A.
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        width = config.neuron_hidden_dim
        self.layers = nn.Sequential(
            nn.Linear(OWN_FEATURES + config.sensing.width, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, config.neuron_output_dim),
        )

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw the weights of an untrained neuron."""
        init_defaults(self.layers, generator)

    def pack(self, dtype: torch.dtype) -> PackedNeuron:
        """Return the weights as a step uses them; differentiable in the parameters."""
        first, second, last = linears(self.layers)
        first_norm, second_norm = (PackedNorm.pack(one, dtype) for one in norms(self.layers))
        return PackedNeuron(
            PaddedLinear.pack(first.weight, first.bias, dtype),
            first_norm,
            PaddedLinear.pack(second.weight, second.bias, dtype),
            second_norm,
            last.weight,
            last.bias,
            first.in_features,
        )
