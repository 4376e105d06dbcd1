"""Gradients of a step's proposals: with respect to flows, hidden states and packed weights.

The forward pass is the step's own. The backward pass is written out, because what autograd makes
of it costs half as much again: here gradients of gathered rows and of weights are added up in place
over the blocks of a step, those of weights in the precision that weights have, and what is cheap to
compute again is not kept.

Shape legend: N rows of a block, F flows of the step, R stored rows, H hidden width, X padded input
width of a GRU layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import gelu

from energy_flow.model.block_plan import BlockPlan
from energy_flow.model.carrier import PackedGRULayer, Tape
from energy_flow.model.hidden_state import Hidden
from energy_flow.model.linear import WIDTH, PaddedLinear, pad_columns
from energy_flow.model.networks import FlowBlock, Networks, Proposals

_aten = torch.ops.aten


def propose(
    networks: Networks, position_F3: Tensor, energy_F: Tensor, hidden: Hidden, plan: BlockPlan
) -> Proposals:
    """What the networks propose for all flows; differentiable where gradients are enabled."""
    if not torch.is_grad_enabled():
        return networks.propose(position_F3, energy_F, hidden, plan)
    call = _Call(networks, hidden.source, len(hidden.rows), plan)
    arguments = (call, position_F3, energy_F, *hidden.rows, *networks.weights)
    energy, raw, *rows = _Propose.apply(*arguments)  # type: ignore[no-untyped-call]
    return Proposals(tuple(rows), energy, raw)


@dataclass(frozen=True, slots=True)
class _Call:
    """What the networks of a step are called with, besides tensors that carry gradients.

    Attributes:
        source: row of each flow that has a stored state. stored: L, or 0 where no flow has one.
    """

    networks: Networks
    source: Tensor
    stored: int
    plan: BlockPlan


class _Propose(torch.autograd.Function):
    """A step's proposals as one operation."""

    @staticmethod
    def forward(ctx: Any, call: _Call, position: Tensor, energy: Tensor, *others: Tensor) -> Any:
        hidden = Hidden(others[: call.stored], call.source)
        tapes: list[Tape] | None = [] if call.networks.keeps_tapes else None
        made = call.networks.propose(position, energy, hidden, call.plan, tapes)
        ctx.call = call
        ctx.set_materialize_grads(False)
        taped = [tensor for tape in tapes or () for tensor in tape.tensors]
        ctx.save_for_backward(position, energy, made.energy, *hidden.rows, *made.rows, *taped)
        return (made.energy, made.raw, *made.rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        position, energy, new_energy, *rest = ctx.saved_tensors
        stored, layers = ctx.call.stored, len(ctx.call.networks.carrier.layers)
        before, after = rest[:stored], rest[stored : stored + layers]
        work = _Backward(ctx.call, position, energy, new_energy, before, after)
        work.through(rest[stored + layers :], grads)
        return (None, *work.flows(), *work.stored(), *work.sums)


class _Backward:
    """The backward pass of one step, block by block.

    Args:
        before: stored hidden states, L tensors [R, H] or none. after: new ones, L tensors [F, H].

    Attributes:
        sums: gradients of ``networks.weights``.
    """

    def __init__(
        self,
        call: _Call,
        position_F3: Tensor,
        energy_F: Tensor,
        new_energy_F: Tensor,
        before: Sequence[Tensor],
        after: Sequence[Tensor],
    ) -> None:
        self._call = call
        self._before, self._after = before, after
        self._position, self._energy, self._new_energy = position_F3, energy_F, new_energy_F
        networks = call.networks
        self.sums = [torch.zeros_like(weight) for weight in networks.weights]
        # In the precision of weights: on a CPU, adding to rows of bfloat16 converts all of them.
        self._stored = [torch.zeros_like(rows, dtype=networks.state_dtype) for rows in before]
        self._neuron_sums = self.sums[: len(networks.neuron.tensors())]
        self._carrier_sums = networks.carrier.like(self.sums[len(self._neuron_sums) :])
        # The neuron is narrow, so all its rows at once still fit into the cache.
        self._leaves = [
            tensor.detach().requires_grad_()
            for tensor in (position_F3, energy_F, *networks.neuron.tensors())
        ]
        with torch.enable_grad():
            neuron = networks.neuron.like(self._leaves[2:])
            self._perceived = neuron(self._leaves[0], self._leaves[1])
        self._perceived_grad = torch.empty_like(self._perceived)

    def through(self, taped: Sequence[Tensor], grads: Sequence[Tensor | None]) -> None:
        """Goes through all blocks.

        Args:
            taped: the tapes of all blocks, one after the other; without them, blocks are computed
                again one by one.
            grads: of the new energies, the raw displacements and the new hidden states.
        """
        networks, left = self._call.networks, list(taped)
        stepped = self._call.source.shape[0]
        for block in networks.blocks(self._energy.shape[0], stepped, self._call.plan):
            kept = (2 if block.fresh else 3) * len(networks.carrier.layers) + 1
            of_block, left = left[:kept], left[kept:]
            tensors = of_block or self._recorded(block).tensors
            self._through_block(block, [tensor[: block.rows] for tensor in tensors], grads)

    def flows(self) -> tuple[Tensor, Tensor]:
        """Gradients of positions and energies, and with them those of the neuron's weights."""
        position, energy, *weights = torch.autograd.grad(
            self._perceived, self._leaves, self._perceived_grad
        )
        for total, grad in zip(self._neuron_sums, weights, strict=True):
            total.copy_(grad)
        return position, energy

    def stored(self) -> list[Tensor]:
        """Gradients of the stored hidden states."""
        return [
            total.to(rows.dtype) for total, rows in zip(self._stored, self._before, strict=True)
        ]

    def _recorded(self, block: FlowBlock) -> Tape:
        tape = Tape()
        hidden = Hidden(tuple(self._before), self._call.source)
        self._call.networks.propose_block(self._position, self._energy, hidden, block, tape=tape)
        return tape

    def _through_block(
        self, block: FlowBlock, tape: list[Tensor], grads: Sequence[Tensor | None]
    ) -> None:
        rows = slice(block.start, block.end)
        energy_grad, raw_grad, *hidden_grads = (
            None if grad is None else grad[rows] for grad in grads
        )
        carrier, sums = self._call.networks.carrier, self._carrier_sums
        grad_NH = self._through_heads(tape.pop(), rows, energy_grad, raw_grad)
        for number in reversed(range(len(carrier.layers))):
            layer, total = carrier.layers[number], sums.layers[number]
            hidden_grad = hidden_grads[number]
            if hidden_grad is not None:
                grad_NH = grad_NH.add_(hidden_grad)
            x = self._after[number - 1][rows] if number else self._perceived.detach()[rows]
            if block.fresh:
                candidate, gates = tape.pop(), tape.pop()
                grad_NH = _through_zero_state(layer, total, x, gates, candidate, grad_NH)
            else:
                source = self._call.source[rows]
                joined = layer.joined(x, self._before[number], source)
                candidate, recurrent, gates = tape.pop(), tape.pop(), tape.pop()
                kept = _Kept(joined, gates, recurrent, candidate)
                grad_NH, state_grad = _through_layer(layer, total, kept, grad_NH, x.shape[1])
                stored = self._stored[number]
                stored.index_add_(0, source, state_grad.to(stored.dtype))
        self._perceived_grad[rows] = grad_NH

    def _through_heads(
        self, before: Tensor, rows: slice, energy_grad: Tensor | None, raw_grad: Tensor | None
    ) -> Tensor:
        """The gradient of the last layer's state [N, H].

        Args:
            before: the first layer of the heads before its activation.
        """
        carrier, sums = self._call.networks.carrier, self._carrier_sums
        e = self._new_energy[rows]
        out_grad = before.new_zeros((e.shape[0], carrier.heads_out.weight.shape[1]))
        if energy_grad is not None:
            out_grad[:, 0] = energy_grad * (1.0 - e * e)
        if raw_grad is not None:
            out_grad[:, 1:4] = raw_grad
        grad = _through_linear(carrier.heads_out, sums.heads_out, gelu(before), out_grad)
        grad = _aten.gelu_backward(grad, before)
        state = self._after[-1][rows]
        x = state.to(before.dtype)
        state_grad = _through_linear(carrier.heads_in, sums.heads_in, x, grad)
        return state_grad.to(carrier.layers[-1].w_xn.dtype)


@dataclass(frozen=True, slots=True)
class _Kept:
    """Of a GRU layer's forward pass: ``[x, zeros, 1, h]``, r and z, ``h W_hn + b``, n."""

    joined: Tensor
    gates: Tensor
    recurrent: Tensor
    candidate: Tensor


def _through_layer(
    layer: PackedGRULayer, total: PackedGRULayer, kept: _Kept, grad_NH: Tensor, given: int
) -> tuple[Tensor, Tensor]:
    """Gradients of a GRU layer's input, its ``given`` first columns, and stored state [N, H].

    With ``h' = n + z ∘ (h - n)``, ``n = tanh(x W_xn + r ∘ q)`` and ``q = h W_hn + b_hn``.
    """
    size, width = layer.hidden_size, layer.w_xn.shape[0]
    r, z = kept.gates[:, :size], kept.gates[:, size : 2 * size]
    h = kept.joined[:, width : width + size]
    candidate_grad = _through_candidate(grad_NH, z, kept.candidate)
    gates_grad, r_grad, z_grad = _like_gates(kept.gates, size)
    torch.mul(candidate_grad, kept.recurrent, out=r_grad)
    torch.sub(h, kept.candidate, out=z_grad).mul_(grad_NH)
    _through_sigmoid_(gates_grad, kept.gates)
    x_grad = pad_columns(candidate_grad, layer.w_xn.shape[1])
    q_grad = pad_columns(candidate_grad * r, layer.w_hn.shape[1])
    x, q = kept.joined[:, :width], kept.joined[:, width - WIDTH :]
    _add_product(total.w_rz, kept.joined, gates_grad)
    _add_product(total.w_xn, x, x_grad)
    _add_product(total.w_hn, q, q_grad)
    into_x = _through_input(layer, gates_grad, x_grad, given)
    of_h, of_q = slice(width, width + size), slice(WIDTH, WIDTH + size)
    state_grad = torch.mm(gates_grad, layer.w_rz[of_h].t()).addmm_(q_grad, layer.w_hn[of_q].t())
    return into_x, state_grad.addcmul_(grad_NH, z)


def _through_zero_state(
    layer: PackedGRULayer,
    total: PackedGRULayer,
    x_NX: Tensor,
    gates: Tensor,
    candidate: Tensor,
    grad_NH: Tensor,
) -> Tensor:
    """As :func:`_through_layer` with h = 0: ``h' = n - z ∘ n`` and ``q = b_hn``."""
    size, width = layer.hidden_size, layer.w_xn.shape[0]
    r, z = gates[:, :size], gates[:, size : 2 * size]
    x = layer.with_constants(x_NX)
    candidate_grad = _through_candidate(grad_NH, z, candidate)
    gates_grad, r_grad, z_grad = _like_gates(gates, size)
    torch.mul(candidate_grad, layer.w_hn[WIDTH - 1, :size], out=r_grad)
    torch.mul(candidate, grad_NH, out=z_grad).neg_()
    _through_sigmoid_(gates_grad, gates)
    x_grad = pad_columns(candidate_grad, layer.w_xn.shape[1])
    total.w_hn[WIDTH - 1, :size] += (candidate_grad * r).sum(0, dtype=total.w_hn.dtype)
    _add_product(total.w_rz[:width], x, gates_grad)
    _add_product(total.w_xn, x, x_grad)
    return _through_input(layer, gates_grad, x_grad, x_NX.shape[1])


def _through_input(layer: PackedGRULayer, gates_grad: Tensor, x_grad: Tensor, given: int) -> Tensor:
    """The gradient of the ``given`` first columns of a layer's input."""
    return torch.mm(gates_grad, layer.w_rz[:given].t()).addmm_(x_grad, layer.w_xn[:given].t())


def _through_linear(
    linear: PaddedLinear, total: PaddedLinear, x_NK: Tensor, grad_NO: Tensor
) -> Tensor:
    """The gradient of a linear layer's input [N, K]; ``grad`` has the padded output width."""
    width = x_NK.shape[1]
    _add_product(total.weight[:width], x_NK, grad_NO)
    total.bias.add_(grad_NO.sum(0))
    return grad_NO @ linear.weight[:width].t()


def _through_candidate(grad_NH: Tensor, z_NH: Tensor, candidate_NH: Tensor) -> Tensor:
    """The gradient of n before its tanh, by ``h' = (1 - z) ∘ n + …``."""
    grad = torch.addcmul(grad_NH, grad_NH, z_NH, value=-1)
    _aten.tanh_backward.grad_input(grad, candidate_NH, grad_input=grad)
    return grad


def _like_gates(gates: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Room for the gradient of r and z side by side, and the columns of each; zero beyond them."""
    grad = torch.empty_like(gates)
    grad[:, 2 * size :] = 0.0
    return grad, grad[:, :size], grad[:, size : 2 * size]


def _through_sigmoid_(grad: Tensor, gates: Tensor) -> None:
    _aten.sigmoid_backward.grad_input(grad, gates, grad_input=grad)


def _add_product(total_KO: Tensor, x_NK: Tensor, grad_NO: Tensor) -> None:
    """``total += xᵀ grad``, added up in the precision of the total."""
    if total_KO.dtype == x_NK.dtype:
        total_KO.addmm_(x_NK.t(), grad_NO)
    else:
        total_KO.add_(torch.mm(x_NK.t(), grad_NO))
