"""Signs of a collapse: forced, and reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from energy_flow import FlowProcessor
from energy_flow.training import Trainer
from energy_flow.training.collapse_watch import STEPS_IN_A_ROW
from energy_flow.training.gradients import backward
from energy_flow.training.start import model_of
from tests.support.small_model import CELLS
from tests.support.small_training import (
    WIDTH,
    lattice_config,
    lattice_pairs,
    lattice_trainer,
    pairs,
    tiny_trainer,
    training_config,
)


def displace(processor: FlowProcessor, z: float, spread: float) -> None:
    """Make flows propose about this z, with differences of about ``spread`` between flows."""
    last = processor.carrier.displacement_head[2]
    assert isinstance(last, torch.nn.Linear)
    last.weight.mul_(spread)
    last.bias.copy_(torch.tensor([0.0, 0.0, z]))


def still(processor: FlowProcessor) -> None:
    displace(processor, 0.3, 0.0)


def drifting(processor: FlowProcessor) -> None:
    displace(processor, 0.9, 0.1)


def saturated(processor: FlowProcessor) -> None:
    last = processor.carrier.displacement_head[2]
    assert isinstance(last, torch.nn.Linear)
    last.weight.mul_(1e4)


def indifferent(processor: FlowProcessor) -> None:
    last = processor.get_submodule("output_mapper.layers.3")
    assert isinstance(last, torch.nn.Linear)
    last.weight.mul_(1e-6)


def unchanged(processor: FlowProcessor) -> None:
    """Leave the weights as they are drawn."""


def warnings(change: Callable[[FlowProcessor], None], **fields: Any) -> list[tuple[int, str]]:
    """Return the warnings of a training of a changed model, with their steps."""
    steps = 2 * STEPS_IN_A_ROW
    config = training_config(length__steps=steps, optimiser__learning_rate=1e-20, **fields)
    processor = model_of(config, WIDTH)
    with torch.no_grad():
        change(processor)
    found = []
    for event in Trainer(config, processor, pairs()).run():
        if event["kind"] == "step":
            found += [(event["step"], text) for text in event["warnings"]]
    return found


SIGNS: Mapping[str, tuple[Callable[[FlowProcessor], None], str]] = {
    "still": (still, "almost the same z displacement"),
    "drifting": (drifting, "of exits are at plane zdepth"),
    "saturated": (saturated, "clamped and carry no gradient"),
    "indifferent": (indifferent, "answers to different rows are alike"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNS)
def test_a_forced_collapse_is_reported_once(name: str) -> None:
    change, words = SIGNS[name]
    found = warnings(change, model__config__noise_std=0.05)
    assert [step for step, text in found if words in text] == [STEPS_IN_A_ROW]


@pytest.mark.slow
def test_flows_that_reach_no_plane() -> None:
    quiet = {"model__config__noise_std": 0.0, "model__config__spawn__mode": "off"}
    found = warnings(still, **quiet, model__config__displacement_scale=1e-3)
    assert any("reach a plane" in text for _, text in found)


def test_flows_that_end_in_their_first_step() -> None:
    far = {"displacement_scale": 9.0, "max_displacement": 2.0}
    found = warnings(drifting, **{f"model__config__{name}": value for name, value in far.items()})
    assert any("paths have 1.00 steps" in text for _, text in found)


@pytest.mark.slow
def test_a_part_that_gets_no_gradient() -> None:
    """The energies of the input mapper have no effect without input weights of the GRU."""

    def cut_off(processor: FlowProcessor) -> None:
        for parameter in processor.neuron.parameters():
            parameter.zero_()
        processor.get_parameter("carrier.gru.weight_ih_l0").zero_()

    found = warnings(cut_off)
    assert any("no gradient reaches the input_mapper" in text for _, text in found)


@pytest.mark.slow
def test_a_healthy_training_has_no_warnings() -> None:
    assert warnings(unchanged) == []


def test_figures_of_a_step() -> None:
    event = tiny_trainer().advance()
    figures = event["diagnostics"]
    assert sum(figures["planes"].values()) == pytest.approx(1.0)
    assert sum(figures["reasons"].values()) == pytest.approx(1.0)
    assert 1 <= figures["path_steps"] <= 5
    assert 0 < figures["covered"] <= 1
    # Noise adds to what is proposed.
    assert figures["z_displacement_variance"] > figures["z_proposal_variance"] > 0


@pytest.mark.parametrize("strength", [-1.5, 0.8])
def test_proposals_have_the_push_of_the_field(strength: float) -> None:
    """Without noise, what is proposed is how flows move."""
    runs: list[dict[str, Any]] = [{"model__config__field_strength": strength}, {}]
    with_field, without = (lattice_trainer(**chosen).advance()["diagnostics"] for chosen in runs)
    assert with_field["z_displacement_variance"] == pytest.approx(
        with_field["z_proposal_variance"], rel=1e-4
    )
    assert with_field["z_proposal_variance"] > 10 * without["z_proposal_variance"]
    # Energies are normal numbers, and a push of more than 0.5 is clamped.
    assert with_field["saturated_share"] > 0 == without["saturated_share"]


def test_cells_that_are_touched_are_covered() -> None:
    """Flows that move by three quarters of a cell leave the first column, and still touch it."""
    config = lattice_config(model__initial__displacement_head=1e-3)
    processor, made = model_of(config, CELLS), lattice_pairs()
    with torch.no_grad():
        last = processor.carrier.displacement_head[2]
        assert isinstance(last, torch.nn.Linear)
        # Four steps of 0.125; cells are 2/3 apart.
        last.bias.copy_(torch.tensor([0.25, 0.0, 0.0]))
    report = backward(processor, config, made, np.arange(8), {}, seed=0)
    found = processor.eval().simulate(made.inputs[:8], outputs=("reached", "hits")).outputs
    touched, hit = (found[name].astype(bool).any(axis=1).mean() for name in ("reached", "hits"))
    assert report["diagnostics"]["covered"] == pytest.approx(float(touched))
    assert (touched, hit) == (1.0, 0.75)


def test_parts_without_weights_have_no_gradient_and_no_warning() -> None:
    steps = STEPS_IN_A_ROW + 1
    events = list(lattice_trainer(length__steps=steps, optimiser__learning_rate=1e-20).run())
    done = [event for event in events if event["kind"] == "step"]
    assert set(done[0]["gradient_norms"]) == {"neuron", "carrier", "output_mapper", "all"}
    assert not any("gradient" in text for event in done for text in event["warnings"])


def test_the_variance_of_proposals_without_noise_is_that_of_displacements() -> None:
    figures = tiny_trainer(model__config__noise_std=0.0).advance()["diagnostics"]
    assert figures["z_displacement_variance"] == pytest.approx(
        figures["z_proposal_variance"], rel=1e-4
    )
