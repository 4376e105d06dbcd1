"""What the phases of a step pass to each other, all on the device.

Shape legend: N flows before the step, B samples, R outcomes, P = 2 exit planes, K kinds of records.
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
class Paths:
    """How far each flow has come, the step included.

    Attributes:
        age: steps taken, int64 [N].
        length: sum of displacement lengths, [N].
    """

    age: Tensor
    length: Tensor


@dataclass(frozen=True, slots=True)
class Endings:
    """Which flows ended.

    Attributes:
        outcome: code of the reason, or ``ACTIVE`` or ``FAILED``, int64 [N].
        plane: nearest exit plane, int64 [N].
        counts: flows of each sample by outcome and plane, int64 [B, R, P].
    """

    outcome: Tensor
    plane: Tensor
    counts: Tensor


@dataclass(frozen=True, slots=True)
class Spawns:
    """Which flows have children.

    Attributes:
        granted: children of each flow, int64 [N].
        granted_before: children of earlier flows, and of all, int64 [N + 1].
        spawned: children in each sample, int64 [B].
        suppressed: children for which a sample had no room, int64 [B].
    """

    granted: Tensor
    granted_before: Tensor
    spawned: Tensor
    suppressed: Tensor


@dataclass(frozen=True, slots=True)
class Decisions:
    """Everything decided about the flows of a step.

    Attributes:
        proposals: of the networks (rule 1 of docs/simulation.md §3).
        motion: displacements (rules 2 to 4).
        walls: positions after the walls (rules 5 to 7).
        paths: ages and path lengths (rule 7).
        endings: outcomes (rules 8 and 9).
        spawns: children (rule 10).
        starts: first row of each sample and the end of the last, int64 [B + 1].
        counts: columns of ``Count``, int64 [B, Count].
        progress: of the samples after the step, but for their record numbers.
    """

    proposals: Proposals
    motion: Motion
    walls: Walls
    paths: Paths
    endings: Endings
    spawns: Spawns
    starts: Tensor
    counts: Tensor
    progress: SampleProgress


@dataclass(frozen=True, slots=True)
class RecordNumbers:
    """Sequence numbers of a step's trace records.

    Attributes:
        first: the first number of each kind, K tensors int64 [B].
        enabled: which kinds are recorded, bool [B, K].
        bounds: which numbers survive the step.
        total: the next number, int64 [B].
        surviving: records of each kind that survive, in all samples, int64 [K].
    """

    first: tuple[Tensor, ...]
    enabled: Tensor
    bounds: RingBounds
    total: Tensor
    surviving: Tensor
