"""The schema of trace records, shared by the ring, the readers and the writers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

KINDS: Final = ("spawn", "reflect", "terminate")
REASONS: Final = ("plane", "projected", "converged", "max_steps", "stalled")
PLANES: Final = ("z0", "zdepth")
WALL_BITS: Final[Mapping[str, int]] = {"x_low": 1, "x_high": 2, "y_low": 4, "y_high": 8}

SPAWN, REFLECT, TERMINATE = range(3)

COLUMN_DTYPES: Final[Mapping[str, np.dtype]] = {
    "seq": np.dtype(np.int64),
    "step": np.dtype(np.int32),
    "kind": np.dtype(np.uint8),
    "sample": np.dtype(np.int32),
    "flow": np.dtype(np.int64),
    "parent": np.dtype(np.int64),
    "code": np.dtype(np.uint8),
    "plane": np.dtype(np.int8),
    "x": np.dtype(np.float32),
    "y": np.dtype(np.float32),
    "z": np.dtype(np.float32),
    "energy": np.dtype(np.float32),
    "length": np.dtype(np.float32),
}
"""Column names in order, with their types.

``seq`` counts a sample's records from 0, dropped ones too. ``code`` is, of a spawn, the ordinal
among the siblings of the step; of a reflection, the wall bits; of a termination, the reason.
``plane`` is 0 or 1 for tallied terminations, else -1. ``length`` is the step's displacement; of a
spawn, the parent's.
"""

MEANINGS: Final[Mapping[str, str]] = {
    "seq": "number of the record among its sample's, from 0; a gap is a loss",
    "step": "in which it happened, from 0",
    "kind": "spawn, reflect or terminate",
    "sample": "row in the request",
    "flow": "id within the sample; of a spawn, the child's",
    "parent": "flow that it came from; -1 for an initial flow",
    "code": "spawn: ordinal among its siblings of the step; reflect: wall bits; terminate: reason",
    "plane": "of a tallied termination: 0 z0, 1 zdepth; else -1",
    "x": "after the event, in [-1, 1]; of a spawn, where the child starts",
    "y": "as x",
    "z": "as x; input plane 0, exit planes -1 and 1",
    "energy": "of the flow after the step; of a spawn, the parent's, which the child takes over",
    "length": "of the step's displacement; of a spawn, the parent's",
}
"""What each column means, in a line; docs/trace_format.md says it at length."""
