"""The config of one run, read from plain JSON data with the field names of docs/simulation.md §9.

Only what a run computes is kept; the guard of §8 belongs to the package under test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SpawnRules:
    """docs/simulation.md §3, rule 10."""

    mode: str
    threshold: float
    percentile: float
    max_children: int


@dataclass(frozen=True)
class ConvergenceRules:
    """docs/simulation.md §3, rule 9."""

    enabled: bool
    threshold: float
    min_steps: int
    window: int
    patience: int
    min_improvement: float


@dataclass(frozen=True)
class TraceRules:
    """docs/simulation.md §5; `kinds` holds names out of spawn, reflect, terminate."""

    capacity: int
    keep: str
    kinds: frozenset[str]


@dataclass(frozen=True)
class Rules:
    """Every number that a run needs, with nulls resolved and `deterministic` applied."""

    width: int
    height: int
    embedding_dim: int
    mapper_hidden_dim: int
    neuron_hidden_dim: int
    neuron_output_dim: int
    carrier_hidden_size: int
    carrier_num_layers: int
    mapper: str
    output_width: int
    planes_read: int
    residual: bool
    senses_gradient: bool
    displacement_scale: float
    max_displacement: float
    field_strength: float
    noise_std: float
    noise_on_z: bool
    reflect: bool
    min_displacement: float
    projection_age: int
    max_steps: int
    spawn: SpawnRules
    max_active_flows: int
    convergence: ConvergenceRules
    aggregation_mode: str
    background: float
    trace: TraceRules
    seed: int

    @property
    def cells(self) -> int:
        """S, the number of surface cells."""
        return self.width * self.height

    @property
    def neuron_inputs(self) -> int:
        """F, the width of what the neuron reads: x, y, z, e and what is sensed."""
        return 7 if self.senses_gradient else 4


def _one_of(group: Mapping[str, Any], field: str, allowed: tuple[str, ...]) -> str:
    value = group[field]
    if value not in allowed:
        raise ValueError(f"{field} must be one of {', '.join(allowed)}, got {value!r}")
    return str(value)


def read_rules(config: Mapping[str, Any], seed: int) -> Rules:
    """The rules of a run from its complete nested config and the seed that it was asked for.

    Nulls become max_steps = D, projection_age = min(D // 2, max_steps), max_active_flows = 4·S,
    output_dim = E (P·S where `mapper` is identity), background = 0.1 (0 in other modes than
    splat, where nothing reads it). With `deterministic` the noise is 0 and the seed is the
    config's own.
    Raises ValueError for what the reference does not do.
    """
    if config["precision"] != "float32":
        raise ValueError(f"precision must be float32 here, got {config['precision']!r}")
    if config["coord_version"] != 2:
        raise ValueError(f"coord_version must be 2 here, got {config['coord_version']!r}")
    width, height, depth = (int(config[f"lattice_{axis}"]) for axis in ("width", "height", "depth"))
    if min(width, height, depth) < 2:
        raise ValueError(f"lattice sides must be at least 2, got {width} x {height} x {depth}")

    max_steps = depth if config["max_steps"] is None else int(config["max_steps"])
    projection_age = (
        min(depth // 2, max_steps)
        if config["projection_age"] is None
        else int(config["projection_age"])
    )
    max_active_flows = (
        4 * width * height
        if config["max_active_flows"] is None
        else int(config["max_active_flows"])
    )
    embedding_dim, cells = int(config["embedding_dim"]), width * height
    mapper = _one_of(config, "mapper", ("mlp", "linear", "identity"))
    planes_read = 2 if _one_of(config, "output_planes", ("merged", "both")) == "both" else 1
    output_width = planes_read * cells if mapper == "identity" else embedding_dim
    if config["output_dim"] is not None:
        if mapper == "identity" and int(config["output_dim"]) != output_width:
            raise ValueError(f"output_dim must be {output_width}, got {config['output_dim']}")
        output_width = int(config["output_dim"])
    if mapper == "identity" and embedding_dim != cells:
        raise ValueError(f"embedding_dim must be {cells} with mapper identity, got {embedding_dim}")

    aggregation_mode = _one_of(config, "aggregation_mode", ("weighted_v2", "legacy", "splat"))
    splat, background = aggregation_mode == "splat", config["background"]
    if not splat and background is not None:
        raise ValueError(f"background must be null with {aggregation_mode}, got {background}")
    if background is None:
        background = 0.1 if splat else 0.0

    deterministic = bool(config["deterministic"])
    spawn, convergence, trace = config["spawn"], config["convergence"], config["trace"]
    kinds = frozenset(trace["kinds"])
    if not kinds <= {"spawn", "reflect", "terminate"}:
        raise ValueError(f"trace.kinds must be out of spawn, reflect, terminate, got {kinds}")
    return Rules(
        width=width,
        height=height,
        embedding_dim=embedding_dim,
        mapper_hidden_dim=int(config["mapper_hidden_dim"]),
        neuron_hidden_dim=int(config["neuron_hidden_dim"]),
        neuron_output_dim=int(config["neuron_output_dim"]),
        carrier_hidden_size=int(config["carrier_hidden_size"]),
        carrier_num_layers=int(config["carrier_num_layers"]),
        mapper=mapper,
        output_width=output_width,
        planes_read=planes_read,
        residual=_one_of(config, "energy_update", ("replace", "residual")) == "residual",
        senses_gradient=_one_of(config, "sensing", ("none", "gradient")) == "gradient",
        displacement_scale=float(config["displacement_scale"]),
        max_displacement=float(config["max_displacement"]),
        field_strength=float(config["field_strength"]),
        noise_std=0.0 if deterministic else float(config["noise_std"]),
        noise_on_z=bool(config["noise_on_z"]),
        reflect=_one_of(config, "boundary", ("reflect", "clamp")) == "reflect",
        min_displacement=float(config["min_displacement"]),
        projection_age=projection_age,
        max_steps=max_steps,
        spawn=SpawnRules(
            mode=_one_of(spawn, "mode", ("threshold", "percentile", "off")),
            threshold=float(spawn["threshold"]),
            percentile=float(spawn["percentile"]),
            max_children=int(spawn["max_children"]),
        ),
        max_active_flows=max_active_flows,
        convergence=ConvergenceRules(
            enabled=bool(convergence["enabled"]),
            threshold=float(convergence["threshold"]),
            min_steps=int(convergence["min_steps"]),
            window=int(convergence["window"]),
            patience=int(convergence["patience"]),
            min_improvement=float(convergence["min_improvement"]),
        ),
        aggregation_mode=aggregation_mode,
        background=float(background),
        trace=TraceRules(
            capacity=int(trace["capacity"]),
            keep=_one_of(trace, "keep", ("latest", "earliest", "lossless")),
            kinds=kinds,
        ),
        seed=int(config["seed"]) if deterministic else int(seed),
    )
