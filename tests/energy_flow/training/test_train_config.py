"""Validation of a training's config: every fault is refused at once; warnings."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from energy_flow import FlowProcessor, checkpoint
from energy_flow.choices import BackPropagationMode
from energy_flow.errors import ConfigError, Fault
from energy_flow.training import TrainConfig, Trainer
from energy_flow.training.data import Pairs
from energy_flow.training.start import model_of
from tests.support.small_model import CELLS, small_config
from tests.support.small_training import TINY, WIDTH, lattice_config, pairs, training_config


def faults(**fields: Any) -> list[Fault]:
    """Return the faults of the config with other fields, dots written as two underscores."""
    with pytest.raises(ConfigError) as refusal:
        training_config(**fields)
    return list(refusal.value.faults)


def names(found: list[Fault]) -> set[str]:
    return {".".join(map(str, fault.loc)) for fault in found}


def test_plain_data_round_trip() -> None:
    config = training_config(back_propagation={"mode": "truncated", "steps": 3})
    assert TrainConfig.from_dict(config.to_dict()) == config
    assert config.replace({"batch.rows": 4}).batch.rows == 4
    assert config.replace({"batch.rows": 4}).back_propagation.steps == 3


def test_toml_with_groups_and_dotted_changes() -> None:
    text = """
        [model.config]
        lattice_width = 4
        spawn.mode = "off"
        [losses.info_nce]
        temperature = 0.1
        [length]
        epochs = 2
    """
    config = TrainConfig.from_dict(tomllib.loads(text), {"losses.info_nce.negatives": "train"})
    assert config.model.config == {"lattice_width": 4, "spawn": {"mode": "off"}}
    assert config.losses.info_nce is not None
    assert config.losses.info_nce.temperature == 0.1
    assert config.losses.info_nce.negatives == "train"
    assert config.back_propagation.mode is BackPropagationMode.FULL


REFUSED: Mapping[str, dict[str, Any]] = {
    "losses": {"losses__cosine__weight": 0.0},
    "length.epochs": {"length__epochs": 2.0},
    "back_propagation.steps": {"back_propagation__mode": "truncated"},
    "batch.accumulation": {"batch__accumulation": 3},
    "data.rows": {"data__rows": [4, 4]},
    "losses.info_nce": {"losses__info_nce": {}, "batch__rows": 1},
    "early_stopping.patience": {"early_stopping__patience": 2, "data__held_out": 0.0},
    "schedule.displacement_scale": {"schedule__displacement_scale": {"start": 0.0}},
    "schedule.background": {"schedule__background": {"start": 1.0, "warm_up": 0.5}},
    "schedule.background.start": {
        "schedule__background": {"start": -1.0, "warm_up": 0.5},
        "model__config__aggregation_mode": "splat",
    },
    "schedule.field_strength.end": {"schedule__field_strength": {"end": -1e7}},
    "losses.r2.on": {"losses__r2": {"on": "hits"}},
    "model.initial.energy_head": {"model__initial__energy_head": "ones"},
    "model.preset": {"model__preset": "debug", "model__checkpoint": "a.safetensors"},
    "optimiser.learning_rate": {"optimiser__learning_rate": 0.0},
    "optimiser.beta2": {"optimiser__beta2": 1.0},
    "optimizer": {"optimizer": {}},
    "losses.l1": {"losses__l1": {}},
    "losses.cosine.temperature": {"losses__cosine__temperature": 1.0},
    "model.config.lattice_width": {"model__config__lattice_width": 1},
    "model.config.max_active_flows": {"model__config__max_active_flows": 3},
    "seed": {"seed": -1},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_fault_is_reported_at_its_field(name: str) -> None:
    assert names(faults(**REFUSED[name])) == {name}


def test_steps_belong_to_truncation_alone() -> None:
    assert names(faults(back_propagation__steps=4)) == {"back_propagation.steps"}


def test_all_faults_are_reported_at_once() -> None:
    found = faults(
        length__epochs=1.0,
        batch__accumulation=3,
        batch__extra=1,
        optimiser__beta1=-1,
        model__config__lattice_depth=1,
        seed="many",
    )
    assert names(found) == {
        "length.epochs",
        "batch.accumulation",
        "batch.extra",
        "optimiser.beta1",
        "model.config.lattice_depth",
        "seed",
    }


def test_a_fault_states_what_would_be_allowed() -> None:
    (fault,) = faults(batch__accumulation=3)
    assert "batch.rows = 8" in fault.msg
    assert fault.got == {"batch.accumulation": 3, "batch.rows": 8}
    (unknown,) = faults(losses__l1={})
    assert "cosine, info_nce, mse, r2, surface" in unknown.msg


def test_a_rule_over_a_faulty_field_is_skipped() -> None:
    """Whether 3 parts divide the rows is unknown while the rows are unknown."""
    assert names(faults(batch__rows="eight", batch__accumulation=3)) == {"batch.rows"}


def test_an_unknown_preset() -> None:
    (fault,) = faults(model__preset="huge")
    assert fault.loc == ("model", "preset")
    assert "debug" in fault.msg


def test_settings_without_effect_give_a_warning() -> None:
    assert training_config().warnings() == ()
    warnings = training_config(
        schedule__noise_std={"start": 0.5, "end": 0.2}, data__held_out=0.0
    ).warnings()
    assert len(warnings) == 3
    assert any("warm_up is 0" in text for text in warnings)
    assert any("noise_std of its own config" in text for text in warnings)
    assert any("held_out" in text for text in warnings)


PLANES: Mapping[str, Any] = {"losses": {"cosine": {"weight": 0.0}, "r2": {"on": "planes"}}}


@pytest.mark.parametrize(
    ("fields", "mapper"),
    [
        (PLANES, "mlp"),
        ({**PLANES, "model__config__mapper": "linear"}, "linear"),
        ({"losses": {"cosine": None, "surface": {}}}, "mlp"),
    ],
)
def test_an_output_mapper_without_gradient_gives_a_warning(
    fields: dict[str, Any], mapper: str
) -> None:
    config = training_config(**fields)
    (text,) = config.warnings()
    assert f"(mapper {mapper}) gets no gradient" in text
    assert "add a loss on the embedding" in text
    width = 2 * CELLS if config.losses.r2 is not None else WIDTH
    rng = np.random.default_rng(0)
    made = Pairs.of(rng.standard_normal((32, WIDTH)), rng.standard_normal((32, width)))
    step = Trainer(config, model_of(config, WIDTH, target_width=width), made).advance()
    assert step["gradient_norms"]["output_mapper"] == 0.0
    assert training_config(**fields).replace({"losses.mse": {}}).warnings() == ()


def test_an_identity_has_no_weights_to_warn_of() -> None:
    assert lattice_config(losses__r2__on="planes").warnings() == ()


def test_a_warning_depends_on_the_model_of_a_checkpoint() -> None:
    config = training_config(**PLANES).replace({"model.checkpoint": "a.safetensors"})
    assert config.warnings() == ()
    assert len(config.warnings(small_config())) == 1


def test_an_end_of_its_own_gives_a_warning_for_every_field_of_a_run() -> None:
    ramps = {"field_strength": {"end": -0.5}, "background": {"end": 1.0}}
    field, background = training_config(
        **{f"schedule__{name}": ramp for name, ramp in ramps.items()},
        model__config__aggregation_mode="splat",
    ).warnings()
    assert "schedule.field_strength ends at -0.5" in field
    assert "background of its own config" in background


def test_a_background_needs_a_checkpoint_that_has_one(tmp_path: Path) -> None:
    """Which is known when the training starts, because options may set the mode."""
    path = tmp_path / "model.safetensors"
    checkpoint.save(FlowProcessor(small_config()), path)
    tiny = {name: value for name, value in TINY.items() if name != "model.config"}
    plain = TrainConfig.from_dict(
        {**tiny, "model.checkpoint": str(path), "schedule.background": {"start": 1.0}}
    )
    with pytest.raises(ConfigError, match=r"schedule\.background: aggregation_mode weighted_v2"):
        Trainer(plain, model_of(plain, WIDTH), pairs())
    soft = plain.replace({"model.config": {"aggregation_mode": "splat"}})
    assert Trainer(soft, model_of(soft, WIDTH), pairs()).advance()["background"] == 0.1


def test_a_config_is_frozen() -> None:
    config = TrainConfig.from_dict(TINY)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3  # type: ignore[misc]


def test_both_spellings_of_a_field_are_refused() -> None:
    with pytest.raises(ConfigError, match="given twice"):
        TrainConfig.from_dict({}, {"batch.rows": 4, "batch": {"rows": 5}})
    with pytest.raises(ConfigError, match="given twice"):
        TrainConfig.from_dict({"model.config": {"spawn.threshold": 1, "spawn": {"threshold": 1}}})
    fields = {"batch": {"rows": 4}, "losses.mse.weight": 1, "length.steps": 1}
    assert TrainConfig.from_dict(fields, {"batch.rows": 5}).batch.rows == 5
