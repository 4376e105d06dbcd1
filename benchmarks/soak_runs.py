"""Small runs of many kinds, their disturbances, and the results that they must have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.resident import growth
from benchmarks.workload import embeddings, processor
from energy_flow import FlowProcessor, SimulationResult

MODEL: Mapping[str, Any] = {
    "lattice_width": 12,
    "lattice_height": 12,
    "carrier_hidden_size": 64,
    "mapper_hidden_dim": 128,
}
"""Changes of the preset ``debug`` for a small model, with which many runs take little time."""
OPTIONS: tuple[Mapping[str, Any], ...] = (
    {},
    {"noise_std": 0.15},
    {"spawn.mode": "percentile", "spawn.percentile": 80},
    {"spawn.mode": "off", "max_steps": 6},
    {"max_active_flows": 150},
    {"trace.kinds": ["terminate"], "aggregation_mode": "legacy"},
)
OUTPUTS = ("surface", "hits")
MAX_ROWS = 6
KINDS = 24
WAVES = 10
AT_ONCE = 32
LONGEST_SECONDS = 1.0
"""Largest time until a disturbance."""
LOST_AFTER_SECONDS = 120
EMPTY_WITHIN_SECONDS = 5


class Fate(StrEnum):
    """Disturbance of a run; the values are names in the results."""

    UNDISTURBED = "undisturbed"
    CANCELLED = "cancelled"
    DISCONNECTED = "disconnected"
    LATE = "late"


SHARES = {Fate.UNDISTURBED: 0.4, Fate.CANCELLED: 0.2, Fate.DISCONNECTED: 0.2, Fate.LATE: 0.2}
"""Share of the runs with each disturbance."""


@dataclass(frozen=True)
class Kind:
    """A request, and its result without other load.

    Attributes:
        rows: embeddings [B, E], with the sample keys 0 to B − 1.
        options: options of the run.
        seed: seed of the noise.
        expected: the result; its rings have dropped no record.
    """

    rows: NDArray[np.float32]
    options: Mapping[str, Any]
    seed: int
    expected: SimulationResult


@dataclass(frozen=True, slots=True)
class Planned:
    """One run of a kind.

    Attributes:
        kind: the request and its expected result.
        fate: how the run is disturbed.
        moment: seconds from the start of the run until then.
    """

    kind: Kind
    fate: Fate
    moment: float


def small_processor(device: str) -> FlowProcessor:
    """Return the model of all runs.

    Args:
        device: where the model is to be.
    """
    return processor("debug", device, MODEL)


def plan_runs(model: FlowProcessor, runs: int, seed: int) -> list[Planned]:
    """Return runs of random kinds with random disturbances.

    Args:
        model: the model.
        runs: number of runs.
        seed: seed of the choice.
    """
    known = _kinds(model)
    random = np.random.default_rng(seed)
    fates = list(SHARES)
    drawn = random.choice(len(fates), size=runs, p=list(SHARES.values()))
    return [
        Planned(
            known[int(random.integers(len(known)))],
            fates[int(fate)],
            float(random.uniform(0, LONGEST_SECONDS)),
        )
        for fate in drawn
    ]


def _kinds(model: FlowProcessor) -> list[Kind]:
    """Return different requests with their expected results."""
    random = np.random.default_rng(0)
    found = []
    for number in range(KINDS):
        rows = embeddings(int(random.integers(1, MAX_ROWS + 1)), int(random.integers(0, 256)))
        options = OPTIONS[number % len(OPTIONS)]
        expected = model.simulate(rows, options=options, seed=number, outputs=OUTPUTS)
        assert not sum(expected.trace.dropped.values())
        found.append(Kind(rows, options, number, expected))
    return found


def waves(plans: Sequence[Planned]) -> Iterator[Sequence[Planned]]:
    """Yield the runs in ``WAVES`` parts, in their order.

    Args:
        plans: all runs.
    """
    size = -(-len(plans) // WAVES)
    for first in range(0, len(plans), size):
        yield plans[first : first + size]


def figures(
    plans: Sequence[Planned],
    outcomes: Counter[str],
    left_over: int,
    memory: Sequence[int],
    seconds: float,
) -> dict[str, Any]:
    """Return the figures of all runs as plain JSON data.

    Args:
        plans: all runs.
        outcomes: number of runs by their outcome.
        left_over: number of runs and flows after the waves.
        memory: resident bytes after each wave.
        seconds: time of all waves.
    """
    return {
        "runs": len(plans),
        "fates": dict(Counter(plan.fate.value for plan in plans)),
        "finished": outcomes["finished"],
        "ended_early": outcomes["ended_early"],
        "lost": outcomes["lost"],
        "wrong": outcomes["wrong"],
        "left_over": left_over,
        "resident_bytes_after_waves": list(memory),
        "growth_bytes": round(growth(memory)),
        "seconds": round(seconds, 2),
    }


def has_expected_outputs(outputs: Mapping[str, NDArray[Any]], kind: Kind) -> bool:
    """Return whether outputs equal the expected ones in every bit.

    Args:
        outputs: arrays by name.
        kind: the request.
    """
    return all(np.array_equal(outputs[name], kind.expected.outputs[name]) for name in OUTPUTS)


def has_expected_records(columns: Mapping[str, NDArray[Any]], kind: Kind) -> bool:
    """Return whether all trace records equal the expected ones in every bit.

    Args:
        columns: columns of the trace.
        kind: the request.
    """
    expected = kind.expected.trace.columns
    return all(np.array_equal(columns[name], expected[name]) for name in expected)


def has_first_records(columns: Mapping[str, NDArray[Any]], kind: Kind) -> bool:
    """Return whether the records of every sample are the first of the expected ones.

    Args:
        columns: columns of the trace of an incomplete run.
        kind: the request.
    """
    expected = kind.expected.trace.columns
    for sample in np.unique(columns["sample"]):
        found, wanted = columns["sample"] == sample, expected["sample"] == sample
        count = int(found.sum())
        if not all(
            np.array_equal(columns[name][found], expected[name][wanted][:count])
            for name in expected
        ):
            return False
    return True
