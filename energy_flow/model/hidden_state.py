"""``Hidden``: the GRU states of a pool's flows.

Shape legend: N active flows, L GRU layers, H hidden width, R rows of the stored hidden state.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Hidden:
    """The GRU states of the pool's flows.

    A step writes the states of all flows it moved; who survives and who is born only chooses rows
    of them, so the rows themselves are moved once, when the next step reads them.

    Attributes:
        rows: L tensors [R, H], as the last step wrote them.
        spare: L tensors that the next step may write to, if they are long enough. The two take
            turns, because memory that is fresh from the system is slow to write.
        source: row of each flow that has taken a step or has a parent that has, int64 [M], M ≤ N.
            The N - M flows after those are at their first step with a state of zeros.
    """

    rows: tuple[Tensor, ...]
    source: Tensor
    spare: tuple[Tensor, ...] = ()

    @property
    def stepped(self) -> int:
        """M, the flows that have a stored state."""
        return self.source.shape[0]
