"""The one place that chooses how the networks of a step are computed.

Each package here computes the same. ``tensor`` is the definition and runs everywhere; the others
are faster on some devices, and tests compare them with it.
"""

from __future__ import annotations

from typing import Final

from energy_flow.model.backends import numba, tensor
from energy_flow.model.backends.interface import Backend, ProposeBlock
from energy_flow.model.carrier import PackedCarrier
from energy_flow.model.neuron import PackedNeuron

BACKENDS: Final[tuple[Backend, ...]] = (numba, tensor)
"""In the order of preference."""


def select_proposal(neuron: PackedNeuron, carrier: PackedCarrier) -> ProposeBlock:
    """Return these networks as a function of blocks, by the first backend that supports them."""
    found = (backend.find_proposal(neuron, carrier) for backend in BACKENDS)
    return next(proposal for proposal in found if proposal is not None)
