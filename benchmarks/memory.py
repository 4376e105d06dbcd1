"""Peak memory of a full pool against prediction, and memory over a long run.

Each is measured in a process of its own, which has nothing else in its memory.
"""

from __future__ import annotations

from benchmarks.child_process import child_told
from benchmarks.options import Findings, Options
from benchmarks.tables import say, show

POOLS = (
    ("debug", "float32", 16),
    ("debug", "float32", 64),
    ("debug", "bfloat16", 64),
    ("experiment", "bfloat16", 8),
)
STREAMED = 1_000
STREAMED_LONG = 10_000


def measure(options: Options) -> Findings:
    """Measures both."""
    say("memory: full pools")
    pools = []
    for preset, precision, batch in POOLS:
        told = child_told("benchmarks.full_pool", preset, precision, str(batch), options.device)
        pools.append(told)
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
        "On a CPU the peak is the process's largest resident size, less what it had before the "
        "model was made; on CUDA it is what torch allocated at most.",
    )
    samples = STREAMED_LONG if options.long else STREAMED
    say(f"memory: {samples:,} samples through the engine")
    stream = child_told("benchmarks.long_run", str(samples), options.device)
    show(
        "Resident memory while one run streams through the engine, debug float32",
        ("samples", "after 100, MiB", "most after that, MiB", "at the end, MiB", "growth, MiB"),
        [
            (
                str(stream["samples"]),
                stream["after_hundred_bytes"] / 2**20,
                stream["most_after_bytes"] / 2**20,
                stream["end_bytes"] / 2**20,
                stream["growth_bytes"] / 2**20,
            )
        ],
        "growth: from the second to the last third of the run, of the mean",
    )
    return Findings(
        {"pools": [list(pool) for pool in POOLS], "streamed_samples": samples},
        {"full_pools": pools, "stream": stream},
    )
