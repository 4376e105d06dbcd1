"""The backward pass of a step's proposals: for flows, hidden states and packed weights.

It is the chain rule through the equations of ``backends.tensor.networks``, written out, because
autograd's own takes longer: here gradients of gathered rows and of weights are accumulated in place
over the blocks of a step, those of weights in the precision that weights have, and what is cheap to
compute again is not kept. Without tapes, all of it is computed again, block by
block (gradient checkpointing: Chen et al., "Training deep nets with sublinear memory cost", 2016).

Shape legend: N rows of a block, F flows of the step, R stored rows, H hidden width, X padded input
width of a GRU layer, L GRU layers, K and O input and output width of a product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import gelu

from energy_flow.model.backends.interface import Tape
from energy_flow.model.backends.tensor.networks import apply_neuron
from energy_flow.model.block_plan import BlockPlan
from energy_flow.model.carrier import PackedGRULayer
from energy_flow.model.hidden_state import Hidden
from energy_flow.model.linear import WIDTH, PaddedLinear, pad_columns
from energy_flow.model.networks import FlowBlock, Networks
from energy_flow.runtime.ordered_sums import add_rows_

_aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class ForwardCall:
    """What the networks of a step are called with, besides tensors that carry gradients.

    Attributes:
        networks: packed with gradients enabled.
        source: row of each flow that has a stored state, int64.
        stored: L, or 0 where no flow has a stored state.
        plan: block heights.
    """

    networks: Networks
    source: Tensor
    stored: int
    plan: BlockPlan


class BackwardPass:
    """The backward pass of one step, block by block.

    Args:
        call: of the forward pass.
        features_F: what the neuron reads of the flows, [F, ...].
        new_energy_F: proposed energies.
        before: stored hidden states, L tensors [R, H] or none.
        after: new hidden states, L tensors [F, H].

    Attributes:
        weight_gradients: of ``networks.weights``, in their order.
    """

    def __init__(
        self,
        call: ForwardCall,
        features_F: Tensor,
        new_energy_F: Tensor,
        before: Sequence[Tensor],
        after: Sequence[Tensor],
    ) -> None:
        self._call = call
        self._before, self._after = before, after
        self._features, self._new_energy = features_F, new_energy_F
        networks = call.networks
        self.weight_gradients = [torch.zeros_like(weight) for weight in networks.weights]
        # In the precision of weights: on a CPU, adding to rows of bfloat16 converts all of them.
        self._stored_grads = [torch.zeros_like(rows, dtype=networks.state_dtype) for rows in before]
        neuron_weights = len(networks.neuron.tensors())
        self._neuron_grads = self.weight_gradients[:neuron_weights]
        self._carrier_grads = networks.carrier.with_tensors(self.weight_gradients[neuron_weights:])
        # The neuron is narrow, so all its rows at once still fit into the cache.
        self._leaves = [
            tensor.detach().requires_grad_() for tensor in (features_F, *networks.neuron.tensors())
        ]
        with torch.enable_grad():
            neuron = networks.neuron.with_tensors(self._leaves[1:])
            self._neuron_output = apply_neuron(neuron, self._leaves[0])
        self._neuron_output_grad = torch.empty_like(self._neuron_output)

    def run(self, taped: Sequence[Tensor], grads: Sequence[Tensor | None]) -> None:
        """Accumulate the gradients of all blocks.

        Args:
            taped: the tapes of all blocks, one after the other; without them, blocks are computed
                again one by one.
            grads: of the new energies, the raw displacements and the new hidden states.
        """
        networks, rest = self._call.networks, list(taped)
        stepped = self._call.source.shape[0]
        for block in networks.blocks(self._features.shape[0], stepped, self._call.plan):
            kept = (2 if block.is_first_step else 3) * len(networks.carrier.layers) + 1
            of_block, rest = rest[:kept], rest[kept:]
            tensors = of_block or self._compute_tape(block).tensors
            self._run_block(block, [tensor[: block.rows] for tensor in tensors], grads)

    def feature_gradients(self) -> Tensor:
        """Return the gradient of what the neuron reads of the flows, as wide as that.

        Those of the neuron's weights are computed with them, and stored.
        """
        features, *weights = torch.autograd.grad(
            self._neuron_output, self._leaves, self._neuron_output_grad
        )
        for total, grad in zip(self._neuron_grads, weights, strict=True):
            total.copy_(grad)
        return features

    def stored_gradients(self) -> list[Tensor]:
        """Return the gradients of the stored hidden states, L tensors [R, H] or none."""
        return [
            total.to(rows.dtype)
            for total, rows in zip(self._stored_grads, self._before, strict=True)
        ]

    def _compute_tape(self, block: FlowBlock) -> Tape:
        tape = Tape()
        hidden = Hidden(tuple(self._before), self._call.source)
        self._call.networks.propose_block(self._features, hidden, block, tape=tape)
        return tape

    def _run_block(
        self, block: FlowBlock, tape: list[Tensor], grads: Sequence[Tensor | None]
    ) -> None:
        rows = slice(block.start, block.end)
        energy_grad, raw_grad, *hidden_grads = (
            None if grad is None else grad[rows] for grad in grads
        )
        carrier, totals = self._call.networks.carrier, self._carrier_grads
        grad_NH = self._heads_backward(tape.pop(), rows, energy_grad, raw_grad)
        for number in reversed(range(len(carrier.layers))):
            layer, total = carrier.layers[number], totals.layers[number]
            hidden_grad = hidden_grads[number]
            if hidden_grad is not None:
                grad_NH = grad_NH.add_(hidden_grad)
            x = self._after[number - 1][rows] if number else self._neuron_output.detach()[rows]
            if block.is_first_step:
                candidate, gates = tape.pop(), tape.pop()
                grad_NH = _gru_backward_from_zero(layer, total, x, gates, candidate, grad_NH)
            else:
                source = self._call.source[rows]
                joined = layer.join_state(x, self._before[number], source)
                candidate, recurrent, gates = tape.pop(), tape.pop(), tape.pop()
                kept = _KeptLayer(joined, gates, recurrent, candidate)
                grad_NH, state_grad = _gru_backward(layer, total, kept, grad_NH, x.shape[1])
                stored_grad = self._stored_grads[number]
                add_rows_(stored_grad, source, state_grad.to(stored_grad.dtype))
        self._neuron_output_grad[rows] = grad_NH

    def _heads_backward(
        self, before: Tensor, rows: slice, energy_grad: Tensor | None, raw_grad: Tensor | None
    ) -> Tensor:
        """Return the gradient of the last layer's state [N, H].

        Args:
            before: the first layer of the heads before its activation.
            rows: the block's flows.
            energy_grad: of the new energies [N].
            raw_grad: of the raw displacements [N, 3].
        """
        carrier, totals = self._call.networks.carrier, self._carrier_grads
        e = self._new_energy[rows]
        out_grad = before.new_zeros((e.shape[0], carrier.heads_out.weight.shape[1]))
        if energy_grad is not None:
            # d tanh(x) / dx = 1 - tanh²(x)
            out_grad[:, 0] = energy_grad * (1.0 - e * e)
        if raw_grad is not None:
            out_grad[:, 1:4] = raw_grad
        grad = _linear_backward(carrier.heads_out, totals.heads_out, gelu(before), out_grad)
        grad = _aten.gelu_backward(grad, before)
        x = self._after[-1][rows].to(carrier.heads_in.weight.dtype)
        state_grad = _linear_backward(carrier.heads_in, totals.heads_in, x, grad)
        return state_grad.to(carrier.layers[-1].w_xn.dtype)


@dataclass(frozen=True, slots=True)
class _KeptLayer:
    """What is kept of a GRU layer's forward pass.

    Attributes:
        joined: ``[x, zeros, 1, h]``.
        gates: r and z, [N, ≥ 2 H].
        recurrent: q = ``h W_hn + b_hn``, [N, H].
        candidate: n, [N, H].
    """

    joined: Tensor
    gates: Tensor
    recurrent: Tensor
    candidate: Tensor


def _gru_backward(
    layer: PackedGRULayer, total: PackedGRULayer, kept: _KeptLayer, grad_NH: Tensor, given: int
) -> tuple[Tensor, Tensor]:
    """Return the gradients of a GRU layer's input, its ``given`` first columns, and state [N, H].

    With ``h' = n + z ∘ (h - n)``, ``n = tanh(x W_xn + r ∘ q)`` and ``q = h W_hn + b_hn``.
    """
    size, width = layer.hidden_size, layer.w_xn.shape[0]
    r, z = kept.gates[:, :size], kept.gates[:, size : 2 * size]
    h = kept.joined[:, width : width + size]
    candidate_grad = _candidate_backward(grad_NH, z, kept.candidate)
    gates_grad, r_grad, z_grad = _empty_gates_grad(kept.gates, size)
    torch.mul(candidate_grad, kept.recurrent, out=r_grad)
    torch.sub(h, kept.candidate, out=z_grad).mul_(grad_NH)
    _sigmoid_backward_(gates_grad, kept.gates)
    x_grad = pad_columns(candidate_grad, layer.w_xn.shape[1])
    q_grad = pad_columns(candidate_grad * r, layer.w_hn.shape[1])
    x, q = kept.joined[:, :width], kept.joined[:, width - WIDTH :]
    _add_product(total.w_rz, kept.joined, gates_grad)
    _add_product(total.w_xn, x, x_grad)
    _add_product(total.w_hn, q, q_grad)
    input_grad = _input_backward(layer, gates_grad, x_grad, given)
    of_h, of_q = slice(width, width + size), slice(WIDTH, WIDTH + size)
    state_grad = torch.mm(gates_grad, layer.w_rz[of_h].t()).addmm_(q_grad, layer.w_hn[of_q].t())
    return input_grad, state_grad.addcmul_(grad_NH, z)


def _gru_backward_from_zero(
    layer: PackedGRULayer,
    total: PackedGRULayer,
    x_NX: Tensor,
    gates: Tensor,
    candidate: Tensor,
    grad_NH: Tensor,
) -> Tensor:
    """Return the gradient of the input as :func:`_gru_backward` does, with h = 0.

    ``h' = n - z ∘ n`` and ``q = b_hn``.
    """
    size, width = layer.hidden_size, layer.w_xn.shape[0]
    r, z = gates[:, :size], gates[:, size : 2 * size]
    x = layer.append_constants(x_NX)
    candidate_grad = _candidate_backward(grad_NH, z, candidate)
    gates_grad, r_grad, z_grad = _empty_gates_grad(gates, size)
    torch.mul(candidate_grad, layer.w_hn[WIDTH - 1, :size], out=r_grad)
    torch.mul(candidate, grad_NH, out=z_grad).neg_()
    _sigmoid_backward_(gates_grad, gates)
    x_grad = pad_columns(candidate_grad, layer.w_xn.shape[1])
    total.w_hn[WIDTH - 1, :size] += (candidate_grad * r).sum(0, dtype=total.w_hn.dtype)
    _add_product(total.w_rz[:width], x, gates_grad)
    _add_product(total.w_xn, x, x_grad)
    return _input_backward(layer, gates_grad, x_grad, x_NX.shape[1])


def _input_backward(
    layer: PackedGRULayer, gates_grad: Tensor, x_grad: Tensor, given: int
) -> Tensor:
    """Return the gradient of the ``given`` first columns of a layer's input."""
    return torch.mm(gates_grad, layer.w_rz[:given].t()).addmm_(x_grad, layer.w_xn[:given].t())


def _linear_backward(
    linear: PaddedLinear, total: PaddedLinear, x_NK: Tensor, grad_NO: Tensor
) -> Tensor:
    """Return the gradient of a linear layer's input [N, K]; O is the padded output width."""
    width = x_NK.shape[1]
    total.bias.add_(grad_NO.sum(0))
    grad_NO = grad_NO.to(linear.weight.dtype)
    _add_product(total.weight[:width], x_NK, grad_NO)
    return grad_NO @ linear.weight[:width].t()


def _candidate_backward(grad_NH: Tensor, z_NH: Tensor, candidate_NH: Tensor) -> Tensor:
    """Return the gradient of n before its tanh, by ``h' = (1 - z) ∘ n + …``."""
    grad = torch.addcmul(grad_NH, grad_NH, z_NH, value=-1)
    _aten.tanh_backward.grad_input(grad, candidate_NH, grad_input=grad)
    return grad


def _empty_gates_grad(gates: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Allocate the gradient of r and z side by side, zero beyond them; with the columns of each."""
    grad = torch.empty_like(gates)
    grad[:, 2 * size :] = 0.0
    return grad, grad[:, :size], grad[:, size : 2 * size]


def _sigmoid_backward_(grad: Tensor, gates: Tensor) -> None:
    _aten.sigmoid_backward.grad_input(grad, gates, grad_input=grad)


def _add_product(total_KO: Tensor, x_NK: Tensor, grad_NO: Tensor) -> None:
    """Compute ``total += xᵀ grad``, accumulated in the precision of the total."""
    if total_KO.dtype == x_NK.dtype:
        total_KO.addmm_(x_NK.t(), grad_NO)
    else:
        total_KO.add_(torch.mm(x_NK.t(), grad_NO))
