"""``FlowState``: everything that a step reads and writes, for all samples that share a pool.

Samples enter and leave in cohorts (a run, or a part of one). A cohort's samples are consecutive,
and so are their flows. The host keeps all of this, without transfers from the device.

Shape legend: N active flows, B samples, S surface cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from energy_flow.choices import Ablation, Sensing
from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import NonFiniteError
from energy_flow.model.block_plan import BlockPlan
from energy_flow.model.hidden_state import Hidden
from energy_flow.model.networks import Networks
from energy_flow.runtime.packed_copy import copy_together
from energy_flow.simulation.cohort import Cohort, CohortRequest
from energy_flow.simulation.columns import Flows, SampleOptions, SamplePlacement, SampleProgress
from energy_flow.simulation.lattice import EnergyLattice
from energy_flow.simulation.rules.sensing import make_fields
from energy_flow.simulation.span_allocator import SpanAllocator
from energy_flow.simulation.tally.tally import Tally
from energy_flow.telemetry.counters import Count
from energy_flow.telemetry.ledger import StepReport, events_by_kind
from energy_flow.telemetry.memory import Reading
from energy_flow.trace.ring import TraceRing

GROWTH = 1.5
"""Factor by which arrays grow that are too small."""


@dataclass(frozen=True, slots=True)
class FlowState:
    """A pool of flows. A step consumes a state and returns the next one.

    Attributes:
        networks: of the model.
        plan: block heights of the step.
        flows: columns over active flows, [N], sorted by (sample, flow id).
        hidden: GRU states of the flows, in the same order.
        options: columns over samples, [B].
        progress: columns over samples, [B].
        tally: scores of the flows that ended.
        ring: trace records.
        cohorts: the samples in order, on the host.
        tally_slots: which slots of the tally are in use.
        ring_places: which rows of the ring are in use.
        fields: what flows can sense, [B, S, K]; none where they sense nothing.
        ablation: something that flows do, switched off in this pool; none in a usual run.
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
    fields: Tensor | None = None
    ablation: Ablation | None = None

    @classmethod
    def empty(cls, config: FlowConfig, networks: Networks, plan: BlockPlan) -> FlowState:
        """Return a pool without samples.

        Args:
            config: of the model.
            networks: of the model.
            plan: block heights of the step.
        """
        dtype, device = networks.state_dtype, networks.device
        index = torch.zeros(0, dtype=torch.int64, device=device)
        real = torch.zeros(0, dtype=dtype, device=device)
        return cls(
            networks=networks,
            plan=plan,
            flows=Flows(index, index, index, real.view(0, 3), real, index, real),
            hidden=Hidden((), index),
            options=SampleOptions.place([SamplePlacement(config, 0, (), 0, 0)], device),
            progress=SampleProgress.start(0, 0, 1, device),
            tally=Tally.empty(config.lattice_width, config.surface_cells, dtype, device),
            ring=TraceRing(device),
        )

    @property
    def active_flows(self) -> int:
        """N."""
        return self.flows.flow_id.shape[0]

    @property
    def samples(self) -> int:
        """B."""
        return self.options.seed_low.shape[0]

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
        ]
        if self.fields is not None:
            tensors.append(self.fields)
        return sum(tensor.nbytes for tensor in tensors) + self.tally.bytes

    def with_cohorts(
        self, lattice: EnergyLattice, energy_BS: Tensor, requests: Sequence[CohortRequest]
    ) -> FlowState:
        """Return the pool with new samples, each with one flow a cell of the input plane.

        Args:
            lattice: the model's.
            energy_BS: energies of the initial flows, of one request after the other.
            requests: one for each new cohort.
        """
        count, cells = energy_BS.shape
        device = energy_BS.device
        spans = [
            (
                self.tally_slots.allocate(request.samples),
                self.ring_places.allocate(request.samples * request.config.ring_records),
            )
            for request in requests
        ]
        tally = self.tally
        if self.tally_slots.end > tally.slots:
            tally = tally.resize(_grown(self.tally_slots.end, tally.slots))
        if self.ring_places.end > self.ring.records:
            self.ring.resize(_grown(self.ring_places.end, self.ring.records))
        flows = _initial_flows(lattice, energy_BS, self.samples)
        options = SampleOptions.place(
            [
                SamplePlacement(
                    request.config, request.seed, request.sample_keys, tally_span.start, ring.start
                )
                for request, (tally_span, ring) in zip(requests, spans, strict=True)
            ],
            device,
        )
        fields = self.fields
        if requests[0].config.sensing is not Sensing.NONE:
            new = make_fields(energy_BS, lattice.width)
            fields = new if fields is None else torch.cat((fields, new))
        windows = [request.config.convergence.window for request in requests]
        window = max(*windows, self.progress.history.shape[1])
        progress = SampleProgress.start(count, cells, window, device)
        cohorts = (
            Cohort.from_request(request, cells, tally_span, ring, device)
            for request, (tally_span, ring) in zip(requests, spans, strict=True)
        )
        return replace(
            self,
            flows=Flows.concatenate((self.flows, flows)),
            options=SampleOptions.concatenate((self.options, options)),
            progress=SampleProgress.concatenate((self.progress.with_window(window), progress)),
            tally=tally.clear([tally_span for tally_span, _ in spans]),
            fields=fields,
            cohorts=(*self.cohorts, *cohorts),
        )

    def without_cohorts(self, leaving: Sequence[Cohort]) -> FlowState:
        """Return the pool without these cohorts, and without flows of theirs that are active."""
        gone = set(leaving)
        for cohort in leaving:
            self.tally_slots.release(cohort.tally)
            self.ring_places.release(cohort.ring)
        stays = np.array([cohort not in gone for cohort in self.cohorts], dtype=np.bool_)
        samples = np.array([cohort.samples for cohort in self.cohorts], dtype=np.int64)
        samples_stay = np.repeat(stays, samples)
        device = self.flows.sample.device

        active = np.array([cohort.active_flows for cohort in self.cohorts], dtype=np.int64)
        flows_stay = np.repeat(stays, active)
        some_leave = not flows_stay.all()
        rows = (
            np.flatnonzero(flows_stay) if some_leave else np.zeros(0, dtype=np.int64),
            np.cumsum(samples_stay) - 1,
            np.flatnonzero(samples_stay),
        )
        flow_index, new_row, sample_index = copy_together(
            [torch.from_numpy(one) for one in rows], device
        )
        flows, source = self.flows, self.hidden.source
        if some_leave:
            flows = flows.take(flow_index)
            # Flows at their first step have no stored state; they are the last ones.
            stepped = np.count_nonzero(flows_stay[: self.hidden.stepped])
            source = source.index_select(0, flow_index[:stepped])
        flows = replace(flows, sample=new_row.index_select(0, flows.sample))
        if self.ring_places.end * 2 < self.ring.records:
            self.ring.resize(self.ring_places.end)
        tally = self.tally
        if self.tally_slots.end * 2 < tally.slots:
            tally = tally.resize(self.tally_slots.end)
        return replace(
            self,
            flows=flows,
            hidden=replace(self.hidden, source=source) if stays.any() else Hidden((), source),
            options=self.options.take(sample_index),
            progress=self.progress.take(sample_index),
            fields=None if self.fields is None else self.fields.index_select(0, sample_index),
            tally=tally,
            cohorts=tuple(cohort for cohort in self.cohorts if cohort not in gone),
        )

    def spill_records(self, counts: NDArray[np.int64]) -> None:
        """Write out the rings of lossless cohorts that a step's records would overwrite.

        Args:
            counts: of the step, int64 [B, Count].
        """
        for cohort, rows in self._cohort_rows():
            if cohort.spilled is None or not cohort.active_flows:
                continue
            counted = cohort.counted_records()
            coming = cohort.recorded_kinds(events_by_kind(counts[rows])).sum(1)
            cohort.spilled.make_room(self.ring, cohort.ring.start, counted, coming)

    def record_step(self, report: StepReport, reading: Reading) -> None:
        """Record a step in ledger, memory and profile of every cohort that has active flows.

        Args:
            report: of the step.
            reading: of the memory after the step.

        Raises:
            LedgerError: the counters of a cohort do not balance.
        """
        pool_flows = int(report.counts[:, Count.MOVED].sum())
        state_bytes, trace_bytes = self.bytes, self.ring.bytes
        for cohort, rows in self._cohort_rows():
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
            cohort, rows = next(
                (cohort, rows) for cohort, rows in self._cohort_rows() if sample < rows.stop
            )
            if cohort.failure is None:
                row = cohort.first_sample + sample - rows.start
                cohort.failure = NonFiniteError(row, flow, step)

    def _cohort_rows(self) -> Iterator[tuple[Cohort, slice]]:
        """Yield every cohort with the rows of its samples in columns over samples."""
        first = 0
        for cohort in self.cohorts:
            yield cohort, slice(first, first + cohort.samples)
            first += cohort.samples


def _initial_flows(lattice: EnergyLattice, energy_BS: Tensor, first_row: int) -> Flows:
    """Return one flow for each sample and cell.

    Args:
        lattice: the model's.
        energy_BS: energies.
        first_row: row of the first of these samples in columns over samples.
    """
    count, cells = energy_BS.shape
    cell_S = torch.arange(cells, device=energy_BS.device)
    flow_id = cell_S.repeat(count)
    row_B = first_row + torch.arange(count, device=energy_BS.device)
    return Flows(
        sample=row_B.repeat_interleave(cells),
        flow_id=flow_id,
        parent=torch.full_like(flow_id, -1),
        position=lattice.positions_of(cell_S).to(energy_BS.dtype).repeat(count, 1),
        energy=energy_BS.reshape(-1),
        age=torch.zeros_like(flow_id),
        path_length=torch.zeros_like(energy_BS).reshape(-1),
    )


def _grown(needed: int, held: int) -> int:
    """Return a new size: exact for the first cohort, with reserve later, so that few follow."""
    return max(needed, int(held * GROWTH)) if held else needed
