"""The networks in tensor operations: the definition, for every device and dtype."""

from __future__ import annotations

from energy_flow.model.backends.interface import ProposeBlock
from energy_flow.model.backends.tensor.networks import TensorNetworks
from energy_flow.model.carrier import PackedCarrier
from energy_flow.model.neuron import PackedNeuron


def find_proposal(neuron: PackedNeuron, carrier: PackedCarrier) -> ProposeBlock:
    """Return these networks as a function of blocks."""
    return TensorNetworks(neuron, carrier)
