"""``FlowConfig``: every setting of a simulation, with the checks that refuse bad settings.

The same names are used in Python, ``--set spawn.threshold=0.4``, TOML and JSON files, and REST.
Fields in :data:`MODEL_FIELDS` change the shapes or the meaning of weights and belong to a model.
Those in :data:`RUN_FIELDS` may be set for one run. Defaults are those of the ``debug`` preset.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import Field, ValidationError

from energy_flow.choices import (
    AggregationMode,
    Boundary,
    EnergyUpdate,
    MapperKind,
    OutputPlanes,
    Precision,
    Sensing,
    SpawnMode,
    TraceKeep,
    TraceKind,
)
from energy_flow.config.combinations import REFUSED, WARNED
from energy_flow.config.validation import (
    Group,
    check_rules,
    collect_faults,
    drop_faulty_fields,
    find_booleans,
    find_repeats,
    list_warnings,
    merge,
    nest,
    reporting,
)
from energy_flow.errors import ConfigError, Fault

COORD_VERSION = 2
DEFAULT_BACKGROUND: Final = 0.1
"""Background of soft deposition where the config names none."""

PositiveInt = Annotated[int, Field(ge=1, le=2**31 - 1)]
Side = Annotated[int, Field(ge=2, le=4096)]

T = TypeVar("T")
_OF_MODEL: Final = "belongs to a model"
OfModel = Annotated[T, _OF_MODEL]
"""The type of a field that changes the shapes or the meaning of weights."""


class SpawnConfig(Group):
    """When and how often a flow spawns children."""

    mode: SpawnMode = Field(SpawnMode.THRESHOLD, description="rule by which flows spawn children")
    threshold: float = Field(
        0.3,
        gt=0,
        description="length in half sides of the box; mode threshold: a displacement of n such "
        "lengths spawns n - 1 children; mode percentile: the least length that spawns",
    )
    percentile: float = Field(
        95.0,
        description="percentile of the displacements of a sample's active flows, beyond which a "
        "flow spawns; above 0 and below 100; mode percentile only",
    )
    max_children: int = Field(1, ge=0, le=255, description="most children of a flow in one step")


class ConvergenceConfig(Group):
    """When a sample is ended early because (almost) all its flows have arrived."""

    enabled: bool = Field(True, description="end a sample early once it has converged")
    threshold: float = Field(
        0.8, gt=0, le=1, description="completed share of a sample's flows that ends the sample"
    )
    min_steps: PositiveInt = Field(3, description="steps of a sample up to the first check")
    window: Annotated[int, Field(ge=1, le=1024)] = Field(
        5, description="checks over which the number of completed flows is averaged"
    )
    patience: PositiveInt = Field(5, description="stale checks in a row that end a sample")
    min_improvement: float = Field(
        0.01, ge=0, description="relative growth of that average, below which a check is stale"
    )


class TraceConfig(Group):
    """The ring of trace records of each sample."""

    capacity: int = Field(
        4096, ge=0, le=2**30, description="records kept for each sample; 0 turns tracing off"
    )
    keep: TraceKeep = Field(
        TraceKeep.LATEST, description="records that are kept when there is no more room"
    )
    kinds: tuple[TraceKind, ...] = Field(
        tuple(TraceKind), description="kinds that are recorded; all kinds are counted"
    )


class _Fields(Group):
    """The fields with their types and ranges; ``FlowConfig`` adds the combinations."""

    lattice_width: OfModel[Side] = Field(20, description="cells of the lattice along x")
    lattice_height: OfModel[Side] = Field(20, description="cells of the lattice along y")
    lattice_depth: OfModel[Side] = Field(10, description="cells of the lattice along z")
    embedding_dim: OfModel[PositiveInt] = Field(768, description="numbers of an embedding")
    mapper_hidden_dim: OfModel[PositiveInt] = Field(
        1024, description="width of the hidden layer of the input and the output mapper"
    )
    neuron_hidden_dim: OfModel[PositiveInt] = Field(
        32, description="width of the hidden layers of the neuron"
    )
    neuron_output_dim: OfModel[PositiveInt] = Field(
        64, description="numbers that the neuron passes to the GRU"
    )
    carrier_hidden_size: OfModel[Annotated[int, Field(ge=2, le=65536)]] = Field(
        256, description="width of the hidden state of each layer of the GRU"
    )
    carrier_num_layers: OfModel[Annotated[int, Field(ge=1, le=64)]] = Field(
        2, description="layers of the GRU"
    )
    mapper: OfModel[MapperKind] = Field(
        MapperKind.MLP,
        description="layers of the input and the output mapper; identity: none, which needs "
        "embedding_dim = lattice_width * lattice_height",
    )
    output_dim: OfModel[PositiveInt | None] = Field(
        None,
        description="numbers of an output embedding; null: embedding_dim, or one for each cell "
        "that the output mapper reads where mapper is identity",
    )
    output_planes: OfModel[OutputPlanes] = Field(
        OutputPlanes.MERGED,
        description="what the output mapper reads: merged, the surface of both exit planes "
        "together; both, the surfaces of the two planes, z0 first",
    )
    energy_update: OfModel[EnergyUpdate] = Field(
        EnergyUpdate.REPLACE,
        description="what the energy head gives in a step: replace, the new energy; residual, "
        "its difference from the old one",
    )
    sensing: OfModel[Sensing] = Field(
        Sensing.NONE,
        description="what a flow senses where it is: none, only its position and energy; "
        "gradient, also the sample's initial energies there, and their slopes along x and y",
    )
    precision: Precision = Field(
        Precision.FLOAT32, description="dtype of the neuron, the GRU and the hidden state"
    )
    displacement_scale: float = Field(
        0.5, gt=0, le=1e6, description="factor of the displacement that the networks propose"
    )
    max_displacement: float = Field(
        0.5,
        gt=0,
        le=2,
        description="largest displacement per axis and step before noise, in half sides of the box",
    )
    field_strength: float = Field(
        0.0,
        ge=-1e6,
        le=1e6,
        description="strength of a field along z in which the energy acts as a charge: "
        "displacement_scale * field_strength * energy is added to a step's displacement along z",
    )
    noise_std: float = Field(
        0.25,
        ge=0,
        le=10,
        description="standard deviation of the exploration noise per axis and step, in half sides "
        "of the box",
    )
    noise_on_z: bool = Field(True, description="exploration noise along z as well")
    boundary: Boundary = Field(
        Boundary.REFLECT, description="what the walls in x and y do to a flow that crosses them"
    )
    min_displacement: float = Field(
        0.0,
        ge=0,
        description="length of a displacement, in half sides of the box, below which a flow ends "
        "as stalled; 0 turns this off",
    )
    projection_age: PositiveInt | None = Field(
        None,
        description="age in steps at which a flow is moved to the nearest plane; at most "
        "max_steps; null: half of lattice_depth, at most max_steps",
    )
    max_steps: PositiveInt | None = Field(
        None, description="most steps of a sample; null: lattice_depth"
    )
    spawn: SpawnConfig = Field(
        SpawnConfig(), description="when and how often a flow spawns children"
    )
    max_active_flows: PositiveInt | None = Field(
        None,
        description="most active flows of a sample; at least one for each of the lattice_width * "
        "lattice_height cells; null: four for each",
    )
    convergence: ConvergenceConfig = Field(
        ConvergenceConfig(), description="when a sample ends early because its flows have arrived"
    )
    aggregation_mode: AggregationMode = Field(
        AggregationMode.WEIGHTED_V2,
        description="how the scores of a surface cell are combined; splat: soft deposition on "
        "four cells and both exit planes, which has gradients in the position of an exit",
    )
    background: float | None = Field(
        None,
        ge=0,
        description="weight with which a surface cell holds 0 under aggregation_mode splat; null: "
        f"{DEFAULT_BACKGROUND} under splat, none in other modes",
    )
    trace: TraceConfig = Field(TraceConfig(), description="which records of events are kept")
    deterministic: bool = Field(
        False, description="run without noise, with batch_invariant and the config's own seed"
    )
    batch_invariant: bool = Field(
        True, description="give a sample bitwise the same result in any batch"
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, description="seed of the exploration noise")
    model_seed: OfModel[int] = Field(
        0, ge=0, le=2**63 - 1, description="seed of the initial weights of an untrained model"
    )
    coord_version: OfModel[int] = Field(
        COORD_VERSION, description=f"version of the coordinate system; must be {COORD_VERSION}"
    )


class FlowConfig(_Fields):
    """Every setting of a simulation.

    Args:
        **fields: by name; groups as objects or mappings.

    Raises:
        ConfigError: with every unknown field and every fault of type, range or combination.
    """

    def __init__(self, **fields: Any) -> None:
        fields = _settle_determinism(fields)
        faults = find_booleans(FlowConfig, fields)
        try:
            super().__init__(**fields)
            checked = self.to_dict()
            unsure = {".".join(map(str, fault.loc)) for fault in faults}
        except ValidationError as error:
            faults = collect_faults(error, FlowConfig, found=faults)
            checked, unsure = drop_faulty_fields(_Fields, fields, faults)
        faults += check_rules(REFUSED, checked, unsure)
        if faults:
            raise ConfigError(*faults)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return a config from plain data with nested or dotted keys, such as JSON or TOML.

        Args:
            fields: values by name.

        Raises:
            ConfigError: with every fault.
        """
        with reporting(find_repeats(fields)):
            return cls(**nest(fields))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data with nested groups."""
        data: dict[str, Any] = self.model_dump(mode="json")
        return data

    def replace(self, fields: Mapping[str, Any]) -> Self:
        """Return a copy with other values for any fields.

        ``noise_std`` becomes 0 where ``deterministic`` is set to true and ``noise_std`` is not set.
        ``background`` becomes null where another ``aggregation_mode`` than splat is set and
        ``background`` is not.

        Args:
            fields: values by name, nested or dotted.

        Raises:
            ConfigError: the copy is refused.
        """
        changes = nest(fields)
        base = self.to_dict()
        if changes.get("deterministic") is True and "noise_std" not in changes:
            base["noise_std"] = 0.0
        if changes.get("aggregation_mode", AggregationMode.SPLAT) != AggregationMode.SPLAT:
            base["background"] = None
        with reporting(find_repeats(fields)):
            return type(self)(**merge(base, changes))

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """Return a copy with other values for fields that may be set for a run.

        Args:
            options: values by name, nested or dotted.

        Raises:
            ConfigError: the copy is refused, or a field of the model would change.
        """
        if not options:
            return self
        changes = nest(options)
        fixed = [
            Fault(
                (name,),
                "belongs to the model and cannot be set for a run; use another model",
                changes[name],
            )
            for name in changes
            if name in MODEL_FIELDS and changes[name] != self.to_dict()[name]
        ]
        changes = {name: value for name, value in changes.items() if name not in MODEL_FIELDS}
        with reporting([*fixed, *find_repeats(options)]):
            return self.replace(changes)

    def warnings(self) -> tuple[str, ...]:
        """Return messages about settings that are allowed but have no effect."""
        return _warnings(self)

    @property
    def surface_cells(self) -> int:
        """Return S = W · H, which is also the number of initial flows of a sample."""
        return self.lattice_width * self.lattice_height

    @property
    def mapped_cells(self) -> int:
        """Return P · S, the number of surface cells that the output mapper reads."""
        return self.output_planes.planes * self.surface_cells

    @property
    def output_width(self) -> int:
        """Return E_out, the number of components of an output embedding."""
        if self.output_dim is not None:
            return self.output_dim
        return self.mapped_cells if self.mapper is MapperKind.IDENTITY else self.embedding_dim

    @property
    def background_weight(self) -> float:
        """Return β, the weight of the background under ``splat``; 0 in other modes."""
        if self.aggregation_mode is not AggregationMode.SPLAT:
            return 0.0
        return DEFAULT_BACKGROUND if self.background is None else self.background

    @property
    def step_limit(self) -> int:
        """Return ``max_steps``, or its default."""
        return self.max_steps if self.max_steps is not None else self.lattice_depth

    @property
    def age_limit(self) -> int:
        """Return ``projection_age``, or its default; at least 1."""
        if self.projection_age is not None:
            return self.projection_age
        return min(self.lattice_depth // 2, self.step_limit)

    @property
    def active_limit(self) -> int:
        """Return ``max_active_flows``, or its default."""
        return (
            self.max_active_flows if self.max_active_flows is not None else 4 * self.surface_cells
        )

    @property
    def ring_records(self) -> int:
        """Return the records that a sample's ring can hold; 0 when nothing is recorded.

        A lossless ring can hold the records of any one step. In a step, each of the at most
        ``max_active_flows`` flows may reflect and end, and as many may be born.
        """
        if not self.trace.kinds or not self.trace.capacity:
            return 0
        if self.trace.keep is TraceKeep.LOSSLESS:
            return max(self.trace.capacity, 3 * self.active_limit)
        return self.trace.capacity


MODEL_FIELDS: frozenset[str] = frozenset(
    name for name, field in FlowConfig.model_fields.items() if _OF_MODEL in field.metadata
)
RUN_FIELDS: frozenset[str] = frozenset(FlowConfig.model_fields) - MODEL_FIELDS


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Return the fields of ``FIELD=VALUE`` pairs as nested data for :meth:`FlowConfig.replace`.

    Args:
        assignments: pairs; a value is JSON if it can be parsed as JSON, else text.

    Raises:
        ConfigError: an item has no ``=``.
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
    with reporting([*faults, *find_repeats(values)]):
        return nest(values)


@lru_cache(maxsize=256)
def _warnings(config: FlowConfig) -> tuple[str, ...]:
    # Called for each run; many small runs have equal configs.
    return list_warnings(WARNED, config.to_dict())


def _settle_determinism(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields with ``noise_std`` 0 where only ``deterministic`` was set."""
    if fields.get("deterministic") is True and "noise_std" not in fields:
        return {**fields, "noise_std": 0.0}
    return fields
