"""The networks of a step in tensor operations: neuron, GRU and heads.

Shape legend: N rows of a block, F numbers that the neuron reads of each, R stored rows, X padded
input width of a GRU layer, H hidden width, L GRU layers.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import gelu

from energy_flow.model.backends.interface import BlockProposal, HiddenBlock, Tape
from energy_flow.model.carrier import PackedCarrier, PackedGRULayer
from energy_flow.model.linear import WIDTH, constant_columns
from energy_flow.model.neuron import ENERGY, PackedNeuron


class TensorNetworks:
    """The packed networks of one model as a function of blocks; see ``ProposeBlock``."""

    def __init__(self, neuron: PackedNeuron, carrier: PackedCarrier) -> None:
        self._neuron, self._carrier = neuron, carrier

    def __call__(
        self,
        features_NF: Tensor,
        hidden: HiddenBlock | None,
        out: tuple[Tensor, ...] = (),
        tape: Tape | None = None,
    ) -> BlockProposal:
        """Propose for a block; see ``ProposeBlock``."""
        x_NX = apply_neuron(self._neuron, features_NF)
        states = []
        for number, layer in enumerate(self._carrier.layers):
            out_NH = out[number] if out else None
            if hidden is None:
                x_NX = _step_from_zero(layer, x_NX, out_NH, tape)
            else:
                x_NX = _step(layer, x_NX, hidden.rows[number], hidden.source, out_NH, tape)
            states.append(x_NX)
        energy_N, displacement_N3 = _apply_heads(self._carrier, x_NX, tape)
        return BlockProposal(tuple(states), energy_N, displacement_N3)


def apply_neuron(neuron: PackedNeuron, features_NF: Tensor) -> Tensor:
    """Return the first GRU layer's input [N, X]: the last hidden layer, e, zeros, 1.

    Differentiable. LayerNorm as in ``PackedNorm``; GELU is ``x Φ(x)`` in its exact, erf form
    (Hendrycks and Gimpel, "Gaussian error linear units", 2016).
    """
    dtype = neuron.first.weight.dtype
    features_NF = features_NF.to(dtype)
    energy_N1 = features_NF[:, ENERGY : ENERGY + 1]
    rows, width = features_NF.shape[0], neuron.last_weight.shape[1]
    x = gelu(neuron.first_norm(neuron.first(features_NF)))
    x = gelu(neuron.second_norm(neuron.second(x)))
    constant = constant_columns(rows, width + 1, energy_N1)
    return torch.cat((x, energy_N1, constant), dim=1)


def _step(
    layer: PackedGRULayer,
    x_NX: Tensor,
    hidden_RH: Tensor,
    source_N: Tensor,
    out_NH: Tensor | None,
    tape: Tape | None,
) -> Tensor:
    """Return the new hidden state [N, H]; the equations are those of ``PackedGRULayer``.

    Args:
        layer: the packed weights.
        x_NX: the input, with or without the constant columns that follow it.
        hidden_RH: stored states.
        source_N: row of each flow.
        out_NH: where to write the new state.
        tape: receives what the backward pass needs.
    """
    size, width = layer.hidden_size, layer.w_xn.shape[0]
    block = layer.join_state(x_NX, hidden_RH, source_N)
    # In place wherever possible: these columns are as wide as the products.
    gates = torch.mm(block, layer.w_rz).sigmoid_()
    r, z = gates[:, :size], gates[:, size : 2 * size]
    xn = torch.mm(block[:, :width], layer.w_xn)[:, :size]
    hn = torch.mm(block[:, width - WIDTH :], layer.w_hn)[:, :size]
    n = _tanh_(xn.addcmul_(r, hn))
    if tape is not None:
        tape.tensors += (gates, hn, n)
    h = block[:, width : width + size]
    return _store(layer, torch.lerp(n, h, z, out=_direct_target(layer, out_NH)), out_NH)


def _step_from_zero(
    layer: PackedGRULayer, x_NX: Tensor, out_NH: Tensor | None, tape: Tape | None
) -> Tensor:
    """Return the new hidden state [N, H] where the old one is zero, which is not multiplied."""
    size, width = layer.hidden_size, layer.w_xn.shape[0]
    x_NX = layer.append_constants(x_NX)
    xn = torch.mm(x_NX, layer.w_xn)[:, :size]
    gates = torch.mm(x_NX, layer.w_rz[:width]).sigmoid_()
    r, z = gates[:, :size], gates[:, size : 2 * size]
    n = _tanh_(xn.addcmul_(r, layer.w_hn[WIDTH - 1, :size]))
    if tape is not None:
        tape.tensors += (gates, n)
    state = torch.addcmul(n, z, n, value=-1, out=_direct_target(layer, out_NH))
    return _store(layer, state, out_NH)


def _apply_heads(carrier: PackedCarrier, x_NH: Tensor, tape: Tape | None) -> tuple[Tensor, Tensor]:
    """Return e' [N] and r [N, 3] of the last layer's state."""
    before = carrier.heads_in.padded(x_NH.to(carrier.heads_in.weight.dtype))
    if tape is not None:
        tape.tensors.append(before)
    heads = carrier.heads_out.padded(gelu(before))
    return torch.tanh(heads[:, 0].contiguous()), heads[:, 1:4]


def _direct_target(layer: PackedGRULayer, out_NH: Tensor | None) -> Tensor | None:
    """Return where a result can be written at once: products and states have one dtype."""
    return out_NH if layer.dtype == layer.w_xn.dtype else None


def _store(layer: PackedGRULayer, state_NH: Tensor, out_NH: Tensor | None) -> Tensor:
    """Return a result in the dtype of hidden states, written to ``out_NH`` if it is given."""
    if out_NH is None or out_NH is state_NH:
        return state_NH.to(layer.dtype)
    return out_NH.copy_(state_NH)


def _tanh_(x: Tensor) -> Tensor:
    # On a CPU, tanh of bfloat16 goes through float32 too, but much more slowly.
    if x.dtype == torch.bfloat16 and x.device.type == "cpu":
        return x.copy_(x.float().tanh_())
    return x.tanh_()
