"""Signs that a training collapses: flows that all do the same, answers that are all the same.

Shape legend: N flows, B rows, E embedding width, P planes, S surface cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.step_types import Decisions
from energy_flow.telemetry.counters import Counters

PARTS = ("input_mapper", "neuron", "carrier", "output_mapper")
STEPS_IN_A_ROW = 10
"""A sign must be seen in so many steps before it is told."""


class ProposalSums:
    """Watches a run's steps: how far its flows would move, before noise.

    What noise adds hides a collapse, so the displacement is looked at without it. Sums stay on the
    device until they are read.
    """

    def __init__(self, displacement_scale: float, max_displacement: float) -> None:
        self._scale = displacement_scale
        self._limit = max_displacement
        self._sums: list[Tensor] = []

    def __call__(self, state: FlowState, decided: Decisions) -> None:
        """Sees one step."""
        raw_N3 = decided.proposals.raw.detach().to(torch.float64) * self._scale
        z_N = raw_N3[:, 2].clamp(-self._limit, self._limit)
        saturated = (raw_N3.abs() >= self._limit).sum()
        count = torch.full_like(saturated, len(raw_N3))
        self._sums.append(torch.stack((count, saturated, z_N.sum(), (z_N * z_N).sum())))

    def read(self) -> dict[str, float]:
        """Population variance of the proposed z over all moves; share of clamped coordinates."""
        count, saturated, z, zz = torch.stack(self._sums).sum(0).tolist()
        mean = z / count
        return {
            "z_proposal_mean": mean,
            "z_proposal_variance": max(zz / count - mean * mean, 0.0),
            "saturated_share": saturated / (3 * count),
        }


def of_run(counters: Counters) -> dict[str, Any]:
    """What the flows of a run did, in shares and means."""
    told = counters.to_dict()
    completed = max(counters.completed, 1)
    return {
        "z_displacement_variance": told["z_displacement_variance"],
        "planes": {name: count / completed for name, count in counters.planes.items()},
        "reasons": {name: count / completed for name, count in counters.terminated.items()},
        "path_steps": counters.mean_path_steps,
        "path_length": counters.mean_path_length,
        "spawned": counters.spawned / counters.initial,
    }


def of_answers(embedding_BE: Tensor, hits_BP: Tensor) -> dict[str, float]:
    """How alike the predictions of different rows are, and how much of the surface was reached.

    Args:
        hits_BP: scores by plane and cell, [B, P, ...].
    """
    unit_BE = normalize(embedding_BE.detach().to(torch.float64))
    rows = len(unit_BE)
    # The mean cosine of pairs, from the length of the sum.
    pairs = max(rows * (rows - 1), 1)
    alike = (float(unit_BE.sum(0).square().sum()) - rows) / pairs if rows > 1 else 0.0
    return {"alike": alike, "covered": float((hits_BP.sum(1) > 0).double().mean())}


def gradient_norms(model: nn.Module) -> dict[str, float]:
    """The 2-norm of the gradient of each part, and of all together; one transfer."""
    squares = []
    for part in PARTS:
        gradients = [p.grad for p in model.get_submodule(part).parameters() if p.grad is not None]
        norms = torch._foreach_norm(gradients) if gradients else [torch.zeros(())]
        squares.append(torch.stack([norm.to(torch.float64) for norm in norms]).square().sum())
    told = torch.stack([*squares, torch.stack(squares).sum()]).sqrt().tolist()
    return dict(zip((*PARTS, "all"), told, strict=True))


class Watch:
    """Tells a sign of collapse once it has been seen long enough, and again only after a pause."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def look(self, event: Mapping[str, Any], max_displacement: float) -> list[str]:
        """What to warn of after a step that told ``diagnostics`` and ``gradient_norms``."""
        signs = _signs(event["diagnostics"], max_displacement)
        signs |= _lost_gradients(event["gradient_norms"])
        self.seen = {name: self.seen.get(name, 0) + 1 for name in signs}
        return [text for name, text in signs.items() if self.seen[name] == STEPS_IN_A_ROW]


def _signs(told: Mapping[str, Any], max_displacement: float) -> dict[str, str]:
    """Signs that a step shows, by name."""
    signs: dict[str, str] = {}
    spread = told["z_proposal_variance"] ** 0.5
    if spread < 1e-4 * max_displacement:
        signs["still"] = (
            f"flows propose almost the same z displacement (standard deviation {spread:.2g}): "
            "lower the learning rate or lengthen the warm-up of displacement_scale"
        )
    if told["saturated_share"] > 0.9:
        signs["saturated"] = (
            f"{told['saturated_share']:.0%} of proposed displacements are clamped and carry no "
            "gradient: lower displacement_scale or the learning rate"
        )
    plane, share = max(told["planes"].items(), key=lambda item: item[1])
    if share > 0.99:
        signs["plane"] = f"{share:.1%} of exits are at plane {plane}: flows all drift one way"
    if told["reasons"]["plane"] < 0.01:
        signs["projected"] = (
            f"only {told['reasons']['plane']:.1%} of flows reach a plane, the others are moved "
            "there: raise displacement_scale or noise_std"
        )
    if told["path_steps"] is not None and told["path_steps"] < 1.5:
        signs["short"] = (
            f"flows live {told['path_steps']:.2f} steps on average: they leave before they have "
            "seen anything; lower displacement_scale or noise_std"
        )
    if told["alike"] > 0.99:
        signs["alike"] = (
            f"the answers to different rows are alike (mean cosine {told['alike']:.4f}): the model "
            "ignores its input"
        )
    return signs


def _lost_gradients(norms: Mapping[str, float]) -> dict[str, str]:
    return {
        f"gradient of {part}": f"no gradient reaches the {part} (norm {norms[part]:.2g})"
        for part in PARTS
        if norms[part] <= 1e-8 * norms["all"]
    }
