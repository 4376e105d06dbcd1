"""Names of the outputs of a run."""

from __future__ import annotations

from energy_flow.choices.choice import Choice


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
