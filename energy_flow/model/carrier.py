"""``EnergyCarrier``: a GRU over a flow's steps with two heads. It proposes and decides nothing.

Shape legend: N flows, R stored rows, L layers, H hidden width, X padded input width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

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
"""Width of the displacement head's hidden layer."""


@dataclass(frozen=True, slots=True)
class PackedGRULayer:
    """One GRU layer, packed for few matrix products.

    ``r, z = σ([x, h] W_rz + b)``, ``n = tanh(x W_in + b_in + r ∘ (h W_hn + b_hn))``,
    ``h' = (1 - z) ∘ n + z ∘ h``: the gated recurrent unit of Cho et al., "Learning phrase
    representations using RNN encoder-decoder for statistical machine translation" (2014), with
    PyTorch's order of gates (r, z, n) and its reset gate, which is applied after the product with
    h. All of it reads one block ``[x, zeros, 1, h]``: the column of ones carries the biases, and
    the rows of ``w_rz`` that meet x come first, so that a flow whose hidden state is zero uses
    those alone.

    Attributes:
        w_rz: [X + H, 2 H], widths padded, in the dtype of the products.
        w_xn: [X, H], likewise.
        w_hn: [16 + H, H], likewise.
        x_width: columns of x without padding.
        hidden_size: H.
        dtype: of hidden states.
    """

    w_rz: Tensor
    w_xn: Tensor
    w_hn: Tensor
    x_width: int
    hidden_size: int
    dtype: torch.dtype

    @classmethod
    def pack(
        cls, w_i: Tensor, b_i: Tensor, w_h: Tensor, b_h: Tensor, dtype: torch.dtype
    ) -> PackedGRULayer:
        """Pack PyTorch's weights; differentiable in them.

        Args:
            w_i: input weights [3 H, x_width].
            b_i: input biases [3 H].
            w_h: recurrent weights [3 H, H].
            b_h: recurrent biases [3 H].
            dtype: of the products and of hidden states.
        """
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
            w_rz=_pad_and_transpose(w_rz.to(dtype)),
            w_xn=_pad_and_transpose(w_xn.to(dtype)),
            w_hn=_pad_and_transpose(w_hn.to(dtype)),
            x_width=x_width,
            hidden_size=size,
            dtype=dtype,
        )

    def append_constants(self, x_NX: Tensor) -> Tensor:
        """Return the input in the dtype of the products, with its constant columns, [N, X].

        Args:
            x_NX: with the constant columns, or without them [N, x_width].
        """
        x_NX = x_NX.to(self.w_xn.dtype)
        if x_NX.shape[1] == self.w_xn.shape[0]:
            return x_NX
        return torch.cat((x_NX, constant_columns(x_NX.shape[0], self.x_width, x_NX)), dim=1)

    def join_state(self, x_NX: Tensor, hidden_RH: Tensor, source_N: Tensor) -> Tensor:
        """Return ``[x, zeros, 1, h, zeros]``, with h gathered straight into its columns.

        Args:
            x_NX: with the constant columns, or without them [N, x_width].
            hidden_RH: stored states.
            source_N: row of each flow.
        """
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
    """The carrier's weights as a step uses them.

    Attributes:
        layers: L GRU layers.
        heads_in: the first layers of both heads side by side; their weights have the dtype of the
            products, their biases and results that of positions.
        heads_out: their last layers, in the dtype of positions; column 0 is the energy, columns 1
            to 3 the displacement.
    """

    layers: tuple[PackedGRULayer, ...]
    heads_in: PaddedLinear
    heads_out: PaddedLinear

    def tensors(self) -> tuple[Tensor, ...]:
        """Return the weights, in order."""
        layers = (w for layer in self.layers for w in (layer.w_rz, layer.w_xn, layer.w_hn))
        heads = (self.heads_in, self.heads_out)
        return (*layers, *(tensor for head in heads for tensor in (head.weight, head.bias)))

    def with_tensors(self, tensors: Sequence[Tensor]) -> PackedCarrier:
        """Return the same with other tensors, in the order of :meth:`tensors`."""
        *matrices, w_in, b_in, w_out, b_out = tensors
        layers = zip(self.layers, matrices[0::3], matrices[1::3], matrices[2::3], strict=True)
        return PackedCarrier(
            tuple(replace(one, w_rz=rz, w_xn=xn, w_hn=hn) for one, rz, xn, hn in layers),
            replace(self.heads_in, weight=w_in, bias=b_in),
            replace(self.heads_out, weight=w_out, bias=b_out),
        )

    def with_product_dtype(self, dtype: torch.dtype) -> PackedCarrier:
        """Return the same numbers, with products in another dtype than hidden states."""
        layers = (
            replace(one, w_rz=one.w_rz.to(dtype), w_xn=one.w_xn.to(dtype), w_hn=one.w_hn.to(dtype))
            for one in self.layers
        )
        heads_in = replace(self.heads_in, weight=self.heads_in.weight.to(dtype))
        return replace(self, layers=tuple(layers), heads_in=heads_in)


class EnergyCarrier(nn.Module):
    """[n, e] and a hidden state -> new hidden state, new energy, proposed displacement.

    Attributes:
        gru: PyTorch's GRU, which holds the weights.
        energy_head: the Sequential stack, H -> H // 2 -> 1.
        displacement_head: the Sequential stack, H -> 64 -> 3.
    """

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

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw the weights of an untrained carrier.

        GRU input weights and heads as Glorot and Bengio, "Understanding the difficulty of training
        deep feedforward neural networks" (2010), uniform and normal; recurrent weights orthogonal
        as Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in
        deep linear neural networks" (2013); biases zero.
        """
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

    def pack(self, neuron: PackedNeuron, dtype: torch.dtype) -> PackedCarrier:
        """Return the weights as a step uses them; differentiable in the parameters.

        Args:
            neuron: the packed neuron; its last layer is multiplied into the first GRU layer.
            dtype: of the products of the GRU and of the heads' first layers, and of hidden states.
        """
        energy_in, energy_out = linears(self.energy_head)
        move_in, move_out = linears(self.displacement_head)
        head_dtype = energy_in.weight.dtype
        # Both heads in one product: their first layers side by side, their second ones block
        # diagonal.
        heads_in = PaddedLinear.pack(
            torch.cat((energy_in.weight, move_in.weight)),
            torch.cat((energy_in.bias, move_in.bias)),
            dtype,
            head_dtype,
        )
        heads_out = PaddedLinear.pack(
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
                # Copies start at an aligned address, by which a product may round differently;
                # weights that are parts of one vector do not.
                from_neuron = w_i.clone()[:, :-1]
                b_i = b_i + from_neuron @ neuron.last_bias.clone()
                w_i = torch.cat((from_neuron @ neuron.last_weight.clone(), w_i[:, -1:]), dim=1)
            layers.append(PackedGRULayer.pack(w_i, b_i, w_h, b_h, dtype))
        return PackedCarrier(tuple(layers), heads_in, heads_out)


def _block_diagonal(first_OI: Tensor, second_OI: Tensor) -> Tensor:
    return torch.cat(
        (pad(first_OI, (0, second_OI.shape[1])), pad(second_OI, (first_OI.shape[1], 0)))
    )


def _pad_and_transpose(weight_OI: Tensor) -> Tensor:
    rows = padded_width(weight_OI.shape[0]) - weight_OI.shape[0]
    return pad(weight_OI, (0, 0, 0, rows)).t().contiguous()
