"""``Births``: the children of a step, numbered.

Shape legend: N flows before the step, C children.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from energy_flow.simulation.columns import segment_starts
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.step_types import Decisions


@dataclass(frozen=True, slots=True)
class Births:
    """Children in the order (sample, parent id, ordinal).

    Attributes:
        parent: row of the parent before the step, int64 [C].
        sample: of both, int64 [C].
        rank: number among the sample's children of the step, from 0, int64 [C].
        ordinal: number among its siblings of the step, from 0, int64 [C].
        flow_id: its own, int64 [C].
    """

    parent: Tensor
    sample: Tensor
    rank: Tensor
    ordinal: Tensor
    flow_id: Tensor

    @classmethod
    def number(cls, state: FlowState, decided: Decisions, births: int) -> Births:
        """Return the children that were granted.

        Args:
            state: before the step.
            decided: about its flows.
            births: C.
        """
        row_N = torch.arange(state.active_flows, device=decided.spawns.granted.device)
        parent = torch.repeat_interleave(row_N, decided.spawns.granted, output_size=births)
        sample = state.flows.sample.index_select(0, parent)
        child = torch.arange(births, device=parent.device)
        rank = child - segment_starts(decided.spawns.spawned).index_select(0, sample)
        return cls(
            parent=parent,
            sample=sample,
            rank=rank,
            ordinal=child - decided.spawns.granted_before.index_select(0, parent),
            flow_id=state.progress.created.index_select(0, sample) + rank,
        )
