"""What a backend of the networks offers, and what passes between it and its caller.

Shape legend: N rows of a block, F numbers that the neuron reads of each, R stored rows, L GRU
layers, H hidden width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from energy_flow.model.carrier import PackedCarrier
from energy_flow.model.neuron import PackedNeuron


@dataclass(frozen=True, slots=True)
class HiddenBlock:
    """Where the hidden states of a block are.

    Attributes:
        rows: L tensors [R, H].
        source: row of each flow, int64 [N].
    """

    rows: tuple[Tensor, ...]
    source: Tensor


@dataclass(frozen=True, slots=True)
class BlockProposal:
    """What the networks propose for a block of flows.

    Attributes:
        hidden: the new hidden states, L tensors [N, H].
        energy: e' in (-1, 1), [N].
        displacement: r, unbounded, [N, 3].
    """

    hidden: tuple[Tensor, ...]
    energy: Tensor
    displacement: Tensor


@dataclass(slots=True)
class Tape:
    """What the forward pass of a block keeps for its backward pass.

    Attributes:
        tensors: of each GRU layer the gates, the recurrent part of the candidate (not for a zero
            state) and the candidate; then the first layer of the heads before its activation.
    """

    tensors: list[Tensor] = field(default_factory=list)


class ProposeBlock(Protocol):
    """The networks of one model, called with a block of flows; without gradients."""

    def __call__(
        self,
        features_NF: Tensor,
        hidden: HiddenBlock | None,
        out: tuple[Tensor, ...] = (),
        tape: Tape | None = None,
    ) -> BlockProposal:
        """Propose for a block: rule 1 of docs/simulation.md §3.

        Args:
            features_NF: x, y, z, e, and what the flows sense.
            hidden: stored states; None stands for zeros.
            out: L tensors [N, H] that the new hidden states are written to.
            tape: receives what the backward pass needs.
        """
        ...


class Backend(Protocol):
    """One way to compute the networks, for the devices and dtypes that it supports."""

    def find_proposal(self, neuron: PackedNeuron, carrier: PackedCarrier) -> ProposeBlock | None:
        """Return these networks as a function of blocks, or None where this backend cannot."""
        ...
