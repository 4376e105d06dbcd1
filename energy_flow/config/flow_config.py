"""``FlowConfig``: every setting of a simulation, and the guard that refuses bad ones.

The same names serve Python, ``--set spawn.threshold=0.4``, TOML and JSON files, and REST. Fields in
:data:`MODEL_FIELDS` change the weights' shapes or meaning and belong to a model; those in
:data:`RUN_FIELDS` may be set for one run. Defaults are those of the ``debug`` preset.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError

from energy_flow.config.combinations import REFUSED, advice
from energy_flow.config.validation import Group, broken_rules, faults_of, merge, nest, without
from energy_flow.errors import ConfigError, Fault

COORD_VERSION = 2

PositiveInt = Annotated[int, Field(ge=1, le=2**31 - 1)]
Side = Annotated[int, Field(ge=2, le=4096)]
Finite = Field(allow_inf_nan=False)


class Precision(StrEnum):
    """Dtype of the neuron's and the GRU's arithmetic and of the stored hidden state."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Boundary(StrEnum):
    """What the side walls in x and y do to a flow that would cross them."""

    REFLECT = "reflect"
    CLAMP = "clamp"


class SpawnMode(StrEnum):
    """When a moving flow spawns children."""

    THRESHOLD = "threshold"
    PERCENTILE = "percentile"
    OFF = "off"


class Aggregation(StrEnum):
    """How the scores of a surface cell are combined."""

    WEIGHTED_V2 = "weighted_v2"
    LEGACY = "legacy"


class Keep(StrEnum):
    """Which records survive when a ring is full; ``lossless`` writes it out and keeps all."""

    LATEST = "latest"
    EARLIEST = "earliest"
    LOSSLESS = "lossless"


class TraceKind(StrEnum):
    """Kinds of trace record."""

    SPAWN = "spawn"
    REFLECT = "reflect"
    TERMINATE = "terminate"


class SpawnConfig(Group):
    """When and how often a flow spawns children."""

    mode: SpawnMode = SpawnMode.THRESHOLD
    threshold: float = Field(0.3, gt=0, description="tau, in units of the box's half side")
    percentile: float = Field(95.0, description="of the lengths of a sample's active flows")
    max_children: int = Field(1, ge=0, le=255, description="of one parent in one step")


class ConvergenceConfig(Group):
    """When a sample is ended early because (almost) all its flows have arrived."""

    enabled: bool = True
    threshold: float = Field(0.8, gt=0, le=1, description="completed / created that ends it")
    min_steps: PositiveInt = 3
    window: Annotated[int, Field(ge=1, le=1024)] = 5
    patience: PositiveInt = 5
    min_improvement: float = Field(0.01, ge=0, description="relative growth that is not stale")


class TraceConfig(Group):
    """The ring of trace records of each sample."""

    capacity: int = Field(4096, ge=0, le=2**30, description="records a sample; 0 is off")
    keep: Keep = Keep.LATEST
    kinds: tuple[TraceKind, ...] = tuple(TraceKind)


class _Fields(Group):
    """The fields with their types and ranges; ``FlowConfig`` adds the combinations."""

    lattice_width: Side = 20
    lattice_height: Side = 20
    lattice_depth: Side = 10
    embedding_dim: PositiveInt = 768
    mapper_hidden_dim: PositiveInt = 1024
    neuron_hidden_dim: PositiveInt = 32
    neuron_output_dim: PositiveInt = 64
    carrier_hidden_size: Annotated[int, Field(ge=2, le=65536)] = 256
    carrier_num_layers: Annotated[int, Field(ge=1, le=64)] = 2
    precision: Precision = Precision.FLOAT32
    displacement_scale: float = Field(0.5, gt=0, description="of the raw proposal")
    max_displacement: float = Field(0.5, gt=0, le=2, description="per axis and step")
    noise_std: float = Field(0.25, ge=0, le=10, description="exploration noise per axis")
    noise_on_z: bool = True
    boundary: Boundary = Boundary.REFLECT
    min_displacement: float = Field(0.0, ge=0, description="shorter steps stall; 0 is off")
    projection_age: PositiveInt | None = Field(None, description="null: min(D // 2, max_steps)")
    max_steps: PositiveInt | None = Field(None, description="null: lattice_depth")
    spawn: SpawnConfig = SpawnConfig()
    max_active_flows: PositiveInt | None = Field(None, description="a sample; null: 4 W H")
    convergence: ConvergenceConfig = ConvergenceConfig()
    aggregation_mode: Aggregation = Aggregation.WEIGHTED_V2
    trace: TraceConfig = TraceConfig()
    deterministic: bool = Field(False, description="batch_invariant, no noise, this seed")
    batch_invariant: bool = Field(True, description="bitwise the same in any batch")
    seed: int = Field(0, ge=0, le=2**63 - 1)
    model_seed: int = Field(0, ge=0, le=2**63 - 1)
    coord_version: int = COORD_VERSION


class FlowConfig(_Fields):
    """Every setting of a simulation; frozen, keyword-only.

    Raises:
        ConfigError: on any unknown field, type, range or combination, all of them at once.
    """

    def __init__(self, **fields: Any) -> None:
        fields = _settle_determinism(fields)
        faults: list[Fault] = []
        try:
            super().__init__(**fields)
            checked = self.to_dict()
            unsure: set[str] = set()
        except ValidationError as error:
            faults = faults_of(error, FlowConfig)
            checked, unsure = without(_Fields, fields, faults)
        faults += broken_rules(REFUSED, checked, unsure)
        if faults:
            raise ConfigError(*faults)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Builds a config from plain data with nested or dotted keys (JSON, TOML)."""
        return cls(**nest(fields))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, nested, every field present."""
        data: dict[str, Any] = self.model_dump(mode="json")
        return data

    def replace(self, fields: Mapping[str, Any]) -> Self:
        """A copy with other values for any fields, nested or dotted.

        An inherited ``noise_std`` becomes 0 when ``deterministic`` is asked for here.
        """
        changes = nest(fields)
        base = self.to_dict()
        if changes.get("deterministic") is True and "noise_std" not in changes:
            base["noise_std"] = 0.0
        return type(self)(**merge(base, changes))

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """A copy with other values for run-time fields, nested or dotted; without any, the same.

        Raises:
            ConfigError: also when a field of the model is named.
        """
        if not options:
            return self
        changes = nest(options)
        fixed = [
            Fault((name,), "belongs to the model and cannot be set for a run", changes[name])
            for name in changes
            if name in MODEL_FIELDS and changes[name] != self.to_dict()[name]
        ]
        changes = {name: value for name, value in changes.items() if name not in MODEL_FIELDS}
        try:
            config = self.replace(changes)
        except ConfigError as error:
            raise ConfigError(*fixed, *error.faults) from None
        if fixed:
            raise ConfigError(*fixed)
        return config

    def warnings(self) -> tuple[str, ...]:
        """Settings that are allowed but cannot have the effect one would expect."""
        return _advice(self)

    @property
    def surface_cells(self) -> int:
        """S = W · H, also the number of initial flows of a sample."""
        return self.lattice_width * self.lattice_height

    @property
    def step_limit(self) -> int:
        """``max_steps`` with its default filled in."""
        return self.max_steps if self.max_steps is not None else self.lattice_depth

    @property
    def age_limit(self) -> int:
        """``projection_age`` with its default filled in; at least 1."""
        if self.projection_age is not None:
            return self.projection_age
        return min(self.lattice_depth // 2, self.step_limit)

    @property
    def active_limit(self) -> int:
        """``max_active_flows`` with its default filled in."""
        return (
            self.max_active_flows if self.max_active_flows is not None else 4 * self.surface_cells
        )

    @property
    def ring_records(self) -> int:
        """Records of a sample's ring; 0 when nothing is recorded.

        A lossless ring has room for the records of any one step: of N flows, N may reflect and
        end, and the rest of ``max_active_flows`` and of their places be filled by births.
        """
        if not self.trace.kinds or not self.trace.capacity:
            return 0
        if self.trace.keep is Keep.LOSSLESS:
            return max(self.trace.capacity, 3 * self.active_limit)
        return self.trace.capacity


MODEL_FIELDS: frozenset[str] = frozenset(
    {
        "lattice_width",
        "lattice_height",
        "lattice_depth",
        "embedding_dim",
        "mapper_hidden_dim",
        "neuron_hidden_dim",
        "neuron_output_dim",
        "carrier_hidden_size",
        "carrier_num_layers",
        "model_seed",
        "coord_version",
    }
)
RUN_FIELDS: frozenset[str] = frozenset(FlowConfig.model_fields) - MODEL_FIELDS


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Reads ``FIELD=VALUE`` pairs; a value is JSON where it parses as such, else text.

    Returns:
        Nested data for :meth:`FlowConfig.replace`.

    Raises:
        ConfigError: when an item has no ``=`` or names a field that does not exist.
    """
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for item in assignments:
        name, equals, text = item.partition("=")
        if not equals or not name.strip():
            faults.append(
                Fault((item,), "write FIELD=VALUE, for example spawn.threshold=0.4", item)
            )
            continue
        try:
            values[name.strip()] = json.loads(text)
        except json.JSONDecodeError:
            values[name.strip()] = text.strip()
    if faults:
        raise ConfigError(*faults)
    return nest(values)


@lru_cache(maxsize=256)
def _advice(config: FlowConfig) -> tuple[str, ...]:
    # Asked once a run, and the configs of many small runs are equal.
    return advice(config.to_dict())


def _settle_determinism(fields: dict[str, Any]) -> dict[str, Any]:
    """Noise that was inherited, not asked for, gives way to ``deterministic``."""
    if fields.get("deterministic") is True and "noise_std" not in fields:
        return {**fields, "noise_std": 0.0}
    return fields
