"""Small runs of many kinds, what becomes of them, and what their results should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.workload import embeddings, processor
from energy_flow import FlowProcessor, SimulationResult

MODEL: Mapping[str, Any] = {
    "lattice_width": 12,
    "lattice_height": 12,
    "carrier_hidden_size": 64,
    "mapper_hidden_dim": 128,
}
"""A small ``debug``, so that many runs take little time."""
OPTIONS: tuple[Mapping[str, Any], ...] = (
    {},
    {"noise_std": 0.15},
    {"spawn.mode": "percentile", "spawn.percentile": 80},
    {"spawn.mode": "off", "max_steps": 6},
    {"max_active_flows": 150},
    {"trace.kinds": ["terminate"], "aggregation_mode": "legacy"},
)
OUTPUTS = ("surface", "hits")
MOST_ROWS = 6


class Fate(StrEnum):
    """What is done to a run."""

    LEFT_ALONE = "left_alone"
    CANCELLED = "cancelled"
    HUNG_UP = "hung_up"
    LATE = "late"


SHARES = {Fate.LEFT_ALONE: 0.4, Fate.CANCELLED: 0.2, Fate.HUNG_UP: 0.2, Fate.LATE: 0.2}


@dataclass(frozen=True)
class Kind:
    """A request, and what it gives when nothing else is going on.

    Attributes:
        rows: embeddings [B, E], sent under the keys 0 to B − 1.
        quiet: the result; no ring of it has lost a record.
    """

    rows: NDArray[np.float32]
    options: Mapping[str, Any]
    seed: int
    quiet: SimulationResult


@dataclass(frozen=True, slots=True)
class Planned:
    """One run of a kind.

    Attributes:
        moment: seconds after its start at which its fate overtakes it.
    """

    kind: Kind
    fate: Fate
    moment: float


def small_processor(device: str) -> FlowProcessor:
    """The model of all runs."""
    return processor("debug", device, MODEL)


def kinds(model: FlowProcessor, count: int, seed: int) -> list[Kind]:
    """Different requests, simulated one by one."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        rows = embeddings(int(random.integers(1, MOST_ROWS + 1)), int(random.integers(0, 256)))
        options = OPTIONS[number % len(OPTIONS)]
        quiet = model.simulate(rows, options=options, seed=number, outputs=OUTPUTS)
        assert not sum(quiet.trace.dropped.values())
        found.append(Kind(rows, options, number, quiet))
    return found


def planned(known: list[Kind], runs: int, longest: float, seed: int) -> list[Planned]:
    """``runs`` runs of random kinds and fates, overtaken within ``longest`` seconds."""
    random = np.random.default_rng(seed)
    fates = list(SHARES)
    chosen = random.choice(len(fates), size=runs, p=list(SHARES.values()))
    return [
        Planned(
            known[int(random.integers(len(known)))],
            fates[int(fate)],
            float(random.uniform(0, longest)),
        )
        for fate in chosen
    ]


def same_outputs(outputs: Mapping[str, NDArray[Any]], kind: Kind) -> bool:
    """Whether outputs equal the quiet ones in every bit."""
    return all(np.array_equal(outputs[name], kind.quiet.outputs[name]) for name in OUTPUTS)


def same_records(columns: Mapping[str, NDArray[Any]], kind: Kind) -> bool:
    """Whether all records equal the quiet ones in every bit."""
    quiet = kind.quiet.trace.columns
    return all(np.array_equal(columns[name], quiet[name]) for name in quiet)


def is_beginning(columns: Mapping[str, NDArray[Any]], kind: Kind) -> bool:
    """Whether the records of every sample are the first ones that it has in the quiet run."""
    quiet = kind.quiet.trace.columns
    for sample in np.unique(columns["sample"]):
        mine, theirs = columns["sample"] == sample, quiet["sample"] == sample
        count = int(mine.sum())
        if not all(
            np.array_equal(columns[name][mine], quiet[name][theirs][:count]) for name in quiet
        ):
            return False
    return True
