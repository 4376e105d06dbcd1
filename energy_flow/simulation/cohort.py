"""Cohorts: samples that enter a pool together, and what the host keeps of them.

Shape legend: B samples of one cohort, E embedding width, K kinds of records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from energy_flow.choices import TraceKeep
from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import NonFiniteError
from energy_flow.simulation.footprint import footprint
from energy_flow.simulation.span_allocator import Span
from energy_flow.telemetry.ledger import Ledger
from energy_flow.telemetry.memory import MemoryReport
from energy_flow.telemetry.profile import StepProfile
from energy_flow.trace.records import KINDS
from energy_flow.trace.spill import SpilledRecords


@dataclass(frozen=True, slots=True)
class CohortRequest:
    """Samples that are to enter a pool as one cohort.

    Attributes:
        embeddings: float32 [B, E], checked.
        config: of the run; model and precision are the pool's.
        seed: of the noise.
        sample_keys: of the noise, B numbers.
        first_sample: row of the first sample in the caller's request.
    """

    embeddings: NDArray[np.float32]
    config: FlowConfig
    seed: int
    sample_keys: Sequence[int]
    first_sample: int = 0

    @property
    def samples(self) -> int:
        """B."""
        return len(self.sample_keys)


@dataclass(eq=False, slots=True)
class Cohort:
    """Samples that entered a pool together, with one config and seed; kept on the host.

    Attributes:
        config: of the run.
        seed: of the noise.
        sample_keys: of the noise, B numbers.
        first_sample: row of the first sample in the caller's request.
        tally: its tally slots.
        ring: its rows of the array of trace records.
        ledger: its counts.
        memory: the memory that it used.
        spilled: what its rings have written out; None unless they are lossless.
        profile: the time that it took.
        failure: set when the networks gave one of its flows a number that is not finite.
    """

    config: FlowConfig
    seed: int
    sample_keys: tuple[int, ...]
    first_sample: int
    tally: Span
    ring: Span
    ledger: Ledger
    memory: MemoryReport
    spilled: SpilledRecords | None = None
    profile: StepProfile = field(default_factory=StepProfile)
    failure: NonFiniteError | None = None

    @classmethod
    def from_request(
        cls, request: CohortRequest, cells: int, tally: Span, ring: Span, device: torch.device
    ) -> Self:
        """Return the cohort of a request, before its first step.

        Args:
            request: its samples.
            cells: initial flows of each sample.
            tally: its tally slots.
            ring: its rows of the array of trace records.
            device: where the pool is.
        """
        config, count = request.config, request.samples
        is_lossless = config.trace.keep is TraceKeep.LOSSLESS and config.ring_records > 0
        return cls(
            config,
            request.seed,
            tuple(request.sample_keys),
            request.first_sample,
            tally,
            ring,
            Ledger(count, cells),
            MemoryReport(footprint(config, count, device=device).total),
            SpilledRecords(count, config.ring_records) if is_lossless else None,
        )

    @property
    def samples(self) -> int:
        """B."""
        return len(self.sample_keys)

    @property
    def active_flows(self) -> int:
        """Flows that are in the pool now."""
        return self.ledger.active_flows

    def counted_records(self) -> NDArray[np.int64]:
        """Return the records that each sample has counted, dropped ones too, int64 [B]."""
        counted: NDArray[np.int64] = self.recorded_kinds(self.ledger.trace_totals()).sum(1)
        return counted

    def recorded_kinds(self, events: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return events [B, K] with 0 for the kinds that take no ``seq``."""
        on = [kind in self.config.trace.kinds for kind in KINDS]
        return np.where(on, events, 0) if self.config.trace.capacity else np.zeros_like(events)
