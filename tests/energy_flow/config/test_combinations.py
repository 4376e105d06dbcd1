"""Combinations of fields: each refused one with its nearest accepted neighbour, and warnings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from energy_flow.config.flow_config import MODEL_FIELDS, FlowConfig
from energy_flow.errors import ConfigError
from energy_flow.simulation.footprint import footprint, require_fit
from tests.support.small_model import CELLS, embeddings, make_untrained, small_config

QUIET: Mapping[str, Any] = {"noise_std": 0.0, "max_displacement": 0.3}
CANNOT_FIRE = math.sqrt(3) * 0.3 / 2 + 1e-4
CAN_FIRE = math.sqrt(3) * 0.3 / 2 - 1e-4

Fields = Mapping[str, Any]
Case = tuple[str, Fields, list[str], list[dict[str, Any]]]
"""Name, fields, what the message must hold, and neighbours that are taken."""

REFUSED: list[Case] = [
    (
        "age beyond the steps",
        {"max_steps": 8, "projection_age": 9},
        ["projection_age", "max_steps", "9", "8"],
        [{"max_steps": 8, "projection_age": 8}, {"max_steps": 9, "projection_age": 9}],
    ),
    (
        "age beyond the default steps",
        {"lattice_depth": 6, "projection_age": 7},
        ["projection_age", "max_steps", "lattice_depth", "7", "6"],
        [
            {"lattice_depth": 6, "projection_age": 6},
            {"lattice_depth": 6, "projection_age": 7, "max_steps": 7},
        ],
    ),
    (
        "a threshold out of reach",
        {**QUIET, "spawn.threshold": CANNOT_FIRE},
        ["spawn.threshold", "max_displacement", "noise_std", "0.3", "spawn.mode"],
        [
            {**QUIET, "spawn.threshold": CAN_FIRE},
            {**QUIET, "spawn.threshold": CANNOT_FIRE, "noise_std": 0.01},
            {**QUIET, "spawn.threshold": CANNOT_FIRE, "spawn.mode": "off"},
            {**QUIET, "spawn.threshold": CANNOT_FIRE, "spawn.mode": "percentile"},
            {**QUIET, "spawn.threshold": CANNOT_FIRE, "max_displacement": 0.31},
        ],
    ),
    (
        "a threshold out of reach of a deterministic run",
        {"deterministic": True, "max_displacement": 0.3, "spawn.threshold": CANNOT_FIRE},
        ["spawn.threshold", "max_displacement"],
        [{"deterministic": True, "max_displacement": 0.3, "spawn.threshold": CAN_FIRE}],
    ),
    (
        "identity with another width than the lattice has cells",
        {"mapper": "identity", "embedding_dim": CELLS + 1},
        ["mapper", "embedding_dim", str(CELLS), str(CELLS + 1)],
        [
            {"mapper": "identity", "embedding_dim": CELLS},
            {"mapper": "linear", "embedding_dim": CELLS + 1},
        ],
    ),
    (
        "identity with another output than the lattice has",
        {"mapper": "identity", "embedding_dim": CELLS, "output_dim": CELLS + 1},
        ["output_dim", "output_planes", "merged", str(CELLS)],
        [
            {"mapper": "identity", "embedding_dim": CELLS, "output_dim": CELLS},
            {
                "mapper": "identity",
                "embedding_dim": CELLS,
                "output_dim": 2 * CELLS,
                "output_planes": "both",
            },
            {"mapper": "linear", "embedding_dim": CELLS, "output_dim": CELLS + 1},
        ],
    ),
    (
        "a background without soft deposition",
        {"aggregation_mode": "legacy", "background": 0.2},
        ["background", "aggregation_mode", "legacy", "splat"],
        [
            {"aggregation_mode": "splat", "background": 0.2},
            {"aggregation_mode": "legacy", "background": None},
        ],
    ),
    *(
        (
            f"percentile {percentile}",
            {"spawn.mode": "percentile", "spawn.percentile": percentile},
            ["spawn.percentile", str(percentile), "0", "100"],
            [
                {"spawn.mode": "percentile", "spawn.percentile": 0.001},
                {"spawn.mode": "percentile", "spawn.percentile": 99.999},
            ],
        )
        for percentile in (0, 100, -1, 100.5)
    ),
    *(
        (
            f"clamping walls with spawning by {mode}",
            {"boundary": "clamp", "spawn.mode": mode},
            ["boundary", "spawn.mode", "clamp", mode, "reflect", "off"],
            [
                {"boundary": "clamp", "spawn.mode": "off"},
                {"boundary": "reflect", "spawn.mode": mode},
            ],
        )
        for mode in ("threshold", "percentile")
    ),
    (
        "less room than initial flows",
        {"max_active_flows": CELLS - 1},
        ["max_active_flows", "lattice_width", "lattice_height", str(CELLS - 1), str(CELLS)],
        [{"max_active_flows": CELLS}, {"max_active_flows": 15, "lattice_width": 3}],
    ),
    (
        "determinism with noise",
        {"deterministic": True, "noise_std": 0.1},
        ["deterministic", "noise_std", "0.1"],
        [
            {"deterministic": True, "noise_std": 0},
            {"deterministic": True},
            {"deterministic": False, "noise_std": 0.1},
        ],
    ),
    (
        "determinism that depends on the batch",
        {"deterministic": True, "batch_invariant": False},
        ["deterministic", "batch_invariant"],
        [{"deterministic": True}, {"batch_invariant": False}],
    ),
    *(
        (
            f"coordinates {version}",
            {"coord_version": version},
            ["coord_version", "2"],
            [{"coord_version": 2}],
        )
        for version in (0, 1, 3)
    ),
    (
        "spawning without children",
        {"spawn.max_children": 0},
        ["spawn.mode", "spawn.max_children"],
        [{"spawn.max_children": 1}, {"spawn.max_children": 0, "spawn.mode": "off"}],
    ),
    (
        "a trace kind twice",
        {"trace.kinds": ["spawn", "reflect", "spawn"]},
        ["trace.kinds", "spawn"],
        [{"trace.kinds": ["spawn", "reflect"]}],
    ),
]


@pytest.mark.parametrize(("fields", "words"), [pytest.param(*r[1:3], id=r[0]) for r in REFUSED])
def test_refused(fields: Fields, words: list[str]) -> None:
    with pytest.raises(ConfigError) as refusal:
        small_config(**fields)
    assert len(refusal.value.faults) == 1
    for word in words:
        assert word in str(refusal.value)
    options = {name: value for name, value in fields.items() if not name.startswith("lattice")}
    if options == fields and not set(fields) & MODEL_FIELDS:
        with pytest.raises(ConfigError) as again:
            small_config().with_options(options)
        assert [fault.loc for fault in again.value.faults] == [
            fault.loc for fault in refusal.value.faults
        ]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(neighbour, id=f"{r[0]} {n}")
        for r in REFUSED
        for n, neighbour in enumerate(r[3])
    ],
)
def test_neighbouring_values_are_accepted(fields: Fields) -> None:
    small_config(**fields)


def test_all_broken_rules_are_reported_together() -> None:
    fields = {name: value for rule in REFUSED for name, value in rule[1].items()}
    fields |= {"boundary": "clamp", "spawn.mode": "percentile", "trace.kinds": ["spawn", "spawn"]}
    fields |= {"noise_std": 0.1, "max_active_flows": 3, "projection_age": 99}
    with pytest.raises(ConfigError) as refusal:
        small_config(**fields)
    found = [".".join(map(str, fault.loc)) for fault in refusal.value.faults]
    # Boundary, percentile, age, room, coordinates, children, kinds, two of determinism, output
    # of the identity, background.
    assert len(found) == 11, found
    assert len(set(map(str, refusal.value.faults))) == 11


def test_a_sample_must_fit_in_memory() -> None:
    config = small_config()
    needed = footprint(config, 1)
    require_fit(config, needed.total)
    with pytest.raises(ConfigError) as refusal:
        require_fit(config, needed.total - 1)
    (fault,) = refusal.value.faults
    assert fault.got["state_bytes"] == needed.state
    assert fault.got["trace_bytes"] == needed.trace
    assert fault.got["weights_bytes"] == needed.weights
    assert fault.got["limit_bytes"] == needed.total - 1
    for part in ("state", "trace", "weights"):
        assert part in str(refusal.value)


WARNED: list[Case] = [
    (
        "soft deposition without background",
        {"aggregation_mode": "splat", "background": 0.0},
        ["background = 0", "splat"],
        [{"aggregation_mode": "splat", "background": 0.01}, {"aggregation_mode": "splat"}],
    ),
    *(
        (
            f"{name} beyond the steps",
            {"max_steps": 9, f"convergence.{name}": 10},
            [f"convergence.{name}", "max_steps", "10", "9"],
            [
                {"max_steps": 9, f"convergence.{name}": 9},
                {"max_steps": 10, f"convergence.{name}": 10},
                {"max_steps": 9, f"convergence.{name}": 10, "convergence.enabled": False},
            ],
        )
        for name in ("window", "min_steps", "patience")
    ),
    (
        "clamping walls with noise",
        {"boundary": "clamp", "spawn.mode": "off", "noise_std": 0.1},
        ["boundary", "clamp", "noise"],
        [
            {"boundary": "clamp", "spawn.mode": "off", "noise_std": 0.0},
            {"boundary": "reflect", "spawn.mode": "off", "noise_std": 0.1},
        ],
    ),
    (
        "a least displacement above most",
        {"min_displacement": 1.8, "max_displacement": 0.5, "noise_std": 0.5},
        ["min_displacement", "1.8"],
        [
            {"min_displacement": 0.1, "max_displacement": 0.5, "noise_std": 0.5},
            {"min_displacement": 0.0},
        ],
    ),
]
LONG: Fields = {"max_steps": 9, "convergence.window": 2, "convergence.patience": 2}


@pytest.mark.parametrize(("fields", "words"), [pytest.param(*r[1:3], id=r[0]) for r in WARNED])
def test_refused_and_accepted_values(fields: Fields, words: list[str]) -> None:
    config = small_config(**{**LONG, **fields})
    (warning,) = config.warnings()
    for word in words:
        assert word in warning
    result = make_untrained().simulate(embeddings(1), options={**LONG, **fields})
    assert warning in result.warnings


@pytest.mark.parametrize(
    "fields",
    [pytest.param(neighbour, id=f"{r[0]} {n}") for r in WARNED for n, neighbour in enumerate(r[3])],
)
def test_neighbouring_values_give_no_warning(fields: Fields) -> None:
    assert small_config(**{**LONG, **fields}).warnings() == ()


def test_several_warnings_come_together() -> None:
    config = small_config(max_steps=2, min_displacement=9.0)
    assert len(config.warnings()) == 4
    assert isinstance(config, FlowConfig)
