"""Signs of a collapse, forced and told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from energy_flow import FlowProcessor
from energy_flow.training import Trainer
from energy_flow.training.diagnostics import STEPS_IN_A_ROW
from energy_flow.training.start import model_of
from tests.energy_flow.training.tiny import WIDTH, pairs, tiny_config, tiny_trainer


def displace(processor: FlowProcessor, z: float, spread: float) -> None:
    """Flows propose a z of this much, which differs from flow to flow by ``spread`` or so."""
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
    last = processor.output_mapper.layers[3]
    assert isinstance(last, torch.nn.Linear)
    last.weight.mul_(1e-6)


def hopeful(processor: FlowProcessor) -> None:
    """As it is drawn."""


def warnings(change: Callable[[FlowProcessor], None], **fields: Any) -> list[tuple[int, str]]:
    """What a training of a changed model warns of, with the steps."""
    steps = 2 * STEPS_IN_A_ROW
    config = tiny_config(length__steps=steps, optimiser__learning_rate=1e-20, **fields)
    processor = model_of(config, WIDTH)
    with torch.no_grad():
        change(processor)
    told = []
    for event in Trainer(config, processor, pairs()).run():
        if event["kind"] == "step":
            told += [(event["step"], text) for text in event["warnings"]]
    return told


SIGNS: Mapping[str, tuple[Callable[[FlowProcessor], None], str]] = {
    "still": (still, "almost the same z displacement"),
    "drifting": (drifting, "of exits are at plane zdepth"),
    "saturated": (saturated, "clamped and carry no gradient"),
    "indifferent": (indifferent, "answers to different rows are alike"),
}


@pytest.mark.parametrize("name", SIGNS)
def test_a_forced_collapse_is_told_once(name: str) -> None:
    change, words = SIGNS[name]
    told = [step for step, text in warnings(change, model__config__noise_std=0.05) if words in text]
    assert told == [STEPS_IN_A_ROW]


def test_flows_that_reach_no_plane() -> None:
    quiet = {"model__config__noise_std": 0.0, "model__config__spawn__mode": "off"}
    told = warnings(still, **quiet, model__config__displacement_scale=1e-3)
    assert any("reach a plane" in text for _, text in told)


def test_flows_that_leave_at_once() -> None:
    far = {"displacement_scale": 9.0, "max_displacement": 2.0}
    told = warnings(drifting, **{f"model__config__{name}": value for name, value in far.items()})
    assert any("live 1.00 steps" in text for _, text in told)


def test_a_part_that_gets_no_gradient() -> None:
    """The mapper's energies are forgotten where the carrier hands nothing on."""

    def deaf(processor: FlowProcessor) -> None:
        for parameter in processor.neuron.parameters():
            parameter.zero_()
        processor.get_parameter("carrier.gru.weight_ih_l0").zero_()

    told = warnings(deaf)
    assert any("no gradient reaches the input_mapper" in text for _, text in told)


def test_a_healthy_training_is_left_in_peace() -> None:
    assert warnings(hopeful) == []


def test_what_a_step_tells_of_its_flows() -> None:
    event = tiny_trainer().advance()
    told = event["diagnostics"]
    assert sum(told["planes"].values()) == pytest.approx(1.0)
    assert sum(told["reasons"].values()) == pytest.approx(1.0)
    assert 1 <= told["path_steps"] <= 5
    assert 0 < told["covered"] <= 1
    # Noise adds to what is proposed.
    assert told["z_displacement_variance"] > told["z_proposal_variance"] > 0


def test_the_variance_of_proposals_without_noise_is_that_of_displacements() -> None:
    told = tiny_trainer(model__config__noise_std=0.0).advance()["diagnostics"]
    assert told["z_displacement_variance"] == pytest.approx(told["z_proposal_variance"], rel=1e-4)
