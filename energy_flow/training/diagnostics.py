"""Figures of one optimiser step: what its flows do, how alike predictions are, gradient norms.

Shape legend: N flows, B rows, O output embedding width, P planes, S surface cells.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from energy_flow.config.flow_config import FlowConfig
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.step_types import Decisions
from energy_flow.telemetry.counters import Counters

PARTS = ("input_mapper", "neuron", "carrier", "output_mapper")


class ProposalSums:
    """Sums over the steps of runs of the displacements that the networks propose, without noise.

    Noise hides that all flows move alike, so displacements are observed before it is added. The
    sums stay on the device until they are read.

    Args:
        run: config of the runs.
    """

    def __init__(self, run: FlowConfig) -> None:
        self._scale = run.displacement_scale
        self._limit = run.max_displacement
        self._strength = run.field_strength
        self._sums: list[Tensor] = []

    def __call__(self, state: FlowState, decided: Decisions) -> None:
        """Add one step.

        Args:
            state: flows of the step.
            decided: what was decided about them.
        """
        proposed_N3 = decided.proposals.raw.detach().to(torch.float64) * self._scale
        if self._strength:
            energy_N = decided.proposals.energy.detach().to(torch.float64)
            proposed_N3[:, 2] += self._scale * self._strength * energy_N
        z_N = proposed_N3[:, 2].clamp(-self._limit, self._limit)
        saturated = (proposed_N3.abs() >= self._limit).sum()
        count = torch.full_like(saturated, len(proposed_N3))
        self._sums.append(torch.stack((count, saturated, z_N.sum(), (z_N * z_N).sum())))

    def read(self) -> dict[str, float]:
        """Return mean and population variance of the proposed z, and the share that is clamped."""
        count, saturated, z, zz = torch.stack(self._sums).sum(0).tolist()
        mean = z / count
        return {
            "z_proposal_mean": mean,
            "z_proposal_variance": max(zz / count - mean * mean, 0.0),
            "saturated_share": saturated / (3 * count),
        }


def describe_paths(counters: Counters) -> dict[str, Any]:
    """Return what the flows of some runs did, as shares and means.

    Args:
        counters: of the runs.
    """
    completed = max(counters.completed, 1)
    return {
        "z_displacement_variance": counters.to_dict()["z_displacement_variance"],
        "planes": {name: count / completed for name, count in counters.planes.items()},
        "reasons": {name: count / completed for name, count in counters.terminated.items()},
        "path_steps": counters.mean_path_steps,
        "path_length": counters.mean_path_length,
        "spawned": counters.spawned / counters.initial,
    }


def describe_predictions(embedding_BO: Tensor, reached_BPS: Tensor) -> dict[str, float]:
    """Return how alike predictions are, and which share of the surface cells is reached.

    Args:
        embedding_BO: predictions for different rows.
        reached_BPS: whether a score touches a surface cell, by exit plane, bool.

    Returns:
        ``alike``, the mean cosine of two different predictions, and ``covered``.
    """
    unit_BO = normalize(embedding_BO.detach().to(torch.float64))
    rows = len(unit_BO)
    # The sum of the cosines of all pairs follows from the length of the sum of the vectors.
    pairs = max(rows * (rows - 1), 1)
    alike = (float(unit_BO.sum(0).square().sum()) - rows) / pairs if rows > 1 else 0.0
    return {"alike": alike, "covered": float(reached_BPS.any(dim=1).double().mean())}


def gradient_norms(model: nn.Module) -> dict[str, float]:
    """Return the 2-norm of the gradient of each part, and of all together as ``all``.

    Parts without parameters are left out.

    Args:
        model: has the submodules ``PARTS``.
    """
    squares, parts = [], []
    for part in PARTS:
        parameters = list(model.get_submodule(part).parameters())
        if not parameters:
            continue
        parts.append(part)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norms = torch._foreach_norm(gradients) if gradients else [parameters[0].new_zeros(())]
        squares.append(torch.stack([norm.to(torch.float64) for norm in norms]).square().sum())
    norms_of_parts = torch.stack([*squares, torch.stack(squares).sum()]).sqrt().tolist()
    return dict(zip((*parts, "all"), norms_of_parts, strict=True))
