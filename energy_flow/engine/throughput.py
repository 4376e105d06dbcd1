"""``Throughput``: how much work the pools have done, and how fast."""

from __future__ import annotations

from dataclasses import dataclass

from energy_flow.engine.schedule import Run

SMOOTHING = 0.2
"""Weight of the newest measurement in a running mean."""


@dataclass(slots=True)
class Throughput:
    """What has been done so far, and how fast, from which waiting times are estimated.

    Attributes:
        flow_steps: number of flow-steps done.
        rate: running mean of flow-steps a second; none before the first step.
        bound_ratio: running mean over ended runs of flow-steps done by their upper bound.
        splits: how many times the device ran out of memory and the work was split.
    """

    flow_steps: int = 0
    rate: float | None = None
    bound_ratio: float = 1.0
    splits: int = 0

    def record_step(self, flow_steps: int, seconds: float) -> None:
        """Add a step of a pool.

        Args:
            flow_steps: number of flows that moved.
            seconds: how long the step took.
        """
        rate = flow_steps / max(seconds, 1e-9)
        self.flow_steps += flow_steps
        self.rate = rate if self.rate is None else self.rate + SMOOTHING * (rate - self.rate)

    def record_run(self, run: Run) -> None:
        """Add a run of which all samples have ended."""
        self.bound_ratio += SMOOTHING * (run.flow_steps / run.bound - self.bound_ratio)
