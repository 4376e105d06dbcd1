"""Names of the simulation: settings of a run, what flows do, and records of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from energy_flow.choices.choice import Choice


class Preset(Choice):
    """A config to start from."""

    DEBUG = "debug"
    EXPERIMENT = "experiment"
    OPTIMIZED = "optimized"


class Precision(Choice):
    """Dtype of the arithmetic of the neuron and the GRU, and of the stored hidden state."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


_ARITHMETICS: Final[Mapping[Precision, int]] = MappingProxyType(
    {Precision.FLOAT32: 1, Precision.BFLOAT16: 2}
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


class Sensing(Choice):
    """What a flow senses where it is, besides its position and energy."""

    width: int
    """Numbers that it senses."""

    NONE = "none", 0
    GRADIENT = "gradient", 3


class OutputPlanes(Choice):
    """What the output mapper reads."""

    output: str
    """Name of the output that it reads."""
    planes: int
    """Surfaces of that output, P."""

    MERGED = "merged", "surface", 1
    BOTH = "both", "planes", 2


class EnergyUpdate(Choice):
    """What the energy head gives: the new energy, or its difference from the old one."""

    REPLACE = "replace"
    RESIDUAL = "residual"


class Ablation(Choice):
    """Something that flows do, switched off to see what it is good for."""

    label: str
    """What people call it."""
    description: str
    """One line for people."""
    axes: tuple[float, float, float]
    """Factors of a step's displacement along x, y and z."""
    keeps_energies: bool
    """Whether a flow keeps the energy that it started with."""
    options: tuple[tuple[str, object], ...]
    """Fields of a run that are set."""

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
        (),
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

    X_LOW = "x_low", 1
    X_HIGH = "x_high", 2
    Y_LOW = "y_low", 4
    Y_HIGH = "y_high", 8


class Overflow(Choice):
    """What a run had no room for."""

    SPAWN_CAPACITY = "spawn_capacity"
    TRACE_CAPACITY = "trace_capacity"
