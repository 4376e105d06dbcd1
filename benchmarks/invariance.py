"""``invariance``: the cost of results that do not depend on the batch.

Measures: ``FlowProcessor.simulate`` with ``batch_invariant``, which uses blocks of fixed heights.
Unit: seconds, and their ratio. Baseline: the same run without it, in blocks of any height.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.comparison import time_in_turns
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line, show
from benchmarks.workload import embeddings, processor, shape


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison, with the preset ``debug``.

    Attributes:
        name: name in the results.
        batch: number of samples.
        rounds: usual number of rounds.
        changes: other values of some fields.
    """

    name: str
    batch: int
    rounds: int
    changes: Mapping[str, Any] = field(default_factory=dict)


# There are few births, and flows leave one by one, so most steps have few rows.
LONG_TAIL = {
    "lattice_depth": 120,
    "projection_age": 120,
    "convergence.enabled": False,
    "spawn.mode": "percentile",
    "spawn.percentile": 99.0,
    "spawn.threshold": 0.6,
}
CASES = (
    Case("batch of 8", 8, 40),
    Case("batch of 64", 64, 12),
    Case("a lone sample", 1, 80),
    Case("a lone sample, percentile, long tail", 1, 30, LONG_TAIL),
    Case("batch of 8, percentile, long tail", 8, 12, LONG_TAIL),
)


def measure(options: Options) -> Findings:
    """Measure every case with and without ``batch_invariant``, in turns.

    Args:
        options: how to measure.
    """
    config: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    rows = []
    off: dict[str, Any] = {"options": {"batch_invariant": False}}
    for case in CASES:
        rounds = options.rounds(case.rounds)
        print_line(f"invariance: {case.name}, {rounds} rounds")
        model = processor("debug", options.device, case.changes)
        inputs = embeddings(case.batch)
        kept = model.simulate(inputs)
        times = time_in_turns(
            {"on": partial(model.simulate, inputs), "off": partial(model.simulate, inputs, **off)},
            rounds,
            options.device,
        )
        ratio = times.ratio("on", "off")
        active = kept.profile.active_flows
        config[case.name] = shape(model.config) | {"batch": case.batch, "rounds": rounds}
        figures[case.name] = {
            "kept": not any("batch_invariant" in text for text in kept.warnings),
            "steps": len(active),
            "active_flows_last_step": active[-1],
            "seconds": {name: round(times.median(name), 5) for name in times.seconds},
            "on_over_off": ratio.to_dict(),
        }
        rows.append((case.name, len(active), sum(active), active[-1], times.median("on"), ratio))
    show(
        "Time of simulate with batch_invariant (on) against without (off)",
        ("debug float32", "steps", "flow-steps", "last rows", "on, s", "on / off"),
        rows,
        "last rows: rows of the last step.",
    )
    return Findings(config, figures)
