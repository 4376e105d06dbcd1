"""``EnergyCarrier``: a GRU over a flow's steps with two heads. It proposes and decides nothing.

Shape legend: N flows, L layers, H hidden width, K padded input width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from energy_flow.config import FlowConfig
from energy_flow.linear import PaddedLinear, linears, pad_columns, padded_width

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
class PackedGRULayer:
    """One GRU layer in PyTorch's gate convention (r, z, n), packed for one product a gate pair.

    ``r, z = σ([x, h] W_rz + b)``, ``n = tanh(x W_in + b_in + r ∘ (h W_hn + b_hn))``,
    ``h' = (1 - z) ∘ n + z ∘ h``. The rows of ``w_rz`` that meet x come first, so that a flow
    whose hidden state is zero uses those alone.
    """

    w_rz: Tensor
    b_rz: Tensor
    w_xn: Tensor
    b_xn: Tensor
    w_hn: Tensor
    b_hn: Tensor
    hidden_size: int

    @classmethod
    def of(cls, gru: nn.GRU, layer: int, dtype: torch.dtype) -> PackedGRULayer:
        """Packs layer ``layer``; differentiable in the parameters."""
        size = gru.hidden_size
        w_i, w_h, b_i, b_h = (
            getattr(gru, f"{name}_l{layer}").to(dtype)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        x_width, h_width = padded_width(w_i.shape[1]), padded_width(size)
        w_i = pad(w_i, (0, x_width - w_i.shape[1]))
        w_h = pad(w_h, (0, h_width - size))
        b_rz = (b_i + b_h)[: 2 * size]
        return cls(
            w_rz=_packed(torch.cat((w_i[: 2 * size], w_h[: 2 * size]), dim=1)),
            b_rz=pad(b_rz, (0, padded_width(2 * size) - 2 * size)),
            w_xn=_packed(w_i[2 * size :]),
            b_xn=pad(b_i[2 * size :], (0, h_width - size)),
            w_hn=_packed(w_h[2 * size :]),
            b_hn=pad(b_h[2 * size :], (0, h_width - size)),
            hidden_size=size,
        )

    def __call__(self, x_NK: Tensor, hidden_NH: Tensor | None) -> Tensor:
        """The new hidden state [N, H]; ``None`` stands for a hidden state of zeros."""
        size = self.hidden_size
        x_width = self.w_xn.shape[0]
        x_NK = pad_columns(x_NK, x_width)
        # In place wherever autograd allows it: these columns are as wide as the products.
        xn = torch.addmm(self.b_xn, x_NK, self.w_xn)[:, :size]
        if hidden_NH is None:
            gates = torch.addmm(self.b_rz, x_NK, self.w_rz[:x_width]).sigmoid_()
            r, z = gates[:, :size], gates[:, size : 2 * size]
            n = _tanh_(xn.addcmul_(r, self.b_hn[:size]))
            return torch.addcmul(n, z, n, value=-1)
        h = pad_columns(hidden_NH, self.w_hn.shape[0])
        gates = torch.addmm(self.b_rz, torch.cat((x_NK, h), dim=1), self.w_rz).sigmoid_()
        r, z = gates[:, :size], gates[:, size : 2 * size]
        hn = torch.addmm(self.b_hn, h, self.w_hn)
        n = _tanh_(xn.addcmul_(r, hn[:, :size]))
        return torch.lerp(n, hidden_NH, z)


@dataclass(frozen=True, slots=True)
class PackedCarrier:
    """The carrier's weights as a step uses them: GRU in its precision, heads in float32."""

    layers: tuple[PackedGRULayer, ...]
    heads_in: PaddedLinear
    heads_out: PaddedLinear

    def __call__(self, x_NK: Tensor, hidden: Sequence[Tensor] | None) -> Proposal:
        """Proposes for a block; ``hidden`` holds L tensors [N, H], ``None`` means all zeros."""
        states = []
        for index, layer in enumerate(self.layers):
            x_NK = layer(x_NK, None if hidden is None else hidden[index])
            states.append(x_NK)
        head_dtype = self.heads_in.weight.dtype
        heads = self.heads_out.padded(gelu(self.heads_in.padded(x_NK.to(head_dtype))))
        energy = torch.tanh(heads[:, 0].contiguous())
        return Proposal(tuple(states), energy, heads[:, 1:4])


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

    def packed(self, dtype: torch.dtype) -> PackedCarrier:
        """The weights as a step uses them; differentiable in the parameters."""
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
        layers = tuple(
            PackedGRULayer.of(self.gru, layer, dtype) for layer in range(self.gru.num_layers)
        )
        return PackedCarrier(layers, heads_in, heads_out)

    def forward(self, x_NI: Tensor, hidden: Sequence[Tensor] | None = None) -> Proposal:
        """Proposes for flows whose inputs [n, e] are given, [N, A + 1]."""
        return self.packed(x_NI.dtype)(pad_columns(x_NI, padded_width(x_NI.shape[1])), hidden)


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
        return x.float().tanh_().to(torch.bfloat16)
    return x.tanh_()
