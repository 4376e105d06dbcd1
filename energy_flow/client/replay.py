"""Replays of a sample and comparisons of two runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.client.answers import convert, read_object
from energy_flow.client.displayed import Displayed
from energy_flow.client.errors import UnexpectedAnswer
from energy_flow.client.exchange import Reply
from energy_flow.plots import add_colour_bar, choose_axes, draw_paths

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PATH_DTYPES: Mapping[str, Any] = {
    "step": np.int32,
    "flow": np.int64,
    "x": np.float32,
    "y": np.float32,
    "z": np.float32,
    "energy": np.float32,
    "length": np.float32,
    "age": np.int32,
}
"""Columns of a path, in order."""
FLOW_DTYPES: Mapping[str, Any] = {
    "flow": np.int64,
    "parent": np.int64,
    "born_step": np.int32,
    "end_step": np.int32,
    "reason": object,
    "plane": np.int8,
    "generation": np.int32,
}
"""Columns of flows, in order."""

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference between two traces of a sample.

    Attributes:
        seq: number of the first record that differs, or that only one of them has.
        first: that record in the first trace, by column; ``None`` where it is missing. Of a replay,
            the first trace is the stored one.
        second: that record in the second trace. Of a replay, the second trace is the replayed one.
    """

    seq: int
    first: Mapping[str, Any] | None
    second: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, repr=False)
class Replay(Displayed):
    """One sample of a run, simulated again.

    Attributes:
        run_id: of the run.
        sample: its row in the run.
        flow: the flow whose lineage it is limited to; ``None`` for all flows.
        agrees: whether the replay equals the run, record for record.
        difference: the first record at which it does not.
        flows: a row per flow. ``parent`` and ``born_step`` are -1 for an initial flow; ``reason``
            is a name or ``None``; ``plane`` is 0 (z0), 1 (zdepth) or -1.
        path: a row per flow and step, sorted by (step, flow): where the flow is after the step. The
            first row of a flow is where it starts, at step -1 for an initial flow.
        note: instead of a difference, the arithmetic of the run and that of the server, or the
            kinds of their workers, if they are not the same; else ``None``.
    """

    run_id: str
    sample: int
    flow: int | None
    agrees: bool
    difference: Difference | None
    flows: Columns
    path: Columns
    note: str | None = None

    def _facts(self) -> Mapping[str, object]:
        return {
            "run_id": self.run_id,
            "sample": self.sample,
            "flow": self.flow,
            "agrees": self.agrees,
            "flows": len(self.flows["flow"]),
            "places": len(self.path["flow"]),
            "note": self.note,
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return the path as a data frame: a row per flow and step.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame(dict(self.path))

    def plot_paths(self, across: str = "x", up: str = "z", *, axes: Axes | None = None) -> Axes:
        """Draw the path of each flow, coloured by its energy.

        Args:
            across: ``x``, ``y`` or ``z``, along the picture.
            up: ``x``, ``y`` or ``z``, up.
            axes: Matplotlib axes to draw in; by default those of a new figure.

        Returns:
            The axes.

        Raises:
            ValueError: a coordinate is none of these.
            ImportError: Matplotlib is not installed.
        """
        for name in (across, up):
            if name not in ("x", "y", "z"):
                raise ValueError(f"a coordinate must be one of x, y, z (got {name!r})")
        chosen = choose_axes(axes)
        lines = draw_paths(chosen, self.path, across, up)
        chosen.set_title(f"paths of sample {self.sample}")
        add_colour_bar(chosen, lines, "energy")
        return chosen


@dataclass(frozen=True, slots=True)
class SampleComparison:
    """One sample in two runs; differences of surfaces are ``None`` where a run has no surface."""

    sample: int
    surface_max_abs_difference: float | None
    surface_mean_abs_difference: float | None
    first_difference: Difference | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        a: id of the first run.
        b: id of the second run.
        metrics: by name, the value of each run.
        samples: those that both runs have.
        note: the arithmetics of both runs, if they are not the same; then differences can come from
            rounding alone. Else ``None``.
    """

    a: str
    b: str
    metrics: Mapping[str, Mapping[str, Any]]
    samples: tuple[SampleComparison, ...]
    note: str | None = None


def read_replay(reply: Reply) -> Replay:
    """Read the answer to a replay.

    Raises:
        UnexpectedAnswer: a member is missing or has another type.
    """
    data = read_object(reply)
    try:
        members = {
            **data,
            "difference": _difference(data["difference"], "stored", "replayed"),
            "flows": _columns(data["flows"], FLOW_DTYPES),
            "path": _columns(data["path"], PATH_DTYPES),
        }
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnexpectedAnswer(f"the replay cannot be read: {error!r}") from None
    return convert(members, Replay)


def read_comparison(reply: Reply) -> Comparison:
    """Read the answer to a comparison.

    Raises:
        UnexpectedAnswer: a member is missing or has another type.
    """
    data = read_object(reply)
    try:
        samples = [
            {**sample, "first_difference": _difference(sample["first_difference"], "a", "b")}
            for sample in data["samples"]
        ]
    except (KeyError, TypeError) as error:
        raise UnexpectedAnswer(f"the comparison cannot be read: {error!r}") from None
    return convert({**data, "samples": samples}, Comparison)


def _difference(data: Any, first: str, second: str) -> dict[str, Any] | None:
    if data is None:
        return None
    return {"seq": data["seq"], "first": data[first], "second": data[second]}


def _columns(data: Any, dtypes: Mapping[str, Any]) -> Columns:
    return {name: np.asarray(data[name], dtype=dtype) for name, dtype in dtypes.items()}
