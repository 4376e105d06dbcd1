"""The choice between tensor operations and compiled passes for the networks of a step."""

from __future__ import annotations

import torch

from energy_flow.model.carrier import PackedCarrier
from energy_flow.model.neuron import PackedNeuron
from energy_flow.runtime.numba_support import supports_numba


def proposes_compiled(neuron: PackedNeuron, carrier: PackedCarrier) -> bool:
    """Return whether compiled passes run between the matrix products.

    They know float32 and bfloat16, with heads in float32.
    """
    weight, heads = neuron.first.weight, carrier.heads_in.weight
    known = weight.dtype in (torch.float32, torch.bfloat16) and heads.dtype == torch.float32
    return known and supports_numba(weight.device)
