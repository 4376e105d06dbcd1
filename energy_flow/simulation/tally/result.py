"""``SimulationResult``: everything that a run returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from energy_flow.telemetry.counters import Counters, EventCounts, RunMetrics, SampleMetrics
from energy_flow.telemetry.ledger import StepMetrics
from energy_flow.telemetry.memory import MemoryReport
from energy_flow.telemetry.profile import StepProfile
from energy_flow.trace import Trace


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """Outputs, trace, metrics and costs of a run, or of a part of one.

    Attributes:
        outputs: the requested ones by their names in ``choices.Output``, [B, ...]; NumPy arrays,
            or tensors where the run carries gradients.
        trace: the records that were kept.
        metrics: of the run.
        samples: metrics of each sample.
        steps: metrics of each step.
        memory: bytes that were used.
        profile: times of each step.
        warnings: about settings that had no effect, and about losses.
        seed: of the noise.
        sample_keys: of the noise, one for each sample.
        compute_ms: time spent in steps and in reading the results.
    """

    outputs: Mapping[str, Any]
    trace: Trace
    metrics: RunMetrics
    samples: tuple[SampleMetrics, ...]
    steps: tuple[StepMetrics, ...]
    memory: MemoryReport
    profile: StepProfile
    warnings: tuple[str, ...]
    seed: int
    sample_keys: tuple[int, ...]
    compute_ms: float

    @property
    def flow_steps_per_second(self) -> float | None:
        """Return flow-steps per second of compute time, or nothing without compute time."""
        flow_steps = self.metrics.counters.flow_steps
        return 1e3 * flow_steps / self.compute_ms if self.compute_ms > 0 else None

    def summary(self) -> str:
        """Return a few lines for people."""
        counters = self.metrics.counters
        events = self.trace.totals
        rate = self.flow_steps_per_second
        lines = [
            f"{len(self.samples)} samples, {counters.steps} steps, {counters.flow_steps:,} "
            f"flow-steps in {self.compute_ms:.0f} ms"
            + (f" ({rate:,.0f} a second)" if rate else ""),
            f"flows: {counters.initial:,} initial + {counters.spawned:,} spawned = "
            f"{counters.completed:,} completed + {counters.stalled:,} stalled",
            "exits: "
            + "; ".join(
                f"{plane} "
                + ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
                for plane, reasons in counters.exits.items()
            ),
            f"events: {', '.join(f'{count:,} {kind}' for kind, count in events.items())}; "
            f"{len(self.trace):,} records kept, "
            f"{sum(self.trace.dropped.values()):,} dropped",
            f"memory: {self.memory.state_bytes / 2**20:.1f} MiB state, "
            f"{self.memory.trace_bytes / 2**20:.1f} MiB trace, "
            f"{self.memory.peak_rss_bytes / 2**20:.0f} MiB resident at most",
        ]
        lines += [f"warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the results of consecutive parts of a run as one.

        Counters are added. The steps and costs of parts that ran one after the other cannot be
        added: those of the longest part are returned, with the largest figures of memory.
        """
        if len(parts) == 1:
            return parts[0]
        longest = max(parts, key=lambda part: len(part.steps))
        largest = max(parts, key=lambda part: part.memory.state_bytes)
        outputs = {
            name: np.concatenate([part.outputs[name] for part in parts])
            for name in parts[0].outputs
        }
        step_ms = [time for part in parts for time in part.profile.step_ms]
        samples = tuple(sample for part in parts for sample in part.samples)
        return cls(
            outputs=outputs,
            trace=Trace.concatenate([part.trace for part in parts]),
            metrics=RunMetrics(
                Counters.of(EventCounts.total([sample.events for sample in samples])),
                sum(step_ms) / len(step_ms) if step_ms else None,
                max(step_ms, default=None),
            ),
            samples=samples,
            steps=longest.steps,
            memory=largest.memory,
            profile=longest.profile,
            warnings=tuple(dict.fromkeys(text for part in parts for text in part.warnings)),
            seed=parts[0].seed,
            sample_keys=tuple(key for part in parts for key in part.sample_keys),
            compute_ms=sum(part.compute_ms for part in parts),
        )
