"""``CollapseWatch``: warns of a training whose flows, or predictions, become all the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from energy_flow.training.diagnostics import PARTS

STEPS_IN_A_ROW = 10
"""Number of steps in a row that must show a sign before the warning."""


class CollapseWatch:
    """Counts signs of a collapse; warns once of a sign that does not go away.

    Attributes:
        seen: number of steps in a row that have shown each sign, by its name.
    """

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def update(self, event: Mapping[str, Any], max_displacement: float) -> list[str]:
        """Return the warnings after a step.

        Args:
            event: has the ``diagnostics`` and ``gradient_norms`` of the step.
            max_displacement: of the model.
        """
        signs = _signs_of_flows(event["diagnostics"], max_displacement)
        signs |= _signs_of_gradients(event["gradient_norms"])
        self.seen = {name: self.seen.get(name, 0) + 1 for name in signs}
        return [text for name, text in signs.items() if self.seen[name] == STEPS_IN_A_ROW]


def _signs_of_flows(figures: Mapping[str, Any], max_displacement: float) -> dict[str, str]:
    """Return the signs that a step shows, by name."""
    signs: dict[str, str] = {}
    spread = figures["z_proposal_variance"] ** 0.5
    if spread < 1e-4 * max_displacement:
        signs["still"] = (
            f"flows propose almost the same z displacement (standard deviation {spread:.2g}): "
            "lower the learning rate or lengthen the warm-up of displacement_scale"
        )
    if figures["saturated_share"] > 0.9:
        signs["saturated"] = (
            f"{figures['saturated_share']:.0%} of proposed displacements are clamped and carry no "
            "gradient: lower displacement_scale or the learning rate"
        )
    plane, share = max(figures["planes"].items(), key=lambda item: item[1])
    if share > 0.99:
        signs["plane"] = (
            f"{share:.1%} of exits are at plane {plane}: all flows move in one direction"
        )
    if figures["reasons"]["plane"] < 0.01:
        signs["projected"] = (
            f"only {figures['reasons']['plane']:.1%} of flows reach a plane, the others are moved "
            "there: raise displacement_scale or noise_std"
        )
    if figures["path_steps"] is not None and figures["path_steps"] < 1.5:
        signs["short"] = (
            f"paths have {figures['path_steps']:.2f} steps on average, too few to depend on the "
            "input: lower displacement_scale or noise_std"
        )
    if figures["alike"] > 0.99:
        signs["alike"] = (
            f"the answers to different rows are alike (mean cosine {figures['alike']:.4f}): the "
            "model ignores its input"
        )
    return signs


def _signs_of_gradients(norms: Mapping[str, float]) -> dict[str, str]:
    return {
        f"gradient of {part}": f"no gradient reaches the {part} (norm {norms[part]:.2g})"
        for part in PARTS
        if part in norms and norms[part] <= 1e-8 * norms["all"]
    }
