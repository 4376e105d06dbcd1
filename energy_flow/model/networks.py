"""All networks of a model, packed, called in blocks of fixed heights.

Shape legend: N flows, M of them with a stored hidden state, B samples, E embedding width, S surface
cells, L GRU layers, H hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from energy_flow.model.backends.choice import proposes_compiled
from energy_flow.model.block_plan import PROBE_ROWS, BlockPlan, candidate_heights, try_heights
from energy_flow.model.carrier import EnergyCarrier, HiddenBlock, PackedCarrier, Proposal, Tape
from energy_flow.model.embedding_mapper import InputMapper, OutputMapper, RowMap
from energy_flow.model.hidden_state import Hidden
from energy_flow.model.linear import linears
from energy_flow.model.neuron import PackedNeuron, SimpleNeuron
from energy_flow.runtime.device import product_dtype

ProposeBlock = Callable[
    [Tensor, Tensor, HiddenBlock | None, tuple[Tensor, ...], Tape | None], Proposal
]
"""From positions [N, 3], energies [N], stored states, room for new ones and a tape."""

STEP_ROWS = {"cpu": 2048, "cuda": 16384}
MAPPER_ROWS = 64


@dataclass(frozen=True, slots=True)
class Proposals:
    """What the networks propose for all flows.

    Attributes:
        rows: L tensors with at least N rows, new hidden states.
        energy: e', [N]. raw: r, [N, 3].
    """

    rows: tuple[Tensor, ...]
    energy: Tensor
    raw: Tensor


@dataclass(frozen=True, slots=True)
class FlowBlock:
    """Flows that the networks are called with at once.

    Attributes:
        start, end: the flows. height: rows of the call; those beyond ``end`` repeat the last.
        fresh: whether the flows take their first step, from hidden states of zeros.
    """

    start: int
    end: int
    height: int
    fresh: bool

    @property
    def rows(self) -> int:
        """Flows in the block."""
        return self.end - self.start


class Networks:
    """The packed networks of one model in one precision.

    Where they are packed with gradients enabled, ``energies``, ``embeddings`` and
    ``proposal_gradient.propose`` carry gradients; the arithmetic is the same.

    Attributes:
        neuron, carrier: as a step uses them.
        weights: their tensors in the precision of the model, which gradients are taken of.
        keeps_tapes: whether a step keeps what its backward pass needs, or computes it again.
        shape: of every weight, in order.
        dtype: of the step's arithmetic and of hidden states. state_dtype: of everything else.
            What is rounded to ``dtype`` is multiplied in the ``product_dtype`` of the device.
    """

    def __init__(
        self,
        input_mapper: InputMapper,
        neuron: SimpleNeuron,
        carrier: EnergyCarrier,
        output_mapper: OutputMapper,
        dtype: torch.dtype,
        keeps_tapes: bool = True,
    ) -> None:
        self.dtype = dtype
        self.state_dtype = input_mapper.energy_scale.dtype
        self.device = input_mapper.energy_scale.device
        self.keeps_tapes = keeps_tapes
        self.neuron: PackedNeuron = neuron.packed(dtype)
        self.carrier: PackedCarrier = carrier.packed(self.neuron, dtype)
        products = product_dtype(dtype, self.device)
        if products != dtype:
            self.neuron = self.neuron.multiplied_in(products)
            self.carrier = self.carrier.multiplied_in(products)
        exact, exact_carrier = self.neuron, self.carrier
        if dtype != self.state_dtype and torch.is_grad_enabled():
            exact = neuron.packed(self.state_dtype)
            exact_carrier = carrier.packed(exact, self.state_dtype)
        self.weights = (*exact.tensors(), *exact_carrier.tensors())
        self._proposal: ProposeBlock = _as_written(self.neuron, self.carrier)
        if proposes_compiled(self.neuron, self.carrier):
            from energy_flow.model.backends.numba.networks import CompiledNetworks

            self._proposal = CompiledNetworks(self.neuron, self.carrier)
        self._input_map: RowMap = input_mapper.packed()
        self._output_map: RowMap = output_mapper.packed()
        self._embedding_dim = linears(input_mapper.layers)[0].in_features
        self._cells = linears(output_mapper.layers)[0].in_features
        self._layers = carrier.gru.num_layers
        self._hidden_size = carrier.gru.hidden_size
        self.shape = tuple(
            tuple(weight.shape)
            for part in (input_mapper, neuron, carrier, output_mapper)
            for weight in part.parameters()
        )

    def energies(self, embedding_BE: Tensor, plan: BlockPlan) -> Tensor:
        """Energies of the initial flows, [B, S]."""
        return _mapped(self._input_map, embedding_BE, plan)

    def embeddings(self, surface_BS: Tensor, plan: BlockPlan) -> Tensor:
        """Embeddings of surfaces, [B, E]."""
        return _mapped(self._output_map, surface_BS, plan)

    def propose(
        self,
        position_N3: Tensor,
        energy_N: Tensor,
        hidden: Hidden,
        plan: BlockPlan,
        tapes: list[Tape] | None = None,
    ) -> Proposals:
        """New hidden state, energy and raw displacement of every flow; without gradients.

        Args:
            tapes: takes what the backward pass of each block needs.
        """
        flows = energy_N.shape[0]
        like = torch.empty((0, self._hidden_size), dtype=self.dtype, device=self.device)
        parts = _Parts(position_N3, like, self._layers, hidden.spare)
        for block in self.blocks(flows, hidden.stepped, plan):
            tape = None if tapes is None else Tape()
            # A block that reaches beyond its rows must not write over those of others.
            fills = block.rows == block.height
            out = parts.places(block.start, block.end) if fills else ()
            proposal = self.propose_block(position_N3, energy_N, hidden, block, out, tape)
            parts.add(block.start, block.end, proposal)
            if tapes is not None and tape is not None:
                tapes.append(tape)
        return parts.whole()

    def blocks(self, flows: int, stepped: int, plan: BlockPlan) -> list[FlowBlock]:
        """How a step's flows are cut: those that have taken a step, then the others."""
        return [
            FlowBlock(first + start, min(first + start + height, stop), height, fresh)
            for first, stop, fresh in ((0, stepped, False), (stepped, flows, True))
            for start, height in plan.cover(stop - first)
        ]

    def propose_block(
        self,
        position_N3: Tensor,
        energy_N: Tensor,
        hidden: Hidden,
        block: FlowBlock,
        out: tuple[Tensor, ...] = (),
        tape: Tape | None = None,
    ) -> Proposal:
        """What is proposed for the flows of a block, [height]; without gradients.

        Args:
            out: L tensors [height, H] that the new hidden states are written to.
            tape: takes what the backward pass needs.
        """
        start, height, end = block.start, block.height, block.end
        position, energy = (_rows(of, start, height, end) for of in (position_N3, energy_N))
        known = None
        if not block.fresh:
            known = HiddenBlock(hidden.rows, _rows(hidden.source, start, height, end))
        return self._proposal(position, energy, known, out, tape)

    def try_step_heights(self) -> Generator[None, None, BlockPlan]:
        """Try the block heights of ``propose`` on this model's shapes; see ``try_heights``."""
        heights = candidate_heights(
            STEP_ROWS.get(self.device.type, STEP_ROWS["cpu"]), _threads(self.device)
        )
        rows = heights[-1] + PROBE_ROWS
        generator = torch.Generator().manual_seed(0)

        def random(width: int, dtype: torch.dtype) -> Tensor:
            return torch.randn((rows, width), generator=generator).to(self.device, dtype)

        inputs = [random(3, self.state_dtype), random(1, self.state_dtype)]
        inputs += [random(self._hidden_size, self.dtype).tanh() for _ in range(self._layers)]

        def run(columns: Sequence[Tensor]) -> list[Tensor]:
            position, energy, *hidden = columns
            energy = energy.squeeze(1)
            every = torch.arange(len(position), device=position.device)
            later = self._proposal(position, energy, HiddenBlock(tuple(hidden), every), (), None)
            fresh = self._proposal(position, energy, None, (), None)
            return [
                column
                for proposal in (later, fresh)
                for column in (proposal.energy, proposal.displacement, *proposal.hidden)
            ]

        return try_heights(run, inputs, heights)

    def try_mapper_heights(self) -> Generator[None, None, BlockPlan]:
        """Try the block heights of the two mappers on this model's shapes; see ``try_heights``."""
        heights = candidate_heights(MAPPER_ROWS, _threads(self.device))
        rows = heights[-1] + PROBE_ROWS
        generator = torch.Generator().manual_seed(0)
        inputs = [
            torch.randn((rows, width), generator=generator).to(self.device, self.state_dtype)
            for width in (self._embedding_dim, self._cells)
        ]

        def run(columns: Sequence[Tensor]) -> list[Tensor]:
            return [self._input_map(columns[0]), self._output_map(columns[1])]

        return try_heights(run, inputs, heights)


def _as_written(neuron: PackedNeuron, carrier: PackedCarrier) -> ProposeBlock:
    """The networks one after the other, in tensor operations."""

    def proposal(
        position_N3: Tensor,
        energy_N: Tensor,
        hidden: HiddenBlock | None,
        out: tuple[Tensor, ...],
        tape: Tape | None,
    ) -> Proposal:
        return carrier(neuron(position_N3, energy_N), hidden, out, tape)

    return proposal


class _Parts:
    """Results of blocks, written where they belong while they are warm in the cache."""

    def __init__(
        self, position_N3: Tensor, like_0H: Tensor, layers: int, spare: tuple[Tensor, ...]
    ) -> None:
        rows, width = position_N3.shape[0], like_0H.shape[1]
        self._energy = position_N3.new_empty(rows)
        self._raw = position_N3.new_empty((rows, 3))
        if not spare or spare[0].shape[0] < rows:
            spare = tuple(like_0H.new_empty((rows, width)) for _ in range(layers))
        self._hidden = spare

    def places(self, start: int, stop: int) -> tuple[Tensor, ...]:
        return tuple(column[start:stop] for column in self._hidden)

    def add(self, start: int, stop: int, proposal: Proposal) -> None:
        rows = stop - start
        self._energy[start:stop] = proposal.energy[:rows]
        self._raw[start:stop] = proposal.displacement[:rows]
        for place, column in zip(self.places(start, stop), proposal.hidden, strict=True):
            if place.data_ptr() != column.data_ptr():
                place.copy_(column[:rows])

    def whole(self) -> Proposals:
        return Proposals(self._hidden, self._energy, self._raw)


def _mapped(rows_to_rows: RowMap, x: Tensor, plan: BlockPlan) -> Tensor:
    rows = x.shape[0]
    return torch.cat(
        [
            rows_to_rows(_rows(x, start, height, rows))[: min(height, rows - start)]
            for start, height in plan.cover(rows)
        ]
    )


def _rows(column: Tensor, start: int, height: int, stop: int) -> Tensor:
    """``height`` rows from ``start``; beyond ``stop`` the last row is repeated."""
    if start + height <= stop:
        return column[start : start + height]
    index = torch.arange(start, start + height, device=column.device).clamp_(max=stop - 1)
    return column.index_select(0, index)


def _threads(device: torch.device) -> int:
    return torch.get_num_threads() if device.type == "cpu" else 1
