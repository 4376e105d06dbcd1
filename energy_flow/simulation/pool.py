"""``FlowState``: everything a step reads and writes, for all samples that share a pool.

Samples enter in cohorts (a run, or a part of one) and leave in cohorts; a cohort's samples are
consecutive, and so are their flows. All of this is known on the host without asking the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from energy_flow.config.flow_config import FlowConfig, Keep
from energy_flow.errors import NonFiniteError
from energy_flow.model.block_plan import BlockPlan
from energy_flow.model.hidden_state import Hidden
from energy_flow.model.networks import Networks
from energy_flow.simulation.columns import Flows, Placed, SampleOptions, SampleProgress
from energy_flow.simulation.footprint import footprint
from energy_flow.simulation.lattice import EnergyLattice
from energy_flow.simulation.span_allocator import Span, SpanAllocator
from energy_flow.simulation.tally.tally import Tally
from energy_flow.telemetry.counters import Count, Ledger, StepReport, events_by_kind
from energy_flow.telemetry.memory import MemoryReport, Reading
from energy_flow.telemetry.profile import StepProfile
from energy_flow.trace.records import KINDS
from energy_flow.trace.ring import TraceRing
from energy_flow.trace.spill import SpilledRecords

GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class Entrant:
    """Samples that are to enter a pool as one cohort.

    Attributes:
        embeddings: float32 [B, E], checked. config: of the run; model and precision are the pool's.
        seed, sample_keys: of the noise. first_sample: row of the first in its request.
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
    """Samples that entered together, with one config and seed; kept on the host.

    Attributes:
        first_sample: row of its first sample in the caller's request.
        tally: its tally slots. ring: its stretch of the record array.
        ledger: what has been counted of it. memory, profile: what it has cost.
        spilled: what its rings have written out; none unless it is lossless.
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
    def of(cls, entrant: Entrant, cells: int, tally: Span, ring: Span) -> Self:
        """Samples that have just entered.

        Args:
            cells: initial flows of each.
        """
        config, count = entrant.config, entrant.samples
        return cls(
            config,
            entrant.seed,
            tuple(entrant.sample_keys),
            entrant.first_sample,
            tally,
            ring,
            Ledger(count, cells),
            MemoryReport(footprint(config, count).total),
            SpilledRecords(count, config.ring_records)
            if config.trace.keep is Keep.LOSSLESS and config.ring_records
            else None,
        )

    @property
    def samples(self) -> int:
        """How many samples it has."""
        return len(self.sample_keys)

    @property
    def active_flows(self) -> int:
        """Flows that are in the pool now."""
        return self.ledger.active_flows

    def counted_records(self) -> NDArray[np.int64]:
        """Records that each sample has counted so far, [B]; dropped ones too."""
        counted: NDArray[np.int64] = self.recorded_kinds(self.ledger.trace_totals()).sum(1)
        return counted

    def recorded_kinds(self, events: NDArray[np.int64]) -> NDArray[np.int64]:
        """Events [B, kinds] with those of kinds that take no ``seq`` set to 0."""
        on = [kind in self.config.trace.kinds for kind in KINDS]
        return np.where(on, events, 0) if self.config.trace.capacity else np.zeros_like(events)


@dataclass(frozen=True, slots=True)
class FlowState:
    """A pool of flows. A step consumes a state and returns the next one.

    Attributes:
        flows, hidden: columns over active flows, sorted by (sample, flow id).
        options, progress: columns over samples.
        tally, ring: what ended flows have left behind.
        cohorts: the samples in order, on the host.
        networks, plan: what proposes for these flows, in blocks of these heights.
    """

    networks: Networks
    plan: BlockPlan
    flows: Flows
    hidden: Hidden
    options: SampleOptions
    progress: SampleProgress
    tally: Tally
    ring: TraceRing
    cohorts: tuple[Cohort, ...] = ()
    tally_slots: SpanAllocator = field(default_factory=SpanAllocator)
    ring_places: SpanAllocator = field(default_factory=SpanAllocator)

    @classmethod
    def empty(cls, config: FlowConfig, networks: Networks, plan: BlockPlan) -> FlowState:
        """A pool without samples for flows of a model with this config."""
        dtype, device = networks.state_dtype, networks.device
        index = torch.zeros(0, dtype=torch.int64, device=device)
        real = torch.zeros(0, dtype=dtype, device=device)
        return cls(
            networks=networks,
            plan=plan,
            flows=Flows(index, index, index, real.view(0, 3), real, index, real),
            hidden=Hidden((), index),
            options=SampleOptions.of([Placed(config, 0, (), 0, 0)], device),
            progress=SampleProgress.of(0, 0, 1, device),
            tally=Tally.empty(config.surface_cells, dtype, device),
            ring=TraceRing(device),
        )

    @property
    def active_flows(self) -> int:
        """N."""
        return self.flows.flow_id.shape[0]

    @property
    def bytes(self) -> int:
        """Bytes of flow columns, hidden state, sample columns and tally; the ring not included."""
        tensors = [
            *self.flows.tensors(),
            *self.options.tensors(),
            *self.progress.tensors(),
            *self.hidden.rows,
            *self.hidden.spare,
            self.hidden.source,
            *(self.tally.peak, self.tally.weight, self.tally.energy, self.tally.hits),
        ]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def entered(
        self, lattice: EnergyLattice, energy_BS: Tensor, entrants: Sequence[Entrant]
    ) -> FlowState:
        """The pool with new samples, each with one flow a cell of the input plane.

        Args:
            energy_BS: energies of the initial flows, of one entrant after the other.
        """
        count, cells = energy_BS.shape
        device = energy_BS.device
        before = self.options.seed_low.shape[0]
        places = [
            (
                self.tally_slots.allocate(entrant.samples),
                self.ring_places.allocate(entrant.samples * entrant.config.ring_records),
            )
            for entrant in entrants
        ]
        sums = self.tally
        if self.tally_slots.end > sums.slots:
            sums = sums.resized(_room(self.tally_slots.end, sums.slots))
        if self.ring_places.end > self.ring.records:
            self.ring.resize(_room(self.ring_places.end, self.ring.records))
        cell = torch.arange(cells, device=device)
        flow_id = cell.repeat(count)
        new = Flows(
            sample=before + torch.arange(count, device=device).repeat_interleave(cells),
            flow_id=flow_id,
            parent=torch.full_like(flow_id, -1),
            position=lattice.positions_of(cell).to(energy_BS.dtype).repeat(count, 1),
            energy=energy_BS.reshape(-1),
            age=torch.zeros_like(flow_id),
            path_length=torch.zeros_like(energy_BS).reshape(-1),
        )
        placed = [
            Placed(entrant.config, entrant.seed, entrant.sample_keys, tally.start, ring.start)
            for entrant, (tally, ring) in zip(entrants, places, strict=True)
        ]
        windows = [entrant.config.convergence.window for entrant in entrants]
        window = max(*windows, self.progress.history.shape[1])
        progress = SampleProgress.of(count, cells, window, device)
        return replace(
            self,
            flows=Flows.concatenated((self.flows, new)),
            options=SampleOptions.concatenated((self.options, SampleOptions.of(placed, device))),
            progress=SampleProgress.concatenated((self.progress.widened(window), progress)),
            tally=sums.cleared([tally for tally, _ in places]),
            cohorts=(
                *self.cohorts,
                *(
                    Cohort.of(entrant, cells, tally, ring)
                    for entrant, (tally, ring) in zip(entrants, places, strict=True)
                ),
            ),
        )

    def make_room(self, counts: NDArray[np.int64]) -> None:
        """Writes out the rings of lossless cohorts that the records of a step would run over.

        Args:
            counts: of the step, int64 [B, Count].
        """
        first = 0
        for cohort in self.cohorts:
            rows = slice(first, first + cohort.samples)
            first += cohort.samples
            if cohort.spilled is None or not cohort.active_flows:
                continue
            counted = cohort.counted_records()
            coming = cohort.recorded_kinds(events_by_kind(counts[rows])).sum(1)
            cohort.spilled.make_room(self.ring, cohort.ring.start, counted, coming)

    def account(self, report: StepReport, reading: Reading) -> None:
        """Enters a step in the books of every cohort that has flows in it.

        Raises:
            LedgerError: when the counters of one do not balance.
        """
        pool_flows = int(report.counts[:, Count.MOVED].sum())
        state_bytes, trace_bytes, first = self.bytes, self.ring.bytes, 0
        for cohort in self.cohorts:
            rows = slice(first, first + cohort.samples)
            first += cohort.samples
            if not cohort.active_flows:
                continue
            moved = cohort.active_flows
            cohort.ledger.add(
                report.counts[rows], report.sums[rows], report.active[rows], report.step_ms
            )
            cohort.profile.add(
                moved, pool_flows, report.network_ms, report.rules_ms, report.emit_ms
            )
            spilled_bytes = 0 if cohort.spilled is None else cohort.spilled.nbytes
            cohort.memory.add(
                reading, state_bytes, trace_bytes + spilled_bytes, cohort.active_flows
            )
        for sample, flow, step in report.failures:
            cohort, row = self._whose(sample)
            if cohort.failure is None:
                cohort.failure = NonFiniteError(cohort.first_sample + row, flow, step)

    def _whose(self, sample: int) -> tuple[Cohort, int]:
        for cohort in self.cohorts:
            if sample < cohort.samples:
                return cohort, sample
            sample -= cohort.samples
        raise AssertionError("a sample of no cohort")

    def left(self, leaving: Sequence[Cohort]) -> FlowState:
        """The pool without these cohorts, whatever flows of theirs were still active."""
        gone = set(leaving)
        for cohort in leaving:
            self.tally_slots.release(cohort.tally)
            self.ring_places.release(cohort.ring)
        stays = np.array([cohort not in gone for cohort in self.cohorts], dtype=np.bool_)
        samples = np.array([cohort.samples for cohort in self.cohorts], dtype=np.int64)
        samples_stay = np.repeat(stays, samples)
        device = self.flows.sample.device

        def at(mask: NDArray[np.bool_]) -> Tensor:
            return torch.from_numpy(np.flatnonzero(mask)).to(device)

        remaining = self.flows
        source = self.hidden.source
        if any(cohort.active_flows for cohort in leaving):
            flows = np.array([cohort.active_flows for cohort in self.cohorts], dtype=np.int64)
            flows_stay = np.repeat(stays, flows)
            flow_index = at(flows_stay)
            remaining = remaining.take(flow_index)
            # Flows at their first step have no stored state; they are the last ones.
            stepped = np.count_nonzero(flows_stay[: self.hidden.stepped])
            source = source.index_select(0, flow_index[:stepped])
        renumber = torch.from_numpy(np.cumsum(samples_stay) - 1).to(device)
        remaining = replace(remaining, sample=renumber.index_select(0, remaining.sample))
        sample_index = at(samples_stay)
        if self.ring_places.end * 2 < self.ring.records:
            self.ring.resize(self.ring_places.end)
        tally = self.tally
        if self.tally_slots.end * 2 < tally.slots:
            tally = tally.resized(self.tally_slots.end)
        return replace(
            self,
            flows=remaining,
            hidden=replace(self.hidden, source=source) if stays.any() else Hidden((), source),
            options=self.options.take(sample_index),
            progress=self.progress.take(sample_index),
            tally=tally,
            cohorts=tuple(cohort for cohort in self.cohorts if cohort not in gone),
        )


def _room(needed: int, held: int) -> int:
    """Exactly what the first cohort needs; later growth in strides, so that it is seldom."""
    return max(needed, int(held * GROWTH)) if held else needed
