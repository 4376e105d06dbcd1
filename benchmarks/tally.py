"""``tally``: the cost of the aggregation modes.

Measures: ``FlowProcessor.simulate`` in each aggregation mode. Unit: seconds, and their ratio.
Baseline: the same run with ``weighted_v2``. The flows are the same in all modes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.comparison import time_in_turns
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line, show
from benchmarks.workload import embeddings, processor, shape
from energy_flow.choices import AggregationMode

BASELINE = AggregationMode.WEIGHTED_V2.value
BATCHES = {8: 30, 64: 10}
"""Usual number of rounds by the size of the batch."""


def measure(options: Options) -> Findings:
    """Measure every mode in turns.

    Args:
        options: how to measure.
    """
    model = processor("debug", options.device)
    figures: dict[str, Any] = {}
    rows = []
    for batch, usual in BATCHES.items():
        rounds = options.rounds(usual)
        print_line(f"tally: batch of {batch}, {rounds} rounds")
        inputs = embeddings(batch)
        times = time_in_turns(
            {
                mode.value: partial(
                    model.simulate, inputs, options={"aggregation_mode": mode.value}
                )
                for mode in AggregationMode
            },
            rounds,
            options.device,
        )
        ratios = {
            mode.value: times.ratio(mode.value, BASELINE)
            for mode in AggregationMode
            if mode.value != BASELINE
        }
        figures[f"batch of {batch}"] = {
            "seconds": {name: round(times.median(name), 5) for name in times.seconds},
            "over_weighted_v2": {name: ratio.to_dict() for name, ratio in ratios.items()},
        }
        rows += [(batch, name, times.median(name), ratio) for name, ratio in ratios.items()]
    show(
        "Time of simulate by aggregation mode",
        ("batch", "mode", "seconds", f"/ {BASELINE}"),
        rows,
        "The preset debug in float32, to the end of the run, with the output surface.",
    )
    return Findings(shape(model.config), figures)
