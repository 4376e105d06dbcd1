"""Parts of a batch that are computed in turn add up to the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from energy_flow.training.gradients import backward
from energy_flow.training.start import model_of
from tests.support.small_training import WIDTH, pairs, training_config

OPTIONS = {"displacement_scale": 0.5, "noise_std": 0.1}
ROUNDING = 1e-5
"""Of sums of some thousand float32 numbers in another order, relative to the largest gradient."""


def gradients(**fields: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the report of a batch of 8 rows, and its gradients."""
    config = training_config(**fields)
    processor = model_of(config, WIDTH)
    report = backward(processor, config, pairs(), np.arange(3, 11), OPTIONS, seed=5)
    named = processor.named_parameters()
    return report, {name: p.grad for name, p in named if p.grad is not None}


@pytest.mark.parametrize(
    "losses",
    [
        {"cosine": {}, "mse": {"weight": 0.3}, "r2": {}, "surface": {"weight": 0.2}},
        {"info_nce": {}},
        {"info_nce": {"negatives": "train"}, "cosine": {"weight": 2.0}},
    ],
    ids=["row by row", "negatives of the batch", "negatives of all of train"],
)
def test_accumulation_is_one_larger_batch(losses: dict[str, Any]) -> None:
    whole, together = gradients(losses=losses)
    parts, added = gradients(losses=losses, batch__accumulation=4)
    assert together.keys() == added.keys()
    for name, gradient in together.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(added[name], gradient, rtol=0, atol=ROUNDING * scale)
    assert parts["loss"] == pytest.approx(whole["loss"], rel=ROUNDING)
    assert parts["terms"] == pytest.approx(whole["terms"], rel=ROUNDING)
    for name in ("planes", "reasons"):
        assert parts["diagnostics"][name] == whole["diagnostics"][name]
    for name in ("alike", "covered", "path_length", "z_proposal_variance"):
        expected = pytest.approx(whole["diagnostics"][name], rel=1e-4)
        assert parts["diagnostics"][name] == expected, name


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    report, _ = gradients(losses={"cosine": {"weight": 2.0}, "mse": {"weight": 0.5}})
    terms = report["terms"]
    assert report["loss"] == pytest.approx(2.0 * terms["cosine"] + 0.5 * terms["mse"])


def test_gradient_norms_are_those_of_the_parts() -> None:
    report, found = gradients()
    norms = report["gradient_norms"]
    for part in ("input_mapper", "neuron", "carrier", "output_mapper"):
        of_part = [g.flatten() for name, g in found.items() if name.startswith(f"{part}.")]
        assert norms[part] == pytest.approx(float(torch.cat(of_part).norm()), rel=1e-5)
    everything = torch.cat([gradient.flatten() for gradient in found.values()])
    assert norms["all"] == pytest.approx(float(everything.norm()), rel=1e-5)
