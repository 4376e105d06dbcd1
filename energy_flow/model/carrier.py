"""``EnergyCarrier``: a GRU over a flow's steps with two heads. It proposes and decides nothing.

Shape legend: N flows, L layers, H hidden width, K padded input width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from energy_flow.config.flow_config import FlowConfig
from energy_flow.model.linear import (
    WIDTH,
    PaddedLinear,
    constant_columns,
    linears,
    padded_width,
)
from energy_flow.model.neuron import PackedNeuron

HEAD_WIDTH = 64


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the network proposes for a block of flows.

    Attributes:
        hidden: L tensors [N, H], the new hidden state.
        energy: [N], e' in (-1, 1).
        displacement: [N, 3], raw, unbounded.
    """

    hidden: tuple[Tensor, ...]
    energy: Tensor
    displacement: Tensor


@dataclass(frozen=True, slots=True)
class HiddenBlock:
    """Where a block's hidden states are: rows ``source`` [N] of L tensors ``rows`` [R, H]."""

    rows: tuple[Tensor, ...]
    source: Tensor


@dataclass(slots=True)
class Tape:
    """What the forward pass of a block leaves for its backward pass.

    Attributes:
        tensors: of each GRU layer the gates, the recurrent part of the candidate (not for a zero
            state) and the candidate; then the first layer of the heads before its activation.
    """

    tensors: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PackedGRULayer:
    """One GRU layer in PyTorch's gate convention (r, z, n), packed for few products.

    ``r, z = σ([x, h] W_rz + b)``, ``n = tanh(x W_in + b_in + r ∘ (h W_hn + b_hn))``,
    ``h' = (1 - z) ∘ n + z ∘ h``. All of it reads one block ``[x, zeros, 1, h]``: the row of ones
    carries the biases, and the rows of ``w_rz`` that meet x come first, so that a flow whose
    hidden state is zero uses those alone.

    Attributes:
        w_rz: [X + H, 2 H]. w_xn: [X, H]. w_hn: [16 + H, H], all with padded widths, in the dtype
            of the products.
        x_width: width of x. hidden_size: H. dtype: of hidden states.
    """

    w_rz: Tensor
    w_xn: Tensor
    w_hn: Tensor
    x_width: int
    hidden_size: int
    dtype: torch.dtype

    @classmethod
    def of(
        cls, w_i: Tensor, b_i: Tensor, w_h: Tensor, b_h: Tensor, dtype: torch.dtype
    ) -> PackedGRULayer:
        """Packs PyTorch's input and recurrent weights [3 H, ·]; differentiable in them."""
        size, x_width = w_h.shape[1], w_i.shape[1]
        unused = padded_width(x_width + 1) - x_width - 1
        zeros = w_i.new_zeros((3 * size, unused))
        missing = padded_width(size) - size
        w_h = pad(w_h, (0, missing))
        b_rz, gate = b_i + b_h, 2 * size
        w_rz = torch.cat((w_i[:gate], zeros[:gate], b_rz[:gate, None], w_h[:gate]), dim=1)
        w_xn = torch.cat((w_i[gate:], zeros[gate:], b_i[gate:, None]), dim=1)
        before = w_i.new_zeros((size, WIDTH - 1))
        w_hn = torch.cat((before, b_h[gate:, None], w_h[gate:]), dim=1)
        return cls(
            w_rz=_packed(w_rz.to(dtype)),
            w_xn=_packed(w_xn.to(dtype)),
            w_hn=_packed(w_hn.to(dtype)),
            x_width=x_width,
            hidden_size=size,
            dtype=dtype,
        )

    def __call__(
        self,
        x_NX: Tensor,
        hidden_RH: Tensor | None,
        source_N: Tensor | None,
        out_NH: Tensor | None = None,
        tape: Tape | None = None,
    ) -> Tensor:
        """The new hidden state [N, H]; without gradients.

        Args:
            x_NX: the input, with or without the constant columns that follow it.
            hidden_RH, source_N: stored states and the row of each flow; none for zeros.
            out_NH: where to write it.
            tape: takes what the backward pass needs.
        """
        size, width = self.hidden_size, self.w_xn.shape[0]
        # In place wherever possible: these columns are as wide as the products.
        if hidden_RH is None or source_N is None:
            x_NX = self.with_constants(x_NX)
            xn = torch.mm(x_NX, self.w_xn)[:, :size]
            gates = torch.mm(x_NX, self.w_rz[:width]).sigmoid_()
            r, z = gates[:, :size], gates[:, size : 2 * size]
            n = _tanh_(xn.addcmul_(r, self.w_hn[WIDTH - 1, :size]))
            if tape is not None:
                tape.tensors += (gates, n)
            return self._state(torch.addcmul(n, z, n, value=-1, out=self._direct(out_NH)), out_NH)
        block = self.joined(x_NX, hidden_RH, source_N)
        gates = torch.mm(block, self.w_rz).sigmoid_()
        r, z = gates[:, :size], gates[:, size : 2 * size]
        xn = torch.mm(block[:, :width], self.w_xn)[:, :size]
        hn = torch.mm(block[:, width - WIDTH :], self.w_hn)[:, :size]
        n = _tanh_(xn.addcmul_(r, hn))
        if tape is not None:
            tape.tensors += (gates, hn, n)
        state = torch.lerp(n, block[:, width : width + size], z, out=self._direct(out_NH))
        return self._state(state, out_NH)

    def _direct(self, out_NH: Tensor | None) -> Tensor | None:
        """Where a result can be written at once, because products and states have one dtype."""
        return out_NH if self.dtype == self.w_xn.dtype else None

    def _state(self, state_NH: Tensor, out_NH: Tensor | None) -> Tensor:
        """A result as hidden states are stored, in its place if it has one."""
        if out_NH is None or out_NH is state_NH:
            return state_NH.to(self.dtype)
        return out_NH.copy_(state_NH)

    def with_constants(self, x_NX: Tensor) -> Tensor:
        """The input, as it is multiplied, with the constant columns that follow it."""
        x_NX = x_NX.to(self.w_xn.dtype)
        if x_NX.shape[1] == self.w_xn.shape[0]:
            return x_NX
        return torch.cat((x_NX, constant_columns(x_NX.shape[0], self.x_width, x_NX)), dim=1)

    def joined(self, x_NX: Tensor, hidden_RH: Tensor, source_N: Tensor) -> Tensor:
        """``[x, zeros, 1, h, zeros]``, with h gathered straight into place."""
        size, width = self.hidden_size, self.w_xn.shape[0]
        given = x_NX.shape[1]
        block = self.w_xn.new_empty((x_NX.shape[0], width + padded_width(size)))
        block[:, :given] = x_NX
        if given < width:
            block[:, given : width - 1] = 0.0
            block[:, width - 1] = 1.0
        place = block[:, width : width + size]
        if hidden_RH.dtype == place.dtype:
            torch.index_select(hidden_RH, 0, source_N, out=place)
        else:
            place.copy_(hidden_RH.index_select(0, source_N))
        block[:, width + size :] = 0.0
        return block


@dataclass(frozen=True, slots=True)
class PackedCarrier:
    """The carrier's weights as a step uses them: GRU as its products need it, heads in float32."""

    layers: tuple[PackedGRULayer, ...]
    heads_in: PaddedLinear
    heads_out: PaddedLinear

    def __call__(
        self,
        x_NX: Tensor,
        hidden: HiddenBlock | None,
        out: tuple[Tensor, ...] = (),
        tape: Tape | None = None,
    ) -> Proposal:
        """Proposes for a block; without gradients.

        Args:
            hidden: none stands for zeros.
            out: L tensors [N, H] that the new hidden state is written to.
            tape: takes what the backward pass needs.
        """
        states = []
        for index, layer in enumerate(self.layers):
            target = out[index] if out else None
            if hidden is None:
                x_NX = layer(x_NX, None, None, target, tape)
            else:
                x_NX = layer(x_NX, hidden.rows[index], hidden.source, target, tape)
            states.append(x_NX)
        before = self.heads_in.padded(x_NX.to(self.heads_in.weight.dtype))
        if tape is not None:
            tape.tensors.append(before)
        heads = self.heads_out.padded(gelu(before))
        energy = torch.tanh(heads[:, 0].contiguous())
        return Proposal(tuple(states), energy, heads[:, 1:4])

    def tensors(self) -> tuple[Tensor, ...]:
        """The weights, in order."""
        layers = (w for layer in self.layers for w in (layer.w_rz, layer.w_xn, layer.w_hn))
        heads = (self.heads_in, self.heads_out)
        return (*layers, *(tensor for head in heads for tensor in (head.weight, head.bias)))

    def like(self, tensors: Sequence[Tensor]) -> PackedCarrier:
        """The same with other tensors, in the order of :meth:`tensors`."""
        *matrices, w_in, b_in, w_out, b_out = tensors
        layers = zip(self.layers, matrices[0::3], matrices[1::3], matrices[2::3], strict=True)
        return PackedCarrier(
            tuple(replace(one, w_rz=rz, w_xn=xn, w_hn=hn) for one, rz, xn, hn in layers),
            replace(self.heads_in, weight=w_in, bias=b_in),
            replace(self.heads_out, weight=w_out, bias=b_out),
        )

    def multiplied_in(self, dtype: torch.dtype) -> PackedCarrier:
        """The same numbers, with the GRU's products in another dtype than its hidden states."""
        layers = (
            replace(one, w_rz=one.w_rz.to(dtype), w_xn=one.w_xn.to(dtype), w_hn=one.w_hn.to(dtype))
            for one in self.layers
        )
        return replace(self, layers=tuple(layers))


class EnergyCarrier(nn.Module):
    """[n, e] and a hidden state -> new hidden state, new energy, proposed displacement."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        size = config.carrier_hidden_size
        self.gru = nn.GRU(config.neuron_output_dim + 1, size, config.carrier_num_layers)
        self.energy_head = nn.Sequential(
            nn.Linear(size, size // 2), nn.GELU(), nn.Linear(size // 2, 1), nn.Tanh()
        )
        self.displacement_head = nn.Sequential(
            nn.Linear(size, HEAD_WIDTH), nn.GELU(), nn.Linear(HEAD_WIDTH, 3)
        )

    def draw(self, generator: torch.Generator) -> None:
        """Draws the weights of an untrained carrier: GRU Xavier and orthogonal, heads Xavier."""
        for name, parameter in self.gru.named_parameters():
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(parameter, generator=generator)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(parameter, generator=generator)
            else:
                nn.init.zeros_(parameter)
        for head in (self.energy_head, self.displacement_head):
            for layer in linears(head):
                nn.init.xavier_normal_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)

    def packed(self, neuron: PackedNeuron, dtype: torch.dtype) -> PackedCarrier:
        """The weights as a step uses them; differentiable in the parameters.

        Args:
            neuron: what comes before; its last layer is multiplied into the first GRU layer.
        """
        energy_in, energy_out = linears(self.energy_head)
        move_in, move_out = linears(self.displacement_head)
        head_dtype = energy_in.weight.dtype
        # Both heads in one product: their first layers side by side, their second ones block
        # diagonal, so that column 0 is the energy and columns 1 to 3 the displacement.
        heads_in = PaddedLinear.of(
            torch.cat((energy_in.weight, move_in.weight)),
            torch.cat((energy_in.bias, move_in.bias)),
            head_dtype,
        )
        heads_out = PaddedLinear.of(
            _block_diagonal(energy_out.weight, move_out.weight),
            torch.cat((energy_out.bias, move_out.bias)),
            head_dtype,
        )
        layers = []
        for layer in range(self.gru.num_layers):
            w_i, b_i, w_h, b_h = (
                getattr(self.gru, f"{name}_l{layer}")
                for name in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
            )
            if layer == 0:
                perceiving = w_i[:, :-1]
                b_i = b_i + perceiving @ neuron.last_bias
                w_i = torch.cat((perceiving @ neuron.last_weight, w_i[:, -1:]), dim=1)
            layers.append(PackedGRULayer.of(w_i, b_i, w_h, b_h, dtype))
        return PackedCarrier(tuple(layers), heads_in, heads_out)


def _block_diagonal(first_OI: Tensor, second_OI: Tensor) -> Tensor:
    return torch.cat(
        (pad(first_OI, (0, second_OI.shape[1])), pad(second_OI, (first_OI.shape[1], 0)))
    )


def _packed(weight_OI: Tensor) -> Tensor:
    rows = padded_width(weight_OI.shape[0]) - weight_OI.shape[0]
    return pad(weight_OI, (0, 0, 0, rows)).t().contiguous()


def _tanh_(x: Tensor) -> Tensor:
    # On a CPU, tanh of bfloat16 goes through float32 too, but at a fraction of the speed.
    if x.dtype == torch.bfloat16 and x.device.type == "cpu":
        return x.copy_(x.float().tanh_())
    return x.tanh_()
