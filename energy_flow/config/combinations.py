"""Combinations of config fields that are refused, and those that give a warning.

Each rule reads plain config data.
"""

from __future__ import annotations

import math

from energy_flow.choices import (
    AggregationMode,
    Boundary,
    MapperKind,
    OutputPlanes,
    SpawnMode,
    TraceKeep,
)
from energy_flow.config.validation import Rule, Values


def _step_limit(config: Values) -> int:
    return int(config["max_steps"] or config["lattice_depth"])


def _surface_cells(config: Values) -> int:
    return int(config["lattice_width"]) * int(config["lattice_height"])


def _longest_step(config: Values) -> float:
    return math.sqrt(3.0) * float(config["max_displacement"])


def _spawns_by_threshold(config: Values) -> bool:
    spawn = config["spawn"]
    return bool(spawn["mode"] == SpawnMode.THRESHOLD and spawn["max_children"] > 0)


def _mapped_cells(config: Values) -> int:
    return OutputPlanes(config["output_planes"]).planes * _surface_cells(config)


REFUSED = (
    Rule(
        ("coord_version",),
        lambda c: c["coord_version"] != 2,
        lambda c: f"must be 2, not {c['coord_version']}; other versions are not supported",
    ),
    Rule(
        ("projection_age", "max_steps", "lattice_depth"),
        lambda c: c["projection_age"] is not None and c["projection_age"] > _step_limit(c),
        lambda c: f"projection_age may be at most max_steps = {_step_limit(c)}",
    ),
    Rule(
        ("spawn.mode", "spawn.threshold", "max_displacement", "noise_std"),
        lambda c: (
            _spawns_by_threshold(c)
            and c["noise_std"] == 0
            and 2 * c["spawn"]["threshold"] > _longest_step(c)
        ),
        lambda c: (
            "spawning by threshold never happens: without noise 2 * spawn.threshold may be at most "
            f"sqrt(3) * max_displacement = {_longest_step(c):.6g}; lower the threshold or set "
            "spawn.mode to off"
        ),
    ),
    Rule(
        ("spawn.percentile",),
        lambda c: not 0 < c["spawn"]["percentile"] < 100,
        lambda c: "must be above 0 and below 100",
    ),
    Rule(
        ("spawn.mode", "spawn.max_children"),
        lambda c: c["spawn"]["mode"] != SpawnMode.OFF and c["spawn"]["max_children"] == 0,
        lambda c: "spawning with spawn.max_children 0 never happens; set spawn.mode to off",
    ),
    Rule(
        ("boundary", "spawn.mode"),
        lambda c: c["boundary"] == Boundary.CLAMP and c["spawn"]["mode"] != SpawnMode.OFF,
        lambda c: (
            "spawning does not work with walls that clamp, because they shorten displacements; set "
            "boundary to reflect or spawn.mode to off"
        ),
    ),
    Rule(
        ("max_active_flows", "lattice_width", "lattice_height"),
        lambda c: c["max_active_flows"] is not None and c["max_active_flows"] < _surface_cells(c),
        lambda c: (
            "max_active_flows must be at least lattice_width * lattice_height = "
            f"{_surface_cells(c)}, the initial flows of a sample"
        ),
    ),
    Rule(
        ("deterministic", "noise_std"),
        lambda c: bool(c["deterministic"]) and c["noise_std"] > 0,
        lambda c: "a deterministic run has no noise; set noise_std to 0 or deterministic to false",
    ),
    Rule(
        ("deterministic", "batch_invariant"),
        lambda c: bool(c["deterministic"]) and not c["batch_invariant"],
        lambda c: "a deterministic run is batch_invariant; set batch_invariant to true",
    ),
    Rule(
        ("mapper", "embedding_dim", "lattice_width", "lattice_height"),
        lambda c: c["mapper"] == MapperKind.IDENTITY and c["embedding_dim"] != _surface_cells(c),
        lambda c: (
            "with mapper identity, embedding_dim must be lattice_width * lattice_height = "
            f"{_surface_cells(c)}; set embedding_dim to that, or mapper to mlp or linear"
        ),
    ),
    Rule(
        ("output_dim", "mapper", "output_planes"),
        lambda c: (
            c["mapper"] == MapperKind.IDENTITY and c["output_dim"] not in (None, _mapped_cells(c))
        ),
        lambda c: (
            "with mapper identity, output_dim can only be the number of cells of output_planes = "
            f"{c['output_planes']}, which is {_mapped_cells(c)}; leave it out, or set mapper to "
            "mlp or linear"
        ),
    ),
    Rule(
        ("background", "aggregation_mode"),
        lambda c: c["background"] is not None and c["aggregation_mode"] != AggregationMode.SPLAT,
        lambda c: (
            f"aggregation_mode {c['aggregation_mode']} has no background; set aggregation_mode to "
            "splat, or leave background out"
        ),
    ),
    Rule(
        ("trace.kinds",),
        lambda c: len(set(c["trace"]["kinds"])) != len(c["trace"]["kinds"]),
        lambda c: "must name each kind once",
    ),
)


def _cannot_act(field: str) -> Rule:
    return Rule(
        ("convergence.enabled", f"convergence.{field}", "max_steps", "lattice_depth"),
        lambda c: c["convergence"]["enabled"] and c["convergence"][field] > _step_limit(c),
        lambda c: (
            f"convergence.{field} = {c['convergence'][field]} is beyond max_steps = "
            f"{_step_limit(c)}: "
            + (
                "convergence never ends a sample"
                if field == "min_steps"
                else "stale checks never end a sample"
            )
        ),
    )


WARNED = (
    Rule(
        ("trace.keep", "trace.capacity", "trace.kinds"),
        lambda c: (
            c["trace"]["keep"] == TraceKeep.LOSSLESS
            and not (c["trace"]["capacity"] and c["trace"]["kinds"])
        ),
        lambda c: (
            "trace.keep = lossless keeps nothing: tracing is off, with trace.capacity "
            f"{c['trace']['capacity']} and {len(c['trace']['kinds'])} trace.kinds"
        ),
    ),
    Rule(
        ("background", "aggregation_mode"),
        lambda c: c["aggregation_mode"] == AggregationMode.SPLAT and c["background"] == 0,
        lambda c: (
            "background = 0 with aggregation_mode splat: a cell jumps from 0 to the energy of a "
            "flow at the slightest touch, so small moves change outputs much"
        ),
    ),
    _cannot_act("min_steps"),
    _cannot_act("window"),
    _cannot_act("patience"),
    Rule(
        ("boundary", "noise_std"),
        lambda c: c["boundary"] == Boundary.CLAMP and c["noise_std"] > 0,
        lambda c: "boundary = clamp with noise: flows stay at the walls",
    ),
    Rule(
        ("min_displacement", "max_displacement", "noise_std"),
        lambda c: (
            c["min_displacement"] > 0.5 * (_longest_step(c) + math.sqrt(3.0) * c["noise_std"])
        ),
        lambda c: (
            f"min_displacement = {c['min_displacement']:g} is above most displacements: most flows "
            "stall and are not tallied"
        ),
    ),
)
