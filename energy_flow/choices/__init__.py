"""The closed lists of names, each declared once, with what belongs to each name.

Configs, trace records, outputs, file formats, the service's schemas, the command line and the
client read these lists. A name is added by adding a line here. The order of a list matters where a
number stands for the name: the number is the place in the list (:attr:`Choice.code`).

This package imports the standard library alone, so that everything may import it.
"""

from __future__ import annotations

from energy_flow.choices.choice import (
    Choice,
    closest_name,
    must_be_one_of,
    names_of,
    unknown_name,
)
from energy_flow.choices.files import (
    NDJSON,
    PARQUET,
    DatasetFormat,
    FileFormat,
    ResultFormat,
    ResultRows,
    TraceFormat,
)
from energy_flow.choices.outputs import (
    Axis,
    Output,
)
from energy_flow.choices.service import (
    ENDED_STATES,
    TRANSITIONS,
    UNFINISHED_STATES,
    EngineState,
    EventName,
    ExperimentKind,
    LogFormat,
    RunKind,
    RunState,
    ServerState,
)
from energy_flow.choices.simulation import (
    ACTIVE,
    ARITHMETIC,
    FAILED,
    OUTCOMES,
    TALLIED,
    Ablation,
    AggregationMode,
    Boundary,
    EnergyUpdate,
    MapperKind,
    OutputPlanes,
    Overflow,
    Plane,
    Precision,
    Preset,
    Reason,
    Sensing,
    SpawnMode,
    TraceKeep,
    TraceKind,
    Wall,
    arithmetic_of,
)
from energy_flow.choices.training import (
    BackPropagationMode,
    ComparedOutput,
    Decay,
    InitialHead,
    InitialMappers,
    Negatives,
    TrainingEvent,
    ValidationMetric,
)

__all__ = [
    "ACTIVE",
    "ARITHMETIC",
    "ENDED_STATES",
    "FAILED",
    "NDJSON",
    "OUTCOMES",
    "PARQUET",
    "TALLIED",
    "TRANSITIONS",
    "UNFINISHED_STATES",
    "Ablation",
    "AggregationMode",
    "Axis",
    "BackPropagationMode",
    "Boundary",
    "Choice",
    "ComparedOutput",
    "DatasetFormat",
    "Decay",
    "EnergyUpdate",
    "EngineState",
    "EventName",
    "ExperimentKind",
    "FileFormat",
    "InitialHead",
    "InitialMappers",
    "LogFormat",
    "MapperKind",
    "Negatives",
    "Output",
    "OutputPlanes",
    "Overflow",
    "Plane",
    "Precision",
    "Preset",
    "Reason",
    "ResultFormat",
    "ResultRows",
    "RunKind",
    "RunState",
    "Sensing",
    "ServerState",
    "SpawnMode",
    "TraceFormat",
    "TraceKeep",
    "TraceKind",
    "TrainingEvent",
    "ValidationMetric",
    "Wall",
    "arithmetic_of",
    "closest_name",
    "must_be_one_of",
    "names_of",
    "unknown_name",
]
