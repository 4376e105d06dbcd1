"""Inputs and targets of different widths: which model they get, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from energy_flow import FlowProcessor, checkpoint
from energy_flow.errors import ConfigError, DataError, Fault, InvalidInput
from energy_flow.training import TrainConfig, Trainer
from energy_flow.training.data import Pairs
from energy_flow.training.start import model_of
from tests.support.small_model import CELLS, small_config
from tests.support.small_training import (
    TINY,
    WIDTH,
    lattice_config,
    lattice_pairs,
    lattice_trainer,
    pairs,
    training_config,
)

ROWS = 40


def rows_of(width: int, target_width: int) -> Pairs:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((ROWS, width)).astype(np.float32)
    return Pairs.of(inputs, inputs @ rng.standard_normal((width, target_width)).astype(np.float32))


def sized(width: int, target_width: int, **fields: Any) -> tuple[int, int]:
    """Return the widths of the model that a training on such rows starts from."""
    made = model_of(training_config(**fields), width, target_width=target_width).config
    return made.embedding_dim, made.output_width


def faults_of_trainer(config: TrainConfig, made: Pairs) -> list[Fault]:
    processor = model_of(config, made.width, target_width=made.target_width)
    with pytest.raises(InvalidInput) as refusal:
        Trainer(config, processor, made)
    return list(refusal.value.faults)


def test_an_untrained_model_has_the_widths_of_the_data() -> None:
    unsized = {name: value for name, value in TINY.items() if name != "model.config"}
    config = TrainConfig.from_dict(
        {**unsized, "model.config": {"lattice_width": 4, "lattice_height": 4}}
    )
    for width, target_width, output_dim in ((11, 3, 3), (11, 11, None)):
        made = model_of(config, width, target_width=target_width).config
        assert (made.embedding_dim, made.output_dim) == (width, output_dim)
        assert made.output_width == target_width
    assert model_of(config, 11).config.output_width == 11


def test_widths_that_the_config_names_are_kept() -> None:
    assert sized(11, WIDTH) == (WIDTH, WIDTH)
    assert sized(11, 3, model__config__output_dim=5) == (WIDTH, 5)
    assert sized(11, 3, model__config__output_dim=None) == (WIDTH, 3)


def test_the_widths_of_an_identity_follow_from_the_lattice() -> None:
    for width, target_width in ((CELLS, 2 * CELLS), (7, 5)):
        made = model_of(lattice_config(), width, target_width=target_width).config
        assert (made.embedding_dim, made.output_width, made.output_dim) == (CELLS, 32, None)
    with pytest.raises(ConfigError) as refusal:
        lattice_config(model__config__embedding_dim=7)
    assert {fault.loc for fault in refusal.value.faults} == {("model", "config", "mapper")}


@pytest.mark.parametrize("targets", [3, 20])
def test_a_training_to_targets_of_another_width(targets: int) -> None:
    config = training_config(losses={"cosine": {}, "info_nce": {}, "mse": {}, "r2": {}})
    made = rows_of(WIDTH, targets)
    trainer = Trainer(config, model_of(config, WIDTH, target_width=targets), made, val=made)
    *_, end = trainer.run()
    assert end["val"]["rows"] == ROWS
    answer = trainer.processor.simulate(made.inputs[:2], outputs=("embedding",))
    assert answer.outputs["embedding"].shape == (2, targets)


def test_the_width_that_does_not_suit_the_model_is_named() -> None:
    config = training_config(model__config__output_dim=5)
    (fault,) = faults_of_trainer(config, pairs())
    assert (fault.loc, fault.got) == (("data", "train"), WIDTH)
    assert "targets must have 5 components" in fault.msg
    (fault,) = faults_of_trainer(training_config(), rows_of(3, WIDTH))
    assert "inputs must have 8 components" in fault.msg
    found = faults_of_trainer(lattice_config(losses={"r2": {}}), rows_of(9, 10))
    assert [fault.got for fault in found] == [9, 10]
    assert all("follows from the lattice" in fault.msg for fault in found)
    assert "inputs must have 16" in found[0].msg
    assert "targets must have 32" in found[1].msg


def test_the_val_rows_are_checked_too() -> None:
    config = training_config()
    with pytest.raises(DataError, match=r"data\.val: targets must have 8 components"):
        Trainer(config, model_of(config, WIDTH), pairs(), val=rows_of(WIDTH, 9))


def test_the_loss_of_surfaces_needs_targets_as_wide_as_inputs(tmp_path: Path) -> None:
    """It is refused with the config where the config has both widths, else with the model."""
    losses: dict[str, Any] = {"surface": {}}
    with pytest.raises(ConfigError) as refusal:
        lattice_config(losses=losses)
    (fault,) = refusal.value.faults
    assert fault.loc == ("losses", "surface")
    assert "inputs of 16 components and targets of 32" in fault.msg
    with pytest.raises(ConfigError, match="inputs of 8 components and targets of 3"):
        training_config(losses=losses, model__config__output_dim=3)
    by_data = training_config(losses=losses)
    (fault,) = faults_of_trainer(by_data, rows_of(WIDTH, 3))
    assert "inputs of 8 components and targets of 3" in fault.msg
    path = tmp_path / "model.safetensors"
    checkpoint.save(FlowProcessor(small_config(output_dim=3)), path)
    stored = training_config(losses=losses, model={"checkpoint": str(path), "config": {}})
    (fault,) = faults_of_trainer(stored, rows_of(WIDTH, 3))
    assert fault.loc == ("losses", "surface")
    lattice_config(losses=losses, model__config__output_planes="merged")


def test_planes_are_compared_with_targets_of_as_many_components() -> None:
    losses = {"r2": {"on": "planes"}, "mse": {"on": "planes"}}
    with pytest.raises(ConfigError) as refusal:
        training_config(losses=losses, model__config__output_dim=WIDTH)
    assert [fault.loc for fault in refusal.value.faults] == [
        ("losses", "mse", "on"),
        ("losses", "r2", "on"),
    ]
    assert "32 cells" in refusal.value.faults[0].msg
    assert "8 components" in refusal.value.faults[0].msg
    found = faults_of_trainer(training_config(losses=losses), pairs())
    assert {fault.loc for fault in found} == {("losses", "mse", "on"), ("losses", "r2", "on")}
    made = rows_of(WIDTH, 2 * CELLS)
    config = training_config(losses=losses)
    step = Trainer(config, model_of(config, WIDTH, target_width=2 * CELLS), made).advance()
    assert step["skipped"] is None
    assert step["gradient_norms"]["carrier"] > 0


def scaled_pairs(scale: float) -> Pairs:
    made = pairs()
    return Pairs.of(made.inputs, made.targets.astype(np.float64) * scale)


def test_r2_is_refused_where_all_targets_are_the_same() -> None:
    made = pairs()
    same = Pairs.of(made.inputs, np.full_like(made.targets, 0.3))
    config = training_config(losses={"r2": {}}, data__held_out=0.0)
    with pytest.raises(DataError) as refusal:
        Trainer(config, model_of(config, WIDTH), same)
    assert [fault.loc for fault in refusal.value.faults] == [("data", "train")]
    assert "losses.mse" in str(refusal.value)
    Trainer(training_config(data__held_out=0.0), model_of(config, WIDTH), same)


@pytest.mark.parametrize(
    ("term", "scale", "words"),
    [
        ("r2", 1e30, ["too large for losses.r2", "e+60", "scale the targets down"]),
        ("mse", 1e30, ["too large for losses.mse", "e+60", "scale the targets down"]),
        ("cosine", 1e30, ["too large for losses.cosine", "scale the targets down"]),
        ("r2", 1e-30, ["too near to each other for losses.r2", "e-60", "scale the targets up"]),
        ("r2", 1e-10, ["too near to each other for losses.r2", "e-20", "scale the targets up"]),
    ],
)
def test_targets_beyond_the_range_of_a_loss_are_refused(
    term: str, scale: float, words: list[str]
) -> None:
    config = training_config(losses={term: {}, "cosine": {} if term == "cosine" else None})
    with pytest.raises(DataError) as refusal:
        Trainer(config, model_of(config, WIDTH), scaled_pairs(scale))
    (fault,) = refusal.value.faults
    assert fault.loc == ("data", "train")
    for word in words:
        assert word in fault.msg


@pytest.mark.parametrize(
    ("term", "scale"), [("r2", 1e-8), ("r2", 1e18), ("mse", 1e-30), ("mse", 1e18)]
)
def test_targets_in_the_range_of_a_loss_are_trained_on(term: str, scale: float) -> None:
    config = training_config(losses={term: {}, "cosine": None})
    step = Trainer(config, model_of(config, WIDTH), scaled_pairs(scale)).advance()
    assert step["skipped"] is None


def test_one_component_is_named_in_the_singular() -> None:
    config = training_config(model__config__output_dim=1)
    (fault,) = faults_of_trainer(config, pairs())
    assert fault.msg == "targets must have 1 component, as the model has"


def test_planes_of_an_identity_are_its_embedding_at_first() -> None:
    trainers = [
        lattice_trainer(losses={"r2": {"on": on}, "mse": {"on": on}})
        for on in ("embedding", "planes")
    ]
    first, other = (trainer.advance() for trainer in trainers)
    assert first["terms"] == other["terms"]
    assert other["gradient_norms"]["output_mapper"] == 0.0
    assert first["gradient_norms"]["carrier"] == pytest.approx(
        other["gradient_norms"]["carrier"], rel=1e-6
    )


def test_r2_is_that_of_the_rows_to_train_on() -> None:
    """Steps that change nothing see each row once, so that their mean is 1 - R² of all rows."""
    trainer = lattice_trainer(
        rows=80, length__steps=2, optimiser__learning_rate=1e-20, data__held_out=0.2
    )
    events = [event for event in trainer.run() if event["kind"] == "step"]
    train = trainer.train
    assert len(train) == 64
    predicted = trainer.processor.eval().simulate(train.inputs, outputs=("embedding",))
    error = predicted.outputs["embedding"].astype(np.float64) - train.targets
    centred = train.targets - train.targets.astype(np.float64).mean(axis=0)
    expected = float((error**2).sum() / (centred**2).sum())
    # float32 sums of 2,048 squares.
    assert np.mean([event["loss"] for event in events]) == pytest.approx(expected, rel=1e-5)
    assert lattice_pairs(3).target_width == 2 * CELLS
