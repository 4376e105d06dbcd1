"""All networks of a model, packed, and their forward pass in blocks of fixed heights.

The backward pass is in ``backward.py``; ``autograd.py`` joins the two.

Shape legend: N flows, F numbers that the neuron reads of each, M of them with a stored hidden
state, R stored rows, B samples, E embedding width, S surface cells, L GRU layers, H hidden width.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from energy_flow.model.backends import select_proposal
from energy_flow.model.backends.interface import BlockProposal, HiddenBlock, ProposeBlock, Tape
from energy_flow.model.block_plan import (
    CALL_ROWS,
    DEVICE_CALL_ROWS,
    PROBE_ROWS,
    BlockPlan,
    candidate_heights,
    device_heights,
    try_heights,
)
from energy_flow.model.carrier import EnergyCarrier, PackedCarrier
from energy_flow.model.embedding_mapper import Mapper, RowMap
from energy_flow.model.hidden_state import Hidden
from energy_flow.model.neuron import PackedNeuron, SimpleNeuron
from energy_flow.runtime.device import product_dtype

STEP_ROWS = {"cpu": 2048, "cuda": 16384}
"""Height of a full block of flows, by type of device; see :func:`step_rows`."""
MAPPER_ROWS = 64
"""Height of a full block of samples."""


def step_rows(device: torch.device) -> int:
    """Return the height of a full block of flows.

    Args:
        device: where the networks are.
    """
    return STEP_ROWS.get(device.type, STEP_ROWS["cpu"])


@dataclass(frozen=True, slots=True)
class Proposals:
    """What the networks propose for all flows.

    Attributes:
        rows: the new hidden states, L tensors with at least N rows, [≥ N, H].
        energy: e', [N].
        raw: r, the displacement before scaling and clamping, [N, 3].
    """

    rows: tuple[Tensor, ...]
    energy: Tensor
    raw: Tensor


@dataclass(frozen=True, slots=True)
class FlowBlock:
    """Flows that the networks are called with at once.

    Attributes:
        start: the first flow.
        end: one past the last flow.
        height: rows of the call; those beyond ``end`` repeat the last flow.
        is_first_step: whether the flows start from hidden states of zeros.
    """

    start: int
    end: int
    height: int
    is_first_step: bool

    @property
    def rows(self) -> int:
        """Flows in the block."""
        return self.end - self.start


class Networks:
    """The packed networks of one model in one precision.

    Where they are packed with gradients enabled, ``map_embeddings``, ``map_surfaces`` and
    ``autograd.propose`` carry gradients; the arithmetic is the same.

    Attributes:
        dtype: of the step's arithmetic and of hidden states. What is rounded to it is multiplied
            in the ``product_dtype`` of the device.
        state_dtype: of everything else.
        device: where the weights are.
        keeps_tapes: whether a step keeps what its backward pass needs, or computes it again.
        neuron: the neuron's weights as a step uses them.
        carrier: the carrier's weights as a step uses them.
        weights: tensors of both in the precision of the model, which gradients are taken of.
        shape: input widths of the mappers, then the shape of every weight, in order.
    """

    def __init__(
        self,
        input_mapper: Mapper,
        neuron: SimpleNeuron,
        carrier: EnergyCarrier,
        output_mapper: Mapper,
        dtype: torch.dtype,
        keeps_tapes: bool = True,
    ) -> None:
        self.dtype = dtype
        # Not of the mappers, which may have no weights.
        weight = next(neuron.parameters())
        self.state_dtype, self.device = weight.dtype, weight.device
        self.keeps_tapes = keeps_tapes
        self.neuron: PackedNeuron = neuron.pack(dtype)
        self.carrier: PackedCarrier = carrier.pack(self.neuron, dtype)
        products = product_dtype(dtype, self.device)
        if products != dtype:
            self.neuron = self.neuron.with_product_dtype(products)
            self.carrier = self.carrier.with_product_dtype(products)
        exact_neuron, exact_carrier = self.neuron, self.carrier
        if dtype != self.state_dtype and torch.is_grad_enabled():
            exact_neuron = neuron.pack(self.state_dtype)
            exact_carrier = carrier.pack(exact_neuron, self.state_dtype)
        self.weights = (*exact_neuron.tensors(), *exact_carrier.tensors())
        self._propose: ProposeBlock = select_proposal(self.neuron, self.carrier)
        self._input_map: RowMap = input_mapper.pack()
        self._output_map: RowMap = output_mapper.pack()
        self._mapper_widths = (input_mapper.in_width, output_mapper.in_width)
        self._layers = carrier.gru.num_layers
        self._hidden_size = carrier.gru.hidden_size
        self.shape = (
            self._mapper_widths,
            *(
                tuple(weight.shape)
                for part in (input_mapper, neuron, carrier, output_mapper)
                for weight in part.parameters()
            ),
        )

    def map_embeddings(self, embedding_BE: Tensor, plan: BlockPlan) -> Tensor:
        """Return the energies of the initial flows, [B, S]."""
        return _map_rows(self._input_map, embedding_BE.to(self.state_dtype), plan)

    def map_surfaces(self, surface: Tensor, plan: BlockPlan) -> Tensor:
        """Return the embeddings [B, E_out] of what the output mapper reads, [B, P · S]."""
        return _map_rows(self._output_map, surface, plan)

    def propose(
        self,
        features_NF: Tensor,
        hidden: Hidden,
        plan: BlockPlan,
        tapes: list[Tape] | None = None,
    ) -> Proposals:
        """Return new hidden state, energy and raw displacement of every flow; without gradients.

        Args:
            features_NF: x, y, z, e, and what the flows sense.
            hidden: stored states.
            plan: block heights.
            tapes: receives what the backward pass of each block needs.
        """
        flows = features_NF.shape[0]
        like = torch.empty((0, self._hidden_size), dtype=self.dtype, device=self.device)
        results = _BlockResults(features_NF, like, self._layers, hidden.spare)
        for block in self.blocks(flows, hidden.stepped, plan):
            tape = None if tapes is None else Tape()
            # A block that reaches beyond its flows must not write over the rows of others.
            is_full = block.rows == block.height
            out = results.places(block.start, block.end) if is_full else ()
            proposal = self.propose_block(features_NF, hidden, block, out, tape)
            results.add(block.start, block.end, proposal)
            if tapes is not None and tape is not None:
                tapes.append(tape)
        return results.proposals()

    def blocks(self, flows: int, stepped: int, plan: BlockPlan) -> list[FlowBlock]:
        """Return how a step's flows are cut: those that have taken a step, then the others.

        Args:
            flows: N.
            stepped: M.
            plan: block heights.
        """
        return [
            FlowBlock(first + start, min(first + start + height, stop), height, is_first_step)
            for first, stop, is_first_step in ((0, stepped, False), (stepped, flows, True))
            for start, height in plan.cover(stop - first)
        ]

    def propose_block(
        self,
        features_NF: Tensor,
        hidden: Hidden,
        block: FlowBlock,
        out: tuple[Tensor, ...] = (),
        tape: Tape | None = None,
    ) -> BlockProposal:
        """Return what is proposed for the flows of a block, ``height`` rows; without gradients.

        Args:
            features_NF: x, y, z, e, and what is sensed, of all flows.
            hidden: stored states.
            block: which flows.
            out: L tensors [height, H] that the new hidden states are written to.
            tape: receives what the backward pass needs.
        """
        start, height, end = block.start, block.height, block.end
        features = _take_rows(features_NF, start, height, end)
        stored = None
        if not block.is_first_step:
            stored = HiddenBlock(hidden.rows, _take_rows(hidden.source, start, height, end))
        return self._propose(features, stored, out, tape)

    def try_step_heights(self) -> Generator[None, None, BlockPlan]:
        """Try the block heights of ``propose`` on this model's shapes; see ``try_heights``."""
        full, is_cpu = step_rows(self.device), self.device.type == "cpu"
        heights = (
            candidate_heights(full, torch.get_num_threads()) if is_cpu else device_heights(full)
        )
        rows = heights[-1] + PROBE_ROWS
        generator = torch.Generator().manual_seed(0)

        def random(width: int, dtype: torch.dtype) -> Tensor:
            return torch.randn((rows, width), generator=generator).to(self.device, dtype)

        inputs = [random(self.neuron.features, self.state_dtype)]
        inputs += [random(self._hidden_size, self.dtype).tanh() for _ in range(self._layers)]

        def run(columns: Sequence[Tensor]) -> list[Tensor]:
            features, *hidden = columns
            every = torch.arange(len(features), device=features.device)
            later = self._propose(features, HiddenBlock(tuple(hidden), every))
            first = self._propose(features, None)
            return [
                column
                for proposal in (later, first)
                for column in (proposal.energy, proposal.displacement, *proposal.hidden)
            ]

        return try_heights(run, inputs, heights, CALL_ROWS if is_cpu else DEVICE_CALL_ROWS)

    def try_mapper_heights(self) -> Generator[None, None, BlockPlan]:
        """Try the block heights of the two mappers on this model's shapes; see ``try_heights``."""
        heights = candidate_heights(MAPPER_ROWS, _threads(self.device))
        rows = heights[-1] + PROBE_ROWS
        generator = torch.Generator().manual_seed(0)
        inputs = [
            torch.randn((rows, width), generator=generator).to(self.device, self.state_dtype)
            for width in self._mapper_widths
        ]

        def run(columns: Sequence[Tensor]) -> list[Tensor]:
            return [self._input_map(columns[0]), self._output_map(columns[1])]

        return try_heights(run, inputs, heights)


class _BlockResults:
    """Results of blocks, written to their places while they are in the cache.

    Args:
        position_N3: positions, for the number of flows and the dtype of energies.
        like_0H: an empty tensor with the width and dtype of hidden states.
        layers: L.
        spare: L tensors to write hidden states to, if they are long enough.
    """

    def __init__(
        self, features_NF: Tensor, like_0H: Tensor, layers: int, spare: tuple[Tensor, ...]
    ) -> None:
        rows, width = features_NF.shape[0], like_0H.shape[1]
        self._energy = features_NF.new_empty(rows)
        self._raw = features_NF.new_empty((rows, 3))
        if not spare or spare[0].shape[0] < rows:
            spare = tuple(like_0H.new_empty((rows, width)) for _ in range(layers))
        self._hidden = spare

    def places(self, start: int, stop: int) -> tuple[Tensor, ...]:
        """Return where the hidden states of some flows belong, L tensors [stop - start, H]."""
        return tuple(column[start:stop] for column in self._hidden)

    def add(self, start: int, stop: int, proposal: BlockProposal) -> None:
        """Write the proposal for the flows from ``start`` to ``stop`` to its places."""
        rows = stop - start
        self._energy[start:stop] = proposal.energy[:rows]
        self._raw[start:stop] = proposal.displacement[:rows]
        for place, column in zip(self.places(start, stop), proposal.hidden, strict=True):
            if place.data_ptr() != column.data_ptr():
                place.copy_(column[:rows])

    def proposals(self) -> Proposals:
        """Return the results of all blocks."""
        return Proposals(self._hidden, self._energy, self._raw)


def _map_rows(row_map: RowMap, x: Tensor, plan: BlockPlan) -> Tensor:
    rows = x.shape[0]
    return torch.cat(
        [
            row_map(_take_rows(x, start, height, rows))[: min(height, rows - start)]
            for start, height in plan.cover(rows)
        ]
    )


def _take_rows(column: Tensor, start: int, height: int, stop: int) -> Tensor:
    """Return ``height`` rows from ``start``; beyond ``stop`` the last row is repeated."""
    if start + height <= stop:
        return column[start : start + height]
    index = torch.arange(start, start + height, device=column.device).clamp_(max=stop - 1)
    return column.index_select(0, index)


def _threads(device: torch.device) -> int:
    return torch.get_num_threads() if device.type == "cpu" else 1
