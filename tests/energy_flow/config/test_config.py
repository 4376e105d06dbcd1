"""``FlowConfig``: fields, defaults, refused values, and copies with other values."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from energy_flow.choices import Precision, SpawnMode
from energy_flow.config.flow_config import (
    MODEL_FIELDS,
    RUN_FIELDS,
    ConvergenceConfig,
    FlowConfig,
    SpawnConfig,
    TraceConfig,
    parse_assignments,
)
from energy_flow.errors import ConfigError, EnergyFlowError
from tests.support.small_model import SMALL, small_config

BAD: list[tuple[str, list[Any]]] = [
    ("lattice_width", [1, 0, -4, 2.5, "wide", None, [4]]),
    ("lattice_height", [1, 0, -1, math.inf]),
    ("lattice_depth", [1, 0, -1]),
    ("embedding_dim", [0, -1, 1.5]),
    ("mapper_hidden_dim", [0, -1]),
    ("neuron_hidden_dim", [0, -1]),
    ("neuron_output_dim", [0, -1]),
    ("carrier_hidden_size", [0, 1, -1]),
    ("carrier_num_layers", [0, -1]),
    ("mapper", ["cnn", 1, None]),
    ("output_dim", [0, -1, 1.5, "all"]),
    ("output_planes", ["one", 2, None]),
    ("energy_update", ["add", None]),
    ("sensing", ["value", 1, None]),
    ("field_strength", [math.nan, math.inf, 2e6, -2e6, "strong", None]),
    ("background", [-0.1, math.nan, math.inf, "grey"]),
    ("precision", ["float16", "bf16", 32, None]),
    ("displacement_scale", [0, -1, 2e6, math.nan, math.inf, "a"]),
    ("max_displacement", [0, -0.5, math.nan, math.inf]),
    ("noise_std", [-0.1, math.nan, math.inf]),
    ("noise_on_z", ["perhaps", None, 3]),
    ("boundary", ["bounce", None]),
    ("min_displacement", [-0.1, math.nan, math.inf]),
    ("projection_age", [0, -1, 1.5]),
    ("max_steps", [0, -1, 1.5, math.inf]),
    ("spawn", [None, 3, "off"]),
    ("spawn.mode", ["on", None]),
    ("spawn.threshold", [0, -0.1, math.nan, math.inf]),
    ("spawn.percentile", [math.nan, math.inf, "high"]),
    ("spawn.max_children", [-1, 1.5]),
    ("max_active_flows", [0, -1, 16.5]),
    ("convergence.enabled", [None, "often"]),
    ("convergence.threshold", [0, -0.1, 1.01, math.nan]),
    ("convergence.min_steps", [0, -1]),
    ("convergence.window", [0, -1]),
    ("convergence.patience", [0, -1]),
    ("convergence.min_improvement", [-0.01, math.nan, math.inf]),
    ("aggregation_mode", ["weighted", None]),
    ("trace.capacity", [-1, 0.5, None]),
    ("trace.keep", ["newest"]),
    ("trace.kinds", [["born"], "spawn", None, 3]),
    ("deterministic", [None, "sometimes"]),
    ("batch_invariant", [None]),
    ("seed", [-1, 2**63, 0.5, None]),
    ("model_seed", [-1, 2**63]),
    ("coord_version", ["two", None]),
]
GOOD: list[tuple[str, list[Any]]] = [
    ("lattice_width", [2, 100]),
    ("precision", ["float32", "bfloat16", Precision.BFLOAT16]),
    ("max_displacement", [0.36, 2]),
    ("noise_std", [0, 0.01, 1]),
    ("projection_age", [1, 4, None]),
    ("max_steps", [1, 1000, None]),
    ("spawn.mode", ["off", "percentile", "threshold"]),
    ("spawn.max_children", [1, 255]),
    ("max_active_flows", [16, 17, None]),
    ("convergence.threshold", [0.001, 1]),
    ("convergence.min_improvement", [0, 5]),
    ("trace.capacity", [0, 1]),
    ("trace.kinds", [[], ["reflect"], ["terminate", "spawn"]]),
    ("seed", [0, 2**63 - 1]),
]


def cases(table: list[tuple[str, list[Any]]]) -> list[Any]:
    return [
        pytest.param(name, value, id=f"{name}={value!r}")
        for name, values in table
        for value in values
    ]


@pytest.mark.parametrize(("name", "value"), cases(BAD))
def test_a_bad_value_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refusal:
        small_config(**{name: value})
    found = [".".join(map(str, fault.loc)) for fault in refusal.value.faults]
    assert any(one == name or one.startswith(f"{name}.") for one in found), found
    assert all(fault.msg for fault in refusal.value.faults)
    assert name in str(refusal.value)
    assert isinstance(refusal.value, ValueError)
    assert isinstance(refusal.value, EnergyFlowError)


@pytest.mark.parametrize(("name", "value"), cases(GOOD))
def test_a_valid_value_is_accepted(name: str, value: Any) -> None:
    head, _, tail = name.partition(".")
    found = small_config(**{name: value}).to_dict()[head]
    assert (found[tail] if tail else found) == value


def test_messages_name_bounds_and_choices() -> None:
    with pytest.raises(ConfigError, match=r"lattice_width: .*2.*got 1\b"):
        small_config(lattice_width=1)
    with pytest.raises(ConfigError, match=r"boundary: .*reflect.*clamp.*got 'bounce'"):
        small_config(boundary="bounce")
    with pytest.raises(ConfigError, match=r"convergence\.threshold: .*1.*got 1\.5"):
        small_config(**{"convergence.threshold": 1.5})


def test_every_fault_is_reported_at_once() -> None:
    fields = {
        "lattice_width": 0,
        "boundary": "bounce",
        "spawn": {"threshold": -1, "mod": "off"},
        "trace": {"capacity": -5, "kinds": ["spawn", "spawn"]},
        "convergence": {"threshold": 2},
        "projection_age": 9,
        "max_steps": 8,
        "deterministic": True,
        "noise_std": 0.5,
        "wings": 2,
        "coord_version": 1,
    }
    with pytest.raises(ConfigError) as refusal:
        FlowConfig(**fields)
    found = {".".join(map(str, fault.loc)) for fault in refusal.value.faults}
    assert found >= {
        "lattice_width",
        "boundary",
        "spawn.threshold",
        "spawn.mod",
        "trace.capacity",
        "trace.kinds",
        "convergence.threshold",
        "projection_age",
        "deterministic",
        "wings",
        "coord_version",
    }


@pytest.mark.parametrize("group", ["", "spawn", "convergence", "trace"])
def test_unknown_fields_are_refused_with_the_known_ones(group: str) -> None:
    fields = {group: {"wings": 2}} if group else {"wings": 2}
    with pytest.raises(ConfigError) as refusal:
        FlowConfig(**fields)
    assert (f"{group}.wings" if group else "wings") in str(refusal.value)
    known = {"": "lattice_width", "spawn": "max_children", "convergence": "patience"}
    assert known.get(group, "capacity") in str(refusal.value)
    with pytest.raises(ConfigError, match="wings"):
        FlowConfig.from_dict({f"{group}.wings" if group else "wings": 2})


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        # Groups as objects, and numbers as text, beside a fault somewhere else.
        ({"seed": -1, "spawn": SpawnConfig()}, ["seed"]),
        ({"seed": -1, "trace": TraceConfig(), "convergence": ConvergenceConfig()}, ["seed"]),
        ({"seed": -1, "deterministic": True, "noise_std": "0.1"}, ["seed"]),
        ({"seed": -1, "projection_age": "3"}, ["seed"]),
        ({"seed": -1, "spawn": {"percentile": "95"}}, ["seed"]),
        ({"seed": -1, "lattice_width": "4", "max_active_flows": "9"}, ["seed"]),
        ({"seed": -1, "min_displacement": "0.1", "max_displacement": "0.5"}, ["seed"]),
        ({"seed": -1, "coord_version": "2"}, ["seed"]),
        ({"seed": -1, "trace": {"kinds": [["spawn"], {}]}}, ["seed", "trace.kinds"]),
        ({"seed": -1, "trace": {"kinds": {"spawn": 1}}}, ["seed", "trace.kinds"]),
        ({"spawn": {"mode": []}, "noise_std": {}}, ["spawn.mode", "noise_std"]),
    ],
)
def test_any_mixture_is_refused_in_the_same_way(fields: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(ConfigError) as refusal:
        FlowConfig(**fields)
    for name in names:
        assert name in str(refusal.value)


def test_defaults_that_follow_from_others() -> None:
    config = small_config(lattice_depth=9, lattice_width=5)
    assert (config.step_limit, config.age_limit, config.active_limit) == (9, 4, 4 * 20)
    assert small_config(lattice_depth=9, max_steps=3).age_limit == 3
    assert small_config(lattice_depth=9, max_steps=30).age_limit == 4
    assert small_config(lattice_depth=2).age_limit == 1
    assert small_config(max_active_flows=20).active_limit == 20


def test_a_config_is_frozen_and_restored_from_json() -> None:
    config = small_config(**{"spawn.threshold": 0.2, "trace.kinds": ["reflect"], "max_steps": 7})
    with pytest.raises((TypeError, ValueError)):
        config.seed = 3  # type: ignore[misc]
    text = json.dumps(config.to_dict(), allow_nan=False)
    assert FlowConfig.from_dict(json.loads(text)) == config
    assert FlowConfig(**json.loads(text)) == config
    assert set(config.to_dict()) == MODEL_FIELDS | RUN_FIELDS


def test_model_fields() -> None:
    assert {
        *(f"lattice_{side}" for side in ("width", "height", "depth")),
        *("embedding_dim", "mapper_hidden_dim", "neuron_hidden_dim", "neuron_output_dim"),
        *("carrier_hidden_size", "carrier_num_layers", "model_seed", "coord_version"),
        *("mapper", "output_dim", "output_planes", "energy_update", "sensing"),
    } == MODEL_FIELDS
    assert not MODEL_FIELDS & RUN_FIELDS


def test_nested_and_dotted_names_mix() -> None:
    config = FlowConfig.from_dict(
        {**SMALL, "spawn": {"mode": "percentile"}, "spawn.percentile": 50, "spawn.max_children": 2}
    )
    assert config.spawn == SpawnConfig(mode=SpawnMode.PERCENTILE, percentile=50, max_children=2)


def test_both_spellings_of_a_field_are_refused_with_all_other_faults() -> None:
    both = {"spawn": {"threshold": 0.1, "mode": "percentle"}, "spawn.threshold": 0.1}
    config = small_config()
    for make in (
        lambda: FlowConfig.from_dict({**SMALL, **both}),
        lambda: config.replace(both),
        lambda: config.with_options(both),
        lambda: parse_assignments(["spawn.threshold=0.1", 'spawn={"threshold": 0.1}']),
    ):
        with pytest.raises(ConfigError, match="given twice") as refused:
            make()
        places = [fault.loc for fault in refused.value.faults]
        assert places.count(("spawn", "threshold")) == 1
    with pytest.raises(ConfigError) as refused:
        config.with_options({**both, "lattice_width": 9})
    assert {fault.loc for fault in refused.value.faults} == {
        ("spawn", "threshold"),
        ("spawn", "mode"),
        ("lattice_width",),
    }


def test_replace_keeps_the_rest() -> None:
    config = small_config(**{"spawn.threshold": 0.2, "spawn.max_children": 3})
    changed = config.replace({"spawn": {"max_children": 2}, "lattice_width": 5})
    assert changed.spawn.threshold == 0.2
    assert changed.spawn.max_children == 2
    assert changed.lattice_width == 5
    assert config.spawn.max_children == 3
    with pytest.raises(ConfigError, match="projection_age"):
        config.replace({"projection_age": 5})


def test_options_of_a_run() -> None:
    config = small_config()
    assert config.with_options({}) == config
    changed = config.with_options({"noise_std": 0.5, "trace.capacity": 3})
    assert changed.trace.capacity == 3
    assert config.with_options({"lattice_width": 4, "seed": 3}).seed == 3, "no change, no harm"


OTHER_CHOICES = {
    "mapper": "linear",
    "output_dim": 5,
    "output_planes": "both",
    "energy_update": "residual",
    "sensing": "gradient",
}


@pytest.mark.parametrize("name", sorted(MODEL_FIELDS))
def test_a_run_cannot_change_the_model(name: str) -> None:
    config = small_config()
    other = OTHER_CHOICES[name] if name in OTHER_CHOICES else getattr(config, name) + 1
    with pytest.raises(ConfigError, match=name) as refusal:
        config.with_options({name: other, "noise_std": -1, "nose": 1})
    found = {str(fault.loc[0]) for fault in refusal.value.faults}
    assert found == {name, "noise_std", "nose"}, "every fault at once"


def test_width_of_the_output() -> None:
    assert small_config().output_width == small_config().embedding_dim
    assert small_config(output_dim=3).output_width == 3
    assert small_config(output_planes="both").mapped_cells == 2 * small_config().surface_cells
    identity = small_config(mapper="identity", embedding_dim=16)
    assert identity.output_width == 16
    assert identity.replace({"output_planes": "both"}).output_width == 32


def test_a_background_belongs_to_soft_deposition() -> None:
    splat = small_config(aggregation_mode="splat", background=0.3)
    assert splat.background_weight == 0.3
    assert small_config(aggregation_mode="splat").background_weight == 0.1
    assert small_config().background_weight == 0.0
    for mode in ("weighted_v2", "legacy"):
        assert splat.with_options({"aggregation_mode": mode}).background is None
        with pytest.raises(ConfigError, match=f"aggregation_mode {mode} has no background"):
            splat.with_options({"aggregation_mode": mode, "background": 0.2})
    assert splat.with_options({"aggregation_mode": "splat"}).background == 0.3
    assert splat.with_options({"noise_std": 0.1}).background == 0.3
    with pytest.raises(ConfigError, match="has no background"):
        small_config().with_options({"background": 0.2})
    warnings = splat.with_options({"background": 0.0}).warnings()
    assert any("background = 0" in warning for warning in warnings)
    assert not any("background" in warning for warning in splat.warnings())


def test_determinism_displaces_noise_that_was_inherited() -> None:
    noisy = small_config(noise_std=0.3)
    for config in (
        noisy.with_options({"deterministic": True}),
        noisy.replace({"deterministic": True}),
        small_config(deterministic=True),
    ):
        assert config.deterministic
        assert config.noise_std == 0
    with pytest.raises(ConfigError, match="noise_std"):
        noisy.with_options({"deterministic": True, "noise_std": 0.3})
    with pytest.raises(ConfigError, match="noise_std"):
        small_config(deterministic=True).with_options({"noise_std": 0.3})
    assert small_config(deterministic=True).with_options({"seed": 3}).noise_std == 0


def test_assignments() -> None:
    assert parse_assignments(
        [
            "spawn.threshold=0.4",
            "precision=bfloat16",
            'boundary="reflect"',
            "max_steps=null",
            "noise_on_z=false",
            'trace.kinds=["spawn"]',
            " seed = 12 ",
        ]
    ) == {
        "spawn": {"threshold": 0.4},
        "precision": "bfloat16",
        "boundary": "reflect",
        "max_steps": None,
        "noise_on_z": False,
        "trace": {"kinds": ["spawn"]},
        "seed": 12,
    }
    assert parse_assignments([]) == {}


def test_assignments_that_are_none_are_refused_together() -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_assignments(["seed", "=3", "noise_std=0.1"])
    assert len(refusal.value.faults) == 2
    assert "FIELD=VALUE" in str(refusal.value)


@pytest.mark.parametrize("text", ["wings=2", "spawn.wings=2", "spawn.mode.x=2", "seed=NaN"])
def test_assignments_to_unknown_fields_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=text.partition("=")[0].split(".")[0]):
        small_config().replace(parse_assignments([text]))
