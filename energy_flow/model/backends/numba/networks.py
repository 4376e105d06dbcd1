"""The networks of a step on a CPU: PyTorch's matrix products, and compiled passes between them.

The result is that of ``tensor.networks``, to rounding.

Shape legend: N rows of a block, F numbers that the neuron reads of each, X padded input width of a
GRU layer, H hidden width, L GRU layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from energy_flow.model.backends.interface import BlockProposal, HiddenBlock, Tape
from energy_flow.model.backends.numba import network_passes
from energy_flow.model.carrier import PackedCarrier
from energy_flow.model.linear import WIDTH, padded_width
from energy_flow.model.neuron import PackedNeuron
from energy_flow.runtime.numba_kernel import array

HEADS = 4
"""Outputs of the heads: the energy and three displacements."""


class NumbaNetworks:
    """The packed networks of one model as a function of blocks; see ``ProposeBlock``."""

    def __init__(self, neuron: PackedNeuron, carrier: PackedCarrier) -> None:
        self._neuron, self._carrier = neuron, carrier
        first, second = neuron.first_norm, neuron.second_norm
        self._first = _arrays(neuron.first.weight, neuron.first.bias, first.weight, first.bias)
        self._second = _arrays(neuron.second.bias, second.weight, second.bias)
        self._first_eps, self._second_eps = np.float32(first.eps), np.float32(second.eps)
        # For flows whose state is zero: the state's part of a candidate, and the state.
        self._recurrent = [array(layer.w_hn[WIDTH - 1 : WIDTH]) for layer in carrier.layers]
        self._zeros = [array(torch.zeros_like(layer.w_hn[:1])) for layer in carrier.layers]
        weight = carrier.heads_out.weight[:, :HEADS].detach().t().contiguous()
        self._heads = _arrays(weight, carrier.heads_out.bias)

    def __call__(
        self,
        features_NF: Tensor,
        hidden: HiddenBlock | None,
        out: tuple[Tensor, ...] = (),
        tape: Tape | None = None,
    ) -> BlockProposal:
        """Propose for a block; see ``ProposeBlock``."""
        rows, layers = features_NF.shape[0], self._carrier.layers
        x_NX = self._empty_input(0, rows, hidden)
        self._apply_neuron(features_NF, x_NX)
        states = []
        for number, layer in enumerate(layers):
            shape = (rows, layer.hidden_size)
            state = out[number] if out else layer.w_xn.new_empty(shape, dtype=layer.dtype)
            is_last = number + 1 == len(layers)
            after = (
                self._empty_heads_input(state)
                if is_last
                else self._empty_input(number + 1, rows, hidden)
            )
            self._step(number, x_NX, hidden, state, after, tape)
            states.append(state)
            x_NX = after
        before = self._carrier.heads_in.padded(x_NX)
        if tape is not None:
            tape.tensors.append(before)
        energy, displacement = features_NF.new_empty(rows), features_NF.new_empty((rows, 3))
        network_passes.output_heads(array(before), *self._heads, array(energy), array(displacement))
        return BlockProposal(tuple(states), energy, displacement)

    def _empty_input(self, number: int, rows: int, hidden: HiddenBlock | None) -> Tensor:
        """Allocate a layer's input: ``[x, zeros, 1, h, zeros]``, or ``[x, zeros, 1]``."""
        layer = self._carrier.layers[number]
        width = layer.w_xn.shape[0]
        columns = width if hidden is None else width + padded_width(layer.hidden_size)
        return layer.w_xn.new_empty((rows, columns))

    def _empty_heads_input(self, state_NH: Tensor) -> Tensor:
        """Allocate the heads' input; return the state itself where that is the same."""
        weight = self._carrier.heads_in.weight
        if state_NH.dtype == weight.dtype and state_NH.shape[1] == weight.shape[0]:
            return state_NH
        return weight.new_empty((state_NH.shape[0], weight.shape[0]))

    def _apply_neuron(self, features_NF: Tensor, out_NX: Tensor) -> None:
        """Write the first GRU layer's input into its columns of ``out_NX``."""
        features = array(features_NF)
        weight = self._neuron.second.weight
        once = weight.new_empty((features_NF.shape[0], weight.shape[0]))
        network_passes.neuron_layer1(features, *self._first, self._first_eps, array(once))
        product = array(torch.mm(once, weight))
        end = self._carrier.layers[0].w_xn.shape[0]
        network_passes.neuron_layer2(
            product, *self._second, self._second_eps, features, array(out_NX), end
        )

    def _step(
        self,
        number: int,
        x_NX: Tensor,
        hidden: HiddenBlock | None,
        state_NH: Tensor,
        after: Tensor,
        tape: Tape | None,
    ) -> None:
        """Compute one GRU layer.

        Args:
            number: of the layer, from 0.
            x_NX: from :meth:`_empty_input`, with the input in its columns.
            hidden: stored states; None stands for zeros.
            state_NH: receives the new state.
            after: receives it too, where the next product reads it.
            tape: receives what the backward pass needs.
        """
        layer = self._carrier.layers[number]
        size, width = layer.hidden_size, layer.w_xn.shape[0]
        if hidden is None:
            gates = torch.mm(x_NX, layer.w_rz[:width])
            candidate, recurrent = torch.mm(x_NX, layer.w_xn), None
            of_state = (self._recurrent[number], self._zeros[number], 0)
        else:
            x = array(x_NX)
            network_passes.gather(array(hidden.rows[number]), array(hidden.source), x, width)
            gates = torch.mm(x_NX, layer.w_rz)
            candidate = torch.mm(x_NX[:, :width], layer.w_xn)
            recurrent = torch.mm(x_NX[:, width - WIDTH :], layer.w_hn)
            of_state = (array(recurrent), x, width)
        into = array(state_NH)
        copy = into[:, :0] if after is state_NH else array(after)
        is_last = number + 1 == len(self._carrier.layers)
        end = after.shape[1] if is_last else self._carrier.layers[number + 1].w_xn.shape[0]
        one = np.float32(0.0 if is_last else 1.0)
        keeps = tape is not None
        network_passes.gru_step(
            array(gates), array(candidate), *of_state, into, copy, end, one, keeps
        )
        if tape is not None:
            kept = (gates, recurrent, candidate) if recurrent is not None else (gates, candidate)
            tape.tensors += (gates, *(column[:, :size] for column in kept[1:]))


def _arrays(*tensors: Tensor) -> tuple[NDArray[Any], ...]:
    return tuple(map(array, tensors))
