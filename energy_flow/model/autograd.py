"""A step's proposals as one differentiable operation.

The forward pass is ``Networks.propose``, the same that a step without gradients calls; the
backward pass is ``backward.BackwardPass``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from energy_flow.model.backends.interface import Tape
from energy_flow.model.backward import BackwardPass, ForwardCall
from energy_flow.model.block_plan import BlockPlan
from energy_flow.model.hidden_state import Hidden
from energy_flow.model.networks import Networks, Proposals


def propose(networks: Networks, features_NF: Tensor, hidden: Hidden, plan: BlockPlan) -> Proposals:
    """Return what the networks propose for all flows, with gradients.

    Args:
        networks: packed with gradients enabled.
        features_NF: x, y, z, e, and what the flows sense.
        hidden: stored states.
        plan: block heights.
    """
    call = ForwardCall(networks, hidden.source, len(hidden.rows), plan)
    arguments = (call, features_NF, *hidden.rows, *networks.weights)
    energy, raw, *rows = _Propose.apply(*arguments)  # type: ignore[no-untyped-call]
    return Proposals(tuple(rows), energy, raw)


class _Propose(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: ForwardCall, features: Tensor, *rest: Tensor) -> Any:
        hidden = Hidden(rest[: call.stored], call.source)
        tapes: list[Tape] | None = [] if call.networks.keeps_tapes else None
        proposals = call.networks.propose(features, hidden, call.plan, tapes)
        ctx.call = call
        ctx.set_materialize_grads(False)
        taped = [tensor for tape in tapes or () for tensor in tape.tensors]
        ctx.save_for_backward(features, proposals.energy, *hidden.rows, *proposals.rows, *taped)
        return (proposals.energy, proposals.raw, *proposals.rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        features, new_energy, *rest = ctx.saved_tensors
        stored, layers = ctx.call.stored, len(ctx.call.networks.carrier.layers)
        before, after = rest[:stored], rest[stored : stored + layers]
        backward = BackwardPass(ctx.call, features, new_energy, before, after)
        backward.run(rest[stored + layers :], grads)
        features_grad = backward.feature_gradients()
        stored_grads, weight_grads = backward.stored_gradients(), backward.weight_gradients
        return (None, features_grad, *stored_grads, *weight_grads)
