"""The networks for CPUs: what lies between matrix products, compiled by Numba.

``tensor`` computes the same with tensor operations, for other devices and dtypes; tests compare
the two. Apart from constants, a kernel uses nothing of another file but ``Kernel`` and ``part``:
its machine code on disk is renewed when its own file changes, and only then.

Importing this package imports no Numba; that happens when networks are first asked for.
"""

from __future__ import annotations

import torch

from energy_flow.model.backends.interface import ProposeBlock
from energy_flow.model.carrier import PackedCarrier
from energy_flow.model.neuron import PackedNeuron
from energy_flow.runtime.numba_support import supports_numba


def find_proposal(neuron: PackedNeuron, carrier: PackedCarrier) -> ProposeBlock | None:
    """Return these networks as a function of blocks, or None where they cannot be compiled.

    Supported are float32 and bfloat16, with results of the heads in float32.
    """
    weight, heads = neuron.first.weight, carrier.heads_out.weight
    is_known = weight.dtype in (torch.float32, torch.bfloat16) and heads.dtype == torch.float32
    if not is_known or not supports_numba(weight.device):
        return None
    from energy_flow.model.backends.numba.networks import NumbaNetworks

    return NumbaNetworks(neuron, carrier)
