"""The closed lists of names, each declared once, with what belongs to each name.

Configs, trace records, outputs, file formats, the service's schemas, the command line and the
client read these lists. A name is added by adding a line here. The order of a list matters where a
number stands for the name: the number is the place in the list (:attr:`Choice.code`).

This module imports the standard library alone, so that everything may import it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Choice(StrEnum):
    """One name of a closed list.

    ``Choice(name)`` finds a member. Where members have attributes, ``__new__`` takes them from the
    member's line; its defaults are there for type checkers, which see a call with the name alone.
    """

    @property
    def code(self) -> int:
        """Return the place in the list, from 0, which stands for the name in arrays."""
        return list(type(self)).index(self)


def names_of(choices: Iterable[StrEnum]) -> tuple[str, ...]:
    """Return the names of a list as plain strings, in order."""
    return tuple(choice.value for choice in choices)


def closest_name(name: object, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, if one is close.

    Args:
        name: the name that was given.
        known: the names that exist.
    """
    close = get_close_matches(str(name), [str(one) for one in known], n=1)
    return close[0] if close else None


def unknown_name(name: object, known: Iterable[str]) -> str:
    """Return the part of a message that follows a name that is not in its list.

    Args:
        name: the name that was given.
        known: the names that exist.

    Returns:
        The known names, and the one that was probably meant, if one is close.
    """
    names = [str(one) for one in known]
    return f"known are {', '.join(names)}{_suggest(name, names)}"


def must_be_one_of(name: object, known: Iterable[str]) -> str:
    """Return the message for a value that is not one of a closed list of names.

    Args:
        name: the value that was given.
        known: the names that are allowed.
    """
    names = [str(one) for one in known]
    if len(names) == 1:
        return f"must be {names[0]!r}"
    return f"must be one of {', '.join(names)}{_suggest(name, names)}"


def _suggest(name: object, known: Iterable[str]) -> str:
    close = closest_name(name, known)
    return "" if close is None else f"; did you mean '{close}'?"


class Preset(Choice):
    """A config to start from."""

    DEBUG = "debug"
    EXPERIMENT = "experiment"
    OPTIMIZED = "optimized"


class Precision(Choice):
    """Dtype of the arithmetic of the neuron and the GRU, and of the stored hidden state."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


# A new number is larger than all others. So the largest number of some precisions changes when the
# arithmetic of any of them does.
_ARITHMETICS: Final[Mapping[Precision, int]] = MappingProxyType(
    {Precision.FLOAT32: 1, Precision.BFLOAT16: 1}
)

ARITHMETIC: Final = max(_ARITHMETICS.values())
"""Number of the newest arithmetic; it grows when the same input gives other bits on a machine."""


def arithmetic_of(precision: Precision) -> int:
    """Return the number of the arithmetic of a precision, from 1 to ``ARITHMETIC``.

    It grows when the same input gives other bits on the same machine. Bits of two versions of the
    program are equal if their numbers are, on the same machine with the same libraries.

    Args:
        precision: that of a run.
    """
    return _ARITHMETICS[precision]


class Boundary(Choice):
    """What the side walls in x and y do to a flow that would cross them."""

    REFLECT = "reflect"
    CLAMP = "clamp"


class SpawnMode(Choice):
    """When a moving flow spawns children."""

    THRESHOLD = "threshold"
    PERCENTILE = "percentile"
    OFF = "off"


class AggregationMode(Choice):
    """How the scores of a surface cell are combined."""

    WEIGHTED_V2 = "weighted_v2"
    LEGACY = "legacy"
    SPLAT = "splat"


class MapperKind(Choice):
    """Layers of the mappers between embeddings and surfaces."""

    MLP = "mlp"
    LINEAR = "linear"
    IDENTITY = "identity"


class OutputPlanes(Choice):
    """What the output mapper reads."""

    output: str
    """Name of the output that it reads."""
    planes: int
    """Surfaces of that output, P."""

    def __new__(cls, name: str, output: str = "", planes: int = 0) -> OutputPlanes:
        """Return a member with its attributes."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.output = output
        member.planes = planes
        return member

    MERGED = "merged", "surface", 1
    BOTH = "both", "planes", 2


class EnergyUpdate(Choice):
    """What the energy head gives: the new energy, or its difference from the old one."""

    REPLACE = "replace"
    RESIDUAL = "residual"


class Ablation(Choice):
    """Something that flows do, switched off to see what it is good for."""

    axes: tuple[float, float, float]
    """Factors of a step's displacement along x, y and z."""
    keeps_energies: bool
    """Whether a flow keeps the energy that it started with."""
    options: tuple[tuple[str, object], ...]
    """Fields of a run that are set."""
    label: str
    """What people call it."""
    description: str
    """One line for people."""

    def __new__(
        cls,
        name: str,
        label: str = "",
        description: str = "",
        axes: tuple[float, float, float] = (1.0, 1.0, 1.0),
        keeps_energies: bool = False,
        options: tuple[tuple[str, object], ...] = (),
    ) -> Ablation:
        """Return a member with its attributes."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.label = label
        member.description = description
        member.axes = axes
        member.keeps_energies = keeps_energies
        member.options = options
        return member

    MOVES = (
        "moves",
        "moves frozen",
        "flows stay in the cells where they start",
        (0.0, 0.0, 0.0),
        False,
        (("min_displacement", 0.0),),
    )
    XY = (
        "xy",
        "x and y off",
        "flows move along z alone",
        (0.0, 0.0, 1.0),
        False,
        (("min_displacement", 0.0),),
    )
    Z = (
        "z",
        "z off",
        "flows move along x and y alone",
        (1.0, 1.0, 0.0),
        False,
        (("min_displacement", 0.0),),
    )
    ENERGIES = (
        "energies",
        "energies kept",
        "flows keep the energies that they start with",
        (1.0, 1.0, 1.0),
        True,
    )
    SPAWNING = (
        "spawning",
        "spawning off",
        "flows have no children",
        (1.0, 1.0, 1.0),
        False,
        (("spawn.mode", "off"),),
    )
    NOISE = (
        "noise",
        "noise off",
        "flows move without exploration noise",
        (1.0, 1.0, 1.0),
        False,
        (("noise_std", 0.0),),
    )


class BackPropagationMode(Choice):
    """What a training keeps of a run for its gradients; ``training.gradient_modes`` does it."""

    FULL = "full"
    CHECKPOINTED = "checkpointed"
    TRUNCATED = "truncated"


class Decay(Choice):
    """How a value goes from its peak to its end; ``training.schedules`` computes it."""

    LINEAR = "linear"
    COSINE = "cosine"


class Negatives(Choice):
    """The targets among which the loss term ``info_nce`` looks for a row's own target."""

    BATCH = "batch"
    TRAIN = "train"


class ComparedOutput(Choice):
    """The output of a run that a loss term compares with the targets."""

    EMBEDDING = "embedding"
    PLANES = "planes"


class InitialHead(Choice):
    """How the energy head of an untrained model begins; ``training.initial_weights`` does it."""

    DRAWN = "drawn"
    ZERO = "zero"


class InitialMappers(Choice):
    """How the mappers of an untrained model begin; ``training.initial_weights`` does it."""

    DRAWN = "drawn"
    ISOMETRY = "isometry"


class ValidationMetric(Choice):
    """Figure of a validation by which a training may stop early; larger is better."""

    COSINE = "cosine"
    TOP_1 = "top_1"
    TOP_10 = "top_10"
    R2 = "r2"


class TrainingEvent(Choice):
    """Kind of an event of a training."""

    STEP = "step"
    MEASURING = "measuring"
    VALIDATION = "validation"
    END = "end"


class Axis(Choice):
    """An axis of one sample's output; ``simulation.tally.outputs`` returns its length."""

    PLANE = "plane"
    Y = "y"
    X = "x"
    EMBEDDING = "embedding"


class Output(Choice):
    """What a run can compute.

    Metadata of a model, and answers to requests that name no outputs, have this order. No number
    stands for an output, and outputs are found by their names, so a new one may be at any place.
    """

    # Each has a module in simulation/tally/outputs.
    dtype: str
    """NumPy's name of the dtype. Outputs of integers are counts, which may be added up."""
    axes: tuple[Axis, ...]
    """Axes of one sample's output, the last one contiguous."""
    label: str
    """What people call the output, or one plane of it."""
    quantity: str
    """What each number is."""
    description: str
    """One line for people."""

    def __new__(
        cls,
        name: str,
        dtype: str = "",
        axes: tuple[Axis, ...] = (),
        label: str = "",
        quantity: str = "",
        description: str = "",
    ) -> Output:
        """Return a member with its attributes."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.dtype = dtype
        member.axes = axes
        member.label = label
        member.quantity = quantity
        member.description = description
        return member

    SURFACE = (
        "surface",
        "float32",
        (Axis.Y, Axis.X),
        "surface",
        "energy",
        "energy of each surface cell, both exit planes together",
    )
    HITS = (
        "hits",
        "int32",
        (Axis.PLANE, Axis.Y, Axis.X),
        "hits",
        "hits",
        "scores of each surface cell, by exit plane",
    )
    PLANES = (
        "planes",
        "float32",
        (Axis.PLANE, Axis.Y, Axis.X),
        "plane",
        "energy",
        "energy of each surface cell, by exit plane",
    )
    REACHED = (
        "reached",
        "bool",
        (Axis.PLANE, Axis.Y, Axis.X),
        "reached",
        "reached",
        "whether a score touches a surface cell, by exit plane",
    )
    EMBEDDING = (
        "embedding",
        "float32",
        (Axis.EMBEDDING,),
        "embedding",
        "value",
        "embedding that the output mapper makes of the surface or of both planes",
    )


class TraceKeep(Choice):
    """Which records are kept when a ring is full; lossless writes the ring out and keeps all."""

    LATEST = "latest"
    EARLIEST = "earliest"
    LOSSLESS = "lossless"


class TraceKind(Choice):
    """Kind of a trace record; its code is stored."""

    SPAWN = "spawn"
    REFLECT = "reflect"
    TERMINATE = "terminate"


class Reason(Choice):
    """Why a flow ended; its code is stored in records of terminations."""

    PLANE = "plane"
    PROJECTED = "projected"
    CONVERGED = "converged"
    MAX_STEPS = "max_steps"
    STALLED = "stalled"


TALLIED: Final = tuple(reason for reason in Reason if reason is not Reason.STALLED)
"""Reasons with which a flow is tallied; they come first in the list."""
ACTIVE: Final = len(Reason)
"""Stands where the code of a reason would: the flow has not ended."""
FAILED: Final = len(Reason) + 1
"""Stands where the code of a reason would: the networks gave numbers that are not finite."""
OUTCOMES: Final = len(Reason) + 2
"""How many codes of reasons there are, with the two that stand for none."""


class Plane(Choice):
    """An exit plane; its code is stored in records of terminations."""

    Z0 = "z0"
    ZDEPTH = "zdepth"


class Wall(Choice):
    """A side wall."""

    bit: int
    """What stands for the wall in ``reflect`` records."""

    def __new__(cls, name: str, bit: int = 0) -> Wall:
        """Return a member with its attribute."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.bit = bit
        return member

    X_LOW = "x_low", 1
    X_HIGH = "x_high", 2
    Y_LOW = "y_low", 4
    Y_HIGH = "y_high", 8


class Overflow(Choice):
    """What a run had no room for."""

    SPAWN_CAPACITY = "spawn_capacity"
    TRACE_CAPACITY = "trace_capacity"


class FileFormat(Choice):
    """One way to write a file."""

    suffixes: tuple[str, ...]
    """Of file names, with the dot; the first is the usual one."""
    media_type: str
    """As HTTP names it; empty where HTTP has no name for it."""
    description: str
    """One line for people."""

    def __new__(
        cls, name: str, suffixes: tuple[str, ...] = (), media_type: str = "", description: str = ""
    ) -> FileFormat:
        """Return a member with its attributes."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.suffixes = suffixes
        member.media_type = media_type
        member.description = description
        return member


PARQUET: Final = "application/vnd.apache.parquet"
NDJSON: Final = "application/x-ndjson"


class TraceFormat(FileFormat):
    """A format of traces."""

    # Each has a module in trace/formats.
    PARQUET = "parquet", (".parquet",), PARQUET, "the stored form"
    ARROW = (
        "arrow",
        (".arrows", ".arrow"),
        "application/vnd.apache.arrow.stream",
        "Arrow IPC stream",
    )
    NDJSON = "ndjson", (".ndjson", ".jsonl"), NDJSON, "an object a line, columns as members"
    CSV = "csv", (".csv",), "text/csv", "a line of names, then the records"
    PERFETTO = (
        "perfetto",
        (".perfetto-trace", ".pftrace"),
        "application/x-perfetto-trace",
        "for ui.perfetto.dev",
    )


class DatasetFormat(FileFormat):
    """A format of files of embeddings."""

    SAFETENSORS = "safetensors", (".safetensors",), "", "named tensors"
    NPY = "npy", (".npy",), "application/x-npy", "one array"
    PARQUET = "parquet", (".parquet",), PARQUET, "columns of lists"
    JSONL = "jsonl", (".jsonl", ".ndjson"), NDJSON, "an object a line"


class ResultFormat(FileFormat):
    """A format of an experiment's results."""

    JSON = "json", (".json",), "application/json", "a JSON object with a list of rows"
    CSV = "csv", (".csv",), "text/csv", "a line of names, then the rows"
    PARQUET = "parquet", (".parquet",), PARQUET, "columns with types"


class ResultRows(Choice):
    """What each row of an experiment's results stands for."""

    TRIALS = "trials"
    POINTS = "points"


class RunKind(Choice):
    """How a run came to be."""

    SIMULATE = "simulate"
    RUN = "run"
    TRIAL = "trial"
    TRAINING = "training"


class ExperimentKind(Choice):
    """What the trials of an experiment do."""

    SIMULATE = "simulate"
    TRAIN = "train"


class RunState(Choice):
    """State of a run, a trial or an experiment."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRANSITIONS: Final[Mapping[RunState, tuple[RunState, ...]]] = MappingProxyType(
    {
        RunState.QUEUED: (RunState.RUNNING, RunState.PAUSED, RunState.CANCELLED),
        RunState.RUNNING: (
            RunState.PAUSED,
            RunState.SUCCEEDED,
            RunState.FAILED,
            RunState.CANCELLED,
        ),
        RunState.PAUSED: (RunState.RUNNING, RunState.CANCELLED),
        RunState.SUCCEEDED: (),
        RunState.FAILED: (),
        RunState.CANCELLED: (),
    }
)
"""To which states an experiment or a trial may change.

A run outside an experiment is never paused, and may also fail before it runs.
"""

ENDED_STATES: Final = tuple(state for state, following in TRANSITIONS.items() if not following)
"""States that are never left."""
UNFINISHED_STATES: Final = tuple(state for state, following in TRANSITIONS.items() if following)
"""All other states."""


class EventName(Choice):
    """Name of an event that a server sends about a run or an experiment."""

    STATE = "state"
    PROGRESS = "progress"
    STEP = "step"
    TRIAL = "trial"
    GAP = "gap"


class EngineState(Choice):
    """State of the thread that owns the device."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


class ServerState(Choice):
    """State of a server."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class LogFormat(Choice):
    """How a server writes log lines."""

    TEXT = "text"
    JSON = "json"
