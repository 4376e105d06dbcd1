"""Trainings of flows that move energies between cells and planes, without mappers of their own."""

from __future__ import annotations

import pytest
import torch

from energy_flow.training.gradients import backward
from energy_flow.training.start import model_of
from tests.support.small_training import lattice_config, lattice_pairs, lattice_trainer


@pytest.mark.slow
@pytest.mark.parametrize("on", ["embedding", "planes"])
def test_flows_learn_to_move_energies_to_a_plane_by_their_sign(on: str) -> None:
    trainer = lattice_trainer(
        rows=200, length__steps=100, validation__every=20, losses={"r2": {"on": on}}
    )
    events = list(trainer.run())
    steps = [event for event in events if event["kind"] == "step"]
    found = [event["r2"] for event in events if event["kind"] == "validation"]
    # Without learning, both planes get a share of each energy, and R² is near or below 0.
    assert steps[0]["loss"] > 1.0
    assert found[-1] > 0.75
    assert found[-1] > found[0] + 0.1
    assert trainer.best is not None
    assert trainer.best["r2"] == max(found)


@pytest.mark.slow
def test_the_best_model_is_that_of_the_best_r2() -> None:
    trainer = lattice_trainer(
        rows=100,
        length__steps=60,
        validation__every=2,
        optimiser__learning_rate=0.3,
        early_stopping__patience=3,
        schedule__learning_rate=None,
    )
    events = list(trainer.run())
    found = {event["step"]: event["r2"] for event in events if event["kind"] == "validation"}
    assert trainer.best is not None
    assert trainer.best["step"] == max(found, key=lambda step: found[step])
    assert events[-1]["why"] == "early_stopping"
    assert events[-1]["held_out"]["r2"] == max(found.values())


@pytest.mark.parametrize("on", ["embedding", "planes"])
def test_the_gradient_of_a_batch_against_finite_differences(on: str) -> None:
    """In float64, of a few weights of each part, with a field that pushes along z."""
    config = lattice_config(
        losses={"r2": {"on": on}, "mse": {"on": on, "weight": 0.5}},
        model__initial={},
        model__config__field_strength=0.4,
        model__config__displacement_scale=1.0,
    )
    rows = lattice_pairs(6)
    processor = model_of(config, rows.width).double()
    batch = torch.arange(4).numpy()

    def loss() -> float:
        processor.zero_grad()
        found: float = backward(processor, config, rows, batch, {}, seed=0)["loss"]
        return found

    loss()
    named = dict(processor.named_parameters())
    slopes = {name: p.grad.clone() for name, p in named.items() if p.grad is not None}
    step = 1e-5
    for name in (
        "neuron.layers.0.weight",
        "carrier.gru.weight_ih_l0",
        "carrier.energy_head.2.weight",
        "carrier.displacement_head.2.weight",
        "carrier.displacement_head.2.bias",
        *(("output_mapper.output_gain",) if on == "embedding" else ()),
    ):
        flat = named[name].detach().view(-1)
        place = int(slopes[name].abs().argmax())
        before = float(flat[place])
        values = []
        for sign in (1, -1):
            flat[place] = before + sign * step
            values.append(loss())
        flat[place] = before
        slope = (values[0] - values[1]) / (2 * step)
        # Differences of losses near 1 have 1e-11 of rounding, by 2e-5.
        assert float(slopes[name].view(-1)[place]) == pytest.approx(slope, rel=1e-4, abs=1e-6), name
