"""What a server tells when it looks back at runs: a sample replayed, two runs compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.client.errors import UnexpectedAnswer

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
    """Where two traces of a sample part.

    Attributes:
        seq: number of the first record that differs, or that only one of them has.
        first, second: that record in each, by column name; ``None`` where it is missing. Of a
            replay, first what was stored and then what was replayed.
    """

    seq: int
    first: Mapping[str, Any] | None
    second: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Replay:
    """One sample of a run, simulated again.

    Attributes:
        flow: whose kin alone is told; ``None`` for all flows.
        agrees: whether the replay equals what the run did, record for record.
        difference: the first record at which it does not.
        flows: a row a flow: ``parent`` and ``born_step`` are -1 for an initial one; ``reason`` is a
            name or ``None``, ``plane`` 0 (z0), 1 (zdepth) or -1.
        path: a row a flow and step, sorted by (step, flow): where the flow is after the step. A
            flow's first row is where it starts, at step -1 if it is an initial one.
    """

    run_id: str
    sample: int
    flow: int | None
    agrees: bool
    difference: Difference | None
    flows: Columns
    path: Columns


@dataclass(frozen=True, slots=True)
class SampleComparison:
    """One sample in two runs; surface differences are ``None`` where one of them has none."""

    sample: int
    surface_max_abs_difference: float | None
    surface_mean_abs_difference: float | None
    first_difference: Difference | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        a, b: their ids.
        metrics: by name, the value of each.
        samples: those that both have.
    """

    a: str
    b: str
    metrics: Mapping[str, Mapping[str, Any]]
    samples: tuple[SampleComparison, ...]


def replay_from_json(data: Any) -> Replay:
    """Reads an answer to a replay.

    Raises:
        UnexpectedAnswer: it is none.
    """
    try:
        return Replay(
            run_id=data["run_id"],
            sample=data["sample"],
            flow=data["flow"],
            agrees=data["agrees"],
            difference=_difference(data["difference"], "stored", "replayed"),
            flows=_columns(data["flows"], FLOW_DTYPES),
            path=_columns(data["path"], PATH_DTYPES),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnexpectedAnswer(f"the replay cannot be read: {error!r}") from None


def comparison_from_json(data: Any) -> Comparison:
    """Reads an answer to a comparison.

    Raises:
        UnexpectedAnswer: it is none.
    """
    try:
        samples = tuple(
            SampleComparison(
                sample=entry["sample"],
                surface_max_abs_difference=entry["surface_max_abs_difference"],
                surface_mean_abs_difference=entry["surface_mean_abs_difference"],
                first_difference=_difference(entry["first_difference"], "a", "b"),
            )
            for entry in data["samples"]
        )
        return Comparison(data["a"], data["b"], data["metrics"], samples)
    except (KeyError, TypeError) as error:
        raise UnexpectedAnswer(f"the comparison cannot be read: {error!r}") from None


def _difference(data: Any, first: str, second: str) -> Difference | None:
    return None if data is None else Difference(data["seq"], data[first], data[second])


def _columns(data: Any, dtypes: Mapping[str, Any]) -> Columns:
    return {name: np.asarray(data[name], dtype=dtype) for name, dtype in dtypes.items()}
