"""``StepCounts``: what a step counted, packed for the one transfer to the host.

Shape legend: N flows before the step, B samples, K kinds of records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from energy_flow.choices import ACTIVE, FAILED, OUTCOMES, TALLIED
from energy_flow.runtime.ordered_sums import sum_segments
from energy_flow.simulation.columns import counted_before, per_sample
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.rules.walls import Walls
from energy_flow.simulation.step_types import Decisions, Endings, Paths, Spawns
from energy_flow.telemetry.counters import COUNT_COLUMNS, OUTCOME_COLUMNS, Count, Sum
from energy_flow.telemetry.ledger import events_by_kind
from energy_flow.trace.records import KINDS, PLANES


@dataclass(frozen=True, slots=True)
class StepCounts:
    """What a step counted of its samples, on the host.

    Attributes:
        counts: columns of ``Count``, int64 [B, Count].
        sums: columns of ``Sum``, float64 [B, Sum].
        surviving: trace records of the step that stay in the rings, by kind, int64 [K].
    """

    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    surviving: NDArray[np.int64]

    @staticmethod
    def pack(counts: Tensor, sums: Tensor, surviving: Tensor) -> Tensor:
        """Return counts, sums and surviving records as one tensor of words, int64.

        Floats are passed as the integers that have their bits.
        """
        return torch.cat((counts.reshape(-1), sums.view(torch.int64).reshape(-1), surviving))

    @classmethod
    def unpack(cls, words: NDArray[np.int64]) -> Self:
        """Return what :meth:`pack` packed."""
        samples = (len(words) - len(KINDS)) // (COUNT_COLUMNS + len(Sum))
        ends = np.cumsum((samples * COUNT_COLUMNS, samples * len(Sum)))
        counts, sums, surviving = np.split(words, ends)
        return cls(
            counts.reshape(samples, COUNT_COLUMNS),
            sums.view(np.float64).reshape(samples, len(Sum)),
            surviving,
        )

    @property
    def survivors(self) -> int:
        """Flows that were moved and are still active."""
        return int(self._outcomes[:, ACTIVE].sum())

    @property
    def births(self) -> int:
        """Children."""
        return int(self.counts[:, Count.SPAWNED].sum())

    @property
    def scores(self) -> int:
        """Flows that were tallied."""
        return int(self._outcomes[:, : len(TALLIED)].sum())

    @property
    def events(self) -> NDArray[np.int64]:
        """Events by kind, whether recorded or not, int64 [K]."""
        events: NDArray[np.int64] = events_by_kind(self.counts).sum(0)
        return events

    @property
    def active(self) -> NDArray[np.int64]:
        """Flows of each sample after the step, int64 [B]."""
        active: NDArray[np.int64] = self._outcomes[:, ACTIVE].sum(1)
        return active + self.counts[:, Count.SPAWNED]

    @property
    def has_failures(self) -> bool:
        """Whether the networks gave a flow a number that is not finite."""
        return bool(self._outcomes[:, FAILED].any())

    @property
    def _outcomes(self) -> NDArray[np.int64]:
        """Flows by outcome and plane, int64 [B, OUTCOMES, PLANES]."""
        columns = self.counts[:, :OUTCOME_COLUMNS]
        return columns.reshape(-1, OUTCOMES, len(PLANES))


def count_events(
    state: FlowState, walls: Walls, paths: Paths, endings: Endings, spawns: Spawns, starts: Tensor
) -> Tensor:
    """Return what happened to the flows of each sample, int64 [B, Count].

    Args:
        state: before the step.
        walls: after rule 7 of docs/simulation.md §3.
        paths: likewise.
        endings: after rule 9.
        spawns: after rule 10.
        starts: first row of each sample and the end of the last, int64 [B + 1].
    """
    reflected_B = per_sample(counted_before(walls.wall_bits > 0), starts)
    ended_age = counted_before(torch.where(endings.outcome == ACTIVE, 0, paths.age))
    columns = (
        reflected_B,
        spawns.spawned,
        spawns.suppressed,
        per_sample(ended_age, starts),
        state.progress.active,
    )
    return torch.cat((endings.counts.flatten(1), torch.stack(columns, dim=1)), dim=1)


def sum_floats(state: FlowState, decided: Decisions) -> Tensor:
    """Return sums over each sample's flows, float64 [B, Sum], in a fixed order."""
    length_N = decided.motion.length.detach().to(torch.float64)
    dz_N = decided.motion.displacement.detach()[:, 2].to(torch.float64)
    path_N = torch.where(decided.endings.outcome == ACTIVE, 0.0, decided.paths.length)
    columns = torch.stack((length_N, dz_N, dz_N * dz_N, path_N.to(torch.float64)), dim=1)
    longest = max(min(one.active_flows, one.config.active_limit) for one in state.cohorts)
    return sum_segments(columns, state.progress.active, state.flows.sample, longest)
