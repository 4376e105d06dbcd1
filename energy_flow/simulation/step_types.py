"""What the phases of a step pass on to one another.

Shape legend: N flows before the step, B samples.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from energy_flow.model.networks import Proposals
from energy_flow.simulation.columns import SampleProgress
from energy_flow.simulation.rules.motion import Motion
from energy_flow.simulation.rules.walls import Walls
from energy_flow.trace.ring import RingBounds


@dataclass(frozen=True, slots=True)
class Decisions:
    """Everything decided about the flows of a step, on the device."""

    proposals: Proposals
    motion: Motion
    walls: Walls
    starts: Tensor
    age: Tensor
    path_length: Tensor
    plane: Tensor
    outcome: Tensor
    granted: Tensor
    granted_before: Tensor
    counts: Tensor
    progress: SampleProgress


@dataclass(frozen=True, slots=True)
class RecordNumbers:
    """Sequence numbers of a step's records, int64 [B] each.

    Attributes:
        first: of each kind. enabled: bool [B, kinds]. bounds: which survive. total: the next one.
        surviving: records of each kind in all samples, int64 [kinds].
    """

    first: tuple[Tensor, ...]
    enabled: Tensor
    bounds: RingBounds
    total: Tensor
    surviving: Tensor
