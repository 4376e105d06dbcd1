"""Steps with numbers that are not finite change nothing, are counted and explained."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from energy_flow.errors import TrainingFailed
from energy_flow.training import Trainer
from tests.support.small_training import tiny_trainer


def poison(tensor: Tensor, value: float) -> float:
    """Set one weight, and return what it was."""
    with torch.no_grad():
        flat = tensor.view(-1)
        before = float(flat[0])
        flat[0] = value
    return before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "carrier.displacement_head.2.bias",
            "flow 0, step 0: the networks gave an energy or a displacement",
        ),
        ("output_mapper.layers.3.bias", "loss term cosine is nan"),
    ],
)
def test_a_step_is_skipped_and_the_next_one_is_not(name: str, reason: str) -> None:
    trainer = tiny_trainer()
    trainer.advance()
    weight = trainer.processor.get_parameter(name)
    before = poison(weight, math.nan)
    others = {n: p.detach().clone() for n, p in trainer.processor.named_parameters()}
    event = trainer.advance()
    assert reason in event["skipped"]
    assert "loss" not in event or not math.isfinite(event["loss"])
    assert trainer.progress["skipped"] == trainer.skipped == 1
    assert trainer.step == 2
    for other, parameter in trainer.processor.named_parameters():
        assert torch.equal(parameter, others[other]) or other == name
    poison(weight, before)
    while trainer.step < 3:
        event = trainer.advance()
    assert event["skipped"] is None
    assert trainer.skipped == 1
    assert all(bool(p.isfinite().all()) for p in trainer.processor.parameters())


def test_too_many_in_a_row_end_the_training() -> None:
    trainer = tiny_trainer(max_skipped=3, length__steps=50, validation__every=50)
    trainer.advance()
    poison(trainer.processor.get_parameter("output_mapper.layers.3.bias"), math.inf)
    trainer.advance()
    trainer.advance()
    with pytest.raises(TrainingFailed, match=r"3 steps in a row.*cosine.*learning_rate"):
        trainer.advance()


@pytest.mark.parametrize(
    "fields",
    [
        {"length__steps": 3},
        {"length__steps": 3, "data__held_out": 0.0},
        # Two validations that are alike end the training before its length.
        {"length__steps": 50, "validation__every": 1, "early_stopping__patience": 1},
    ],
)
def test_a_training_without_effect_fails(fields: dict[str, Any]) -> None:
    trainer = tiny_trainer(losses={"mse": {"weight": 1e38}}, **fields)
    with pytest.raises(
        TrainingFailed, match=r"all \d steps were skipped.*because.*scale"
    ) as failure:
        list(trainer.run())
    assert "learning_rate" not in str(failure.value)
    assert not trainer.ended


def test_many_skipped_steps_without_another_have_advice_of_their_own() -> None:
    trainer = tiny_trainer(losses={"mse": {"weight": 1e38}}, max_skipped=2)
    with pytest.raises(TrainingFailed, match=r"2 steps in a row.*no step has changed a weight"):
        list(trainer.run())


def test_a_training_with_one_step_of_effect_ends() -> None:
    trainer = tiny_trainer(length__steps=3, data__held_out=0.0)
    trainer.advance()
    poison(trainer.processor.get_parameter("output_mapper.layers.3.bias"), math.nan)
    *_, end = trainer.run()
    assert (end["kind"], end["skipped"]) == ("end", 2)


def test_a_gradient_that_overflows_is_named() -> None:
    trainer = tiny_trainer(losses={"mse": {"weight": 1e38}})
    event = trainer.advance()
    assert "gradient" in event["skipped"] or "loss" in event["skipped"]
    assert trainer.skipped == 1


def test_skipped_steps_do_not_count_as_training() -> None:
    trainer: Trainer = tiny_trainer()
    poison(trainer.processor.get_parameter("output_mapper.layers.3.bias"), math.nan)
    trainer.advance()
    assert not trainer.processor.trained
