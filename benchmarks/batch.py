"""``batch``: the gain of large batches.

Measures: ``FlowProcessor.simulate`` with one batch of 64. Unit: seconds, and their ratio. Baseline:
the same samples as eight batches of 8, whose surfaces must have the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.comparison import time_in_turns
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line, show
from benchmarks.workload import embeddings, processor, shape

BATCH = 64
PART = 8
ROUNDS = 20


def measure(options: Options) -> Findings:
    """Measure both precisions as one batch and as parts, in turns.

    Args:
        options: how to measure.
    """
    rounds = options.rounds(ROUNDS)
    config: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    rows = []
    for precision in ("float32", "bfloat16"):
        print_line(f"batch: debug {precision}, {rounds} rounds")
        model = processor("debug", options.device, {"precision": precision})
        inputs = embeddings(BATCH)

        def whole(model: Any = model, inputs: Any = inputs) -> Any:
            return model.simulate(inputs).outputs["surface"]

        def parts(model: Any = model, inputs: Any = inputs) -> Any:
            return np.concatenate(
                [
                    model.simulate(
                        inputs[first : first + PART],
                        sample_keys=range(first, first + PART),
                    ).outputs["surface"]
                    for first in range(0, BATCH, PART)
                ]
            )

        equal = bool(np.array_equal(whole(), parts()))
        times = time_in_turns({"whole": whole, "parts": parts}, rounds, options.device)
        ratio = times.ratio("whole", "parts")
        config[precision] = shape(model.config) | {"batch": BATCH, "part": PART, "rounds": rounds}
        figures[precision] = {
            "equal_bitwise": equal,
            "seconds": {name: round(times.median(name), 4) for name in times.seconds},
            "whole_over_parts": ratio.to_dict(),
        }
        rows.append((precision, equal, times.median("whole"), times.median("parts"), ratio))
    show(
        f"Time of simulate with one batch of {BATCH} against {BATCH // PART} batches of {PART}",
        ("debug", "equal bits", "whole, s", "parts, s", "whole / parts"),
        rows,
    )
    return Findings(config, figures)
