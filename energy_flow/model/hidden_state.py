"""``Hidden``: the GRU states of a pool's flows.

Shape legend: N active flows, M of them with a stored state, R stored rows, H hidden width, L GRU
layers.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Hidden:
    """The GRU states of the pool's flows.

    A step writes the states of all flows that it moved. Which flows survive and which are born only
    selects rows of them, so the rows themselves are moved once, when the next step reads them.

    Attributes:
        rows: L tensors [R, H], as the last step wrote them.
        source: row of each flow that has taken a step or has a parent that has, int64 [M], M ≤ N.
            The N - M flows after those are at their first step with a state of zeros.
        spare: L tensors that the next step may write to, if they are long enough. ``rows`` and
            ``spare`` alternate, because memory that is fresh from the system is slow to write.
    """

    rows: tuple[Tensor, ...]
    source: Tensor
    spare: tuple[Tensor, ...] = ()

    @property
    def stepped(self) -> int:
        """M, the number of flows that have a stored state."""
        return self.source.shape[0]
