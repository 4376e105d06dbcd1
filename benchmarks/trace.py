"""What the event trace costs: a run with it against the same run with a ring of no records."""

from __future__ import annotations

from typing import Any

from benchmarks.comparison import Times, in_turns
from benchmarks.options import Findings, Options
from benchmarks.tables import say, show
from benchmarks.workload import embeddings, processor, shape

CASES = (("float32", 32), ("bfloat16", 32))
ROUNDS = 30


def measure(options: Options) -> Findings:
    """Compares tracing on and off, for both precisions."""
    rounds = options.rounds(ROUNDS)
    config: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    rows = []
    for precision, batch in CASES:
        say(f"trace: debug {precision}, batch {batch}, {rounds} rounds")
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
        "Tracing on over tracing off, time of simulate",
        ("debug", "batch", "records", "on, s", "off, s", "on / off"),
        rows,
        "Records are those read back at the end; reading them is part of the run.",
    )
    return Findings(config, figures)


def _compared(model: Any, batch: int, rounds: int, device: str) -> Times:
    inputs = embeddings(batch)
    off = {"trace.capacity": 0}
    return in_turns(
        {
            "on": lambda: model.simulate(inputs),
            "off": lambda: model.simulate(inputs, options=off),
        },
        rounds,
        device,
    )
