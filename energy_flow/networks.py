"""All networks of a model, packed, called in blocks of fixed heights.

Shape legend: N flows, M of them with a stored hidden state, B samples, E embedding width, S surface
cells, L GRU layers, H hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from energy_flow.blocks import PROBE_ROWS, BlockPlan, agreeing_plan, candidate_heights
from energy_flow.carrier import EnergyCarrier, HiddenBlock, PackedCarrier, Proposal
from energy_flow.embedding_mapper import InputMapper, OutputMapper, RowMap
from energy_flow.flow_state import Hidden
from energy_flow.linear import linears
from energy_flow.neuron import PackedNeuron, SimpleNeuron

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


class Networks:
    """The packed networks of one model in one precision.

    Whether results carry gradients depends on whether packing and calling happened with gradients
    enabled; the arithmetic is the same.

    Attributes:
        shape: of every weight, in order.
        dtype: of the step's arithmetic and of hidden states. state_dtype: of everything else.
    """

    def __init__(
        self,
        input_mapper: InputMapper,
        neuron: SimpleNeuron,
        carrier: EnergyCarrier,
        output_mapper: OutputMapper,
        dtype: torch.dtype,
    ) -> None:
        self._neuron: PackedNeuron = neuron.packed(dtype)
        self._carrier: PackedCarrier = carrier.packed(self._neuron, dtype)
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
        self.dtype = dtype
        self.state_dtype = input_mapper.energy_scale.dtype
        self.device = input_mapper.energy_scale.device

    def energies(self, embedding_BE: Tensor, plan: BlockPlan) -> Tensor:
        """Energies of the initial flows, [B, S]."""
        return _mapped(self._input_map, embedding_BE, plan)

    def embeddings(self, surface_BS: Tensor, plan: BlockPlan) -> Tensor:
        """Embeddings of surfaces, [B, E]."""
        return _mapped(self._output_map, surface_BS, plan)

    def propose(
        self, position_N3: Tensor, energy_N: Tensor, hidden: Hidden, plan: BlockPlan
    ) -> Proposals:
        """New hidden state, energy and raw displacement of every flow."""
        flows, stepped = energy_N.shape[0], hidden.stepped
        parts: _Kept | _Placed
        if torch.is_grad_enabled():
            parts = _Kept()
        else:
            like = torch.empty((0, self._hidden_size), dtype=self.dtype, device=self.device)
            parts = _Placed(position_N3, like, self._layers, hidden.spare)
        for first, stop in ((0, stepped), (stepped, flows)):
            for offset, height in plan.cover(stop - first):
                start = first + offset
                x = self._neuron(
                    _rows(position_N3, start, height, stop), _rows(energy_N, start, height, stop)
                )
                known = None
                if start < stepped:
                    known = HiddenBlock(hidden.rows, _rows(hidden.source, start, height, stop))
                # A block that reaches beyond its rows must not write over those of others.
                out = parts.places(start, start + height) if start + height <= stop else ()
                parts.add(start, min(start + height, stop), self._carrier(x, known, out))
        return parts.whole()

    def step_plan(self) -> BlockPlan:
        """Block heights for ``propose``, tried on this model's shapes."""
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
            x = self._neuron(position, energy.squeeze(1))
            every = torch.arange(len(position), device=position.device)
            later = self._carrier(x, HiddenBlock(tuple(hidden), every))
            fresh = self._carrier(x, None)
            return [
                column
                for proposal in (later, fresh)
                for column in (proposal.energy, proposal.displacement, *proposal.hidden)
            ]

        return agreeing_plan(run, inputs, heights)

    def mapper_plan(self) -> BlockPlan:
        """Block heights for the two mappers, tried on this model's shapes."""
        heights = candidate_heights(MAPPER_ROWS, _threads(self.device))
        rows = heights[-1] + PROBE_ROWS
        generator = torch.Generator().manual_seed(0)
        inputs = [
            torch.randn((rows, width), generator=generator).to(self.device, self.state_dtype)
            for width in (self._embedding_dim, self._cells)
        ]

        def run(columns: Sequence[Tensor]) -> list[Tensor]:
            return [self._input_map(columns[0]), self._output_map(columns[1])]

        return agreeing_plan(run, inputs, heights)


class _Kept:
    """With gradients: blocks are kept and concatenated, which autograd differentiates for free."""

    def __init__(self) -> None:
        self._blocks: list[tuple[Tensor, ...]] = []

    def places(self, start: int, stop: int) -> tuple[Tensor, ...]:
        return ()

    def add(self, start: int, stop: int, proposal: Proposal) -> None:
        columns = (proposal.energy, proposal.displacement, *proposal.hidden)
        self._blocks.append(tuple(column[: stop - start] for column in columns))

    def whole(self) -> Proposals:
        energy, raw, *rows = (torch.cat(columns) for columns in zip(*self._blocks, strict=True))
        return Proposals(tuple(rows), energy, raw)


class _Placed:
    """Without gradients: rows are written where they belong while they are warm in the cache."""

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
