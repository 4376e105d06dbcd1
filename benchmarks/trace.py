"""``trace``: the cost of the event trace.

Measures: ``FlowProcessor.simulate`` with a trace. Unit: seconds, and their ratio. Baseline: the
same run without a trace (``trace.capacity`` 0).
"""

from __future__ import annotations

from typing import Any

from benchmarks.comparison import Times, time_in_turns
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line, show
from benchmarks.workload import embeddings, processor, shape

CASES = (("float32", 32), ("bfloat16", 32))
ROUNDS = 30


def measure(options: Options) -> Findings:
    """Measure both precisions with and without a trace, in turns.

    Args:
        options: how to measure.
    """
    rounds = options.rounds(ROUNDS)
    config: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    rows = []
    for precision, batch in CASES:
        print_line(f"trace: debug {precision}, batch {batch}, {rounds} rounds")
        model = processor("debug", options.device, {"precision": precision})
        times = _compared(model, batch, rounds, options.device)
        ratio = times.ratio("on", "off")
        records = len(model.simulate(embeddings(batch)).trace)
        config[precision] = shape(model.config) | {"batch": batch, "rounds": rounds}
        figures[precision] = {
            "records": records,
            "seconds": {name: round(times.median(name), 4) for name in times.seconds},
            "on_over_off": ratio.to_dict(),
        }
        rows.append((precision, batch, records, times.median("on"), times.median("off"), ratio))
    show(
        "Time of simulate with a trace against without",
        ("debug", "batch", "records", "on, s", "off, s", "on / off"),
        rows,
        "records: trace records of the run; reading them is part of its time.",
    )
    return Findings(config, figures)


def _compared(model: Any, batch: int, rounds: int, device: str) -> Times:
    inputs = embeddings(batch)
    off = {"trace.capacity": 0}
    return time_in_turns(
        {
            "on": lambda: model.simulate(inputs),
            "off": lambda: model.simulate(inputs, options=off),
        },
        rounds,
        device,
    )
