"""``soak``: runs that are cancelled, disconnected or late, in an engine and over HTTP.

Measures: how many runs are lost (not ended exactly once) or wrong (results that differ in a bit),
and how much memory grows. Unit: runs and bytes. Baseline: the same runs one by one, without
disturbance.
"""

from __future__ import annotations

from benchmarks.child_process import run_child
from benchmarks.http_soak import soak_server
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line, show

RUNS = 1000
RUNS_LONG = 10_000


def measure(options: Options) -> Findings:
    """Send the runs to an engine and to a server.

    Args:
        options: how to measure.
    """
    runs = RUNS_LONG if options.long else RUNS
    print_line(f"soak: {runs:,} runs through an engine")
    engine = run_child("benchmarks.engine_soak", str(runs), options.device)
    print_line(f"soak: {runs:,} runs through a server")
    server = soak_server(runs, options.device)
    figures = {"engine": engine, "server": server}
    show(
        f"{runs:,} runs: undisturbed, cancelled, disconnected, or late",
        ("through", "finished", "ended early", "lost", "wrong", "left over", "growth, MiB", "s"),
        [
            (
                name,
                one["finished"],
                one["ended_early"],
                one["lost"],
                one["wrong"],
                one["left_over"],
                one["growth_bytes"] / 2**20,
                one["seconds"],
            )
            for name, one in figures.items()
        ],
        "lost: not ended exactly once. wrong: results or records differ in any bit from those of "
        "an undisturbed run, or records of a run that ended early are not its first ones. left "
        "over: runs or flows in the engine after all have ended. growth: of resident memory, from "
        "the second to the last third.",
    )
    first, last = (size / 2**20 for size in server["resident_bytes_at_rest"])
    print_line(f"the idle server: {first:.0f} MiB after the first third, {last:.0f} MiB at the end")
    return Findings({"runs": runs}, figures)
