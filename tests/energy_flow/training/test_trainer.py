"""A complete training: its effect on a model, and its events."""

from __future__ import annotations

import pytest

from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.training import Trainer
from energy_flow.training.validation.measurement import Measurement
from tests.support.small_training import pairs, tiny_trainer


def losses(trainer: Trainer) -> list[float]:
    return [event["loss"] for event in trainer.run() if event["kind"] == "step"]


@pytest.mark.slow
def test_a_training_lowers_its_loss() -> None:
    found = losses(tiny_trainer(length__steps=40, validation__every=100))
    assert sum(found[-5:]) < 0.8 * sum(found[:5])


@pytest.mark.slow
def test_the_same_training_twice() -> None:
    one, other = tiny_trainer(), tiny_trainer()
    assert losses(one) == losses(other)
    assert one.processor.digest() == other.processor.digest()


def test_events_come_in_order() -> None:
    trainer = tiny_trainer(val=pairs(20, seed=3), validation__rows=16)
    events = [(event["kind"], event["step"]) for event in trainer.run()]
    assert events == [
        *(("step", 1), ("step", 2), ("validation", 2)),
        *(("step", 3), ("step", 4), ("validation", 4)),
        *(("step", 5), ("step", 6), ("validation", 6)),
        *(("measuring", 6), ("end", 6)),
    ]
    assert trainer.ended
    assert trainer.progress["last"]["val"]["rows"] == 20
    with pytest.raises(RuntimeError, match="ended"):
        trainer.advance()


def test_the_model_ends_with_its_best_weights() -> None:
    trainer = tiny_trainer(length__steps=12)
    weights = {}
    for event in trainer.run():
        if event["kind"] == "validation":
            weights[event["step"]] = trainer.processor.digest()
    assert trainer.best is not None
    assert trainer.processor.digest() == weights[trainer.best["step"]]
    assert trainer.processor.trained


def test_a_validation_measures_the_present_weights() -> None:
    trainer = tiny_trainer(length__steps=6, validation__every=2)
    for event in trainer.run():
        if event["kind"] != "validation":
            continue
        fresh = FlowProcessor(trainer.processor.config, weights=trainer.processor.state_dict())
        measurement = Measurement(trainer.held_out, 64)
        measurement.advance(fresh)
        figures = measurement.figures().to_dict()
        assert {name: event[name] for name in figures} == figures
