"""``memory``: the memory of simulations.

Measures: the peak memory of a pool in which every sample has as many flows as it may, and the
resident memory during a long run that is streamed. Unit: bytes, and the ratio of prediction and
peak. Baseline: the predicted memory, and the memory after the first hundred samples. Each is
measured in a process of its own.
"""

from __future__ import annotations

from benchmarks.child_process import run_child
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line, show

POOLS = (
    ("debug", "float32", 16),
    ("debug", "float32", 64),
    ("debug", "bfloat16", 64),
    ("experiment", "bfloat16", 8),
)
STREAMED = 1_000
STREAMED_LONG = 10_000


def measure(options: Options) -> Findings:
    """Measure full pools and a long run.

    Args:
        options: how to measure.
    """
    print_line("memory: full pools")
    pools = []
    for preset, precision, batch in POOLS:
        arguments = (preset, precision, str(batch), options.device)
        pools.append(run_child("benchmarks.full_pool", *arguments))
    show(
        "Peak memory of a full pool against prediction",
        ("pool", "batch", "flows", "full steps", "peak, MiB", "predicted, MiB", "predicted / peak"),
        [
            (
                f"{one['preset']} {one['precision']}",
                one["batch"],
                one["flows"],
                f"{one['full_steps']} of {one['steps']}",
                one["peak_bytes"] / 2**20,
                one["predicted_bytes"] / 2**20,
                one["predicted_over_peak"],
            )
            for one in pools
        ],
        "full steps: steps with as many flows as possible. peak: on a CPU, the largest resident "
        "size of the process, minus that before the model was made; on CUDA, the largest size "
        "that torch has allocated.",
    )
    samples = STREAMED_LONG if options.long else STREAMED
    print_line(f"memory: {samples:,} samples through the engine")
    stream = run_child("benchmarks.long_run", str(samples), options.device)
    show(
        "Resident memory while one run streams through the engine, debug float32",
        ("samples", "after 100, MiB", "largest later, MiB", "at the end, MiB", "growth, MiB"),
        [
            (
                str(stream["samples"]),
                stream["after_hundred_bytes"] / 2**20,
                stream["most_after_bytes"] / 2**20,
                stream["end_bytes"] / 2**20,
                stream["growth_bytes"] / 2**20,
            )
        ],
        "growth: mean of the last third of the run minus that of the second third.",
    )
    return Findings(
        {"pools": [list(pool) for pool in POOLS], "streamed_samples": samples},
        {"full_pools": pools, "stream": stream},
    )
