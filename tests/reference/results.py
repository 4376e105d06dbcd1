"""What the reference hands back for one sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .decisions import Reason
from .ring import Record


class NotFiniteError(ArithmeticError):
    """A displacement or energy is not finite, or an energy beyond 10¹⁵ in magnitude.

    Names sample, flow and step.
    """

    def __init__(self, quantity: str, sample: int, flow: int, step: int) -> None:
        super().__init__(
            f"{quantity} is not finite or too large: sample {sample}, flow {flow}, "
            + ("before the first step" if step < 0 else f"step {step}")
        )
        self.sample = sample
        self.flow = flow
        self.step = step


@dataclass(frozen=True)
class StepMetrics:
    """One step of one sample (docs/simulation.md §7).

    `moved` flows entered the step; `active` are left after it, newborn children included, so that
    created = active + completed + stalled holds with the counts up to here. `mean_length` and
    `variance_dz` (population) are over the flows moved, with noise. `spawned`, `reflected` and
    `terminated` (by reason name, every reason present) count this step's events.
    """

    step: int
    moved: int
    active: int
    spawned: int
    spawns_suppressed: int
    reflected: int
    terminated: dict[str, int]
    mean_length: float
    variance_dz: float


@dataclass
class Counters:
    """Totals of a sample (docs/simulation.md §7).

    created = initial + spawned; completed = plane + projected + converged + max_steps, all of
    them tallied; stalled flows ended untallied. `by_reason` has the five reason names, `by_plane`
    the tallied flows of `z0` and `zdepth`, `by_plane_and_reason` both as `z0.plane`. `steps` is
    the number of steps that moved a flow and `flow_steps` the flows moved, summed over steps.
    `mean_path_steps` (age at the end) and `mean_path_length` are over all flows that ended,
    stalled ones included; at the end of a run that is every flow.
    """

    initial: int
    created: int
    spawned: int
    completed: int
    stalled: int
    by_reason: dict[str, int]
    by_plane: dict[str, int]
    by_plane_and_reason: dict[str, int]
    reflected: int
    spawns_suppressed: int
    steps: int
    flow_steps: int
    mean_path_steps: float
    mean_path_length: float

    @classmethod
    def at_start(cls, initial: int) -> Counters:
        """Before the first step, with `initial` flows created."""
        tallied = [reason.name.lower() for reason in Reason if reason != Reason.STALLED]
        return cls(
            initial=initial,
            created=initial,
            spawned=0,
            completed=0,
            stalled=0,
            by_reason={reason.name.lower(): 0 for reason in Reason},
            by_plane={"z0": 0, "zdepth": 0},
            by_plane_and_reason={f"{p}.{r}": 0 for p in ("z0", "zdepth") for r in tallied},
            reflected=0,
            spawns_suppressed=0,
            steps=0,
            flow_steps=0,
            mean_path_steps=0.0,
            mean_path_length=0.0,
        )


@dataclass(frozen=True)
class ReferenceSample:
    """One sample's result.

    `surface` [H, W] float32, `planes` [2, H, W] float32, `hits` [2, H, W] int64, `reached`
    [2, H, W] bool, `embedding` [E_out] float32. `records` are those that the ring still holds,
    sorted by `seq`; `totals`, `recorded` and `dropped` are per kind name. `margin` is the smallest
    distance between a number that carries rounding and the threshold of a decision that it took
    part in (inf if there was none), and `closest_decision` is its name; see `margin.py`.
    """

    surface: npt.NDArray[np.float32]
    planes: npt.NDArray[np.float32]
    hits: npt.NDArray[np.int64]
    reached: npt.NDArray[np.bool_]
    embedding: npt.NDArray[np.float32]
    records: list[Record]
    totals: dict[str, int]
    recorded: dict[str, int]
    dropped: dict[str, int]
    counters: Counters
    metrics: list[StepMetrics]
    margin: float
    closest_decision: str
