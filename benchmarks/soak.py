"""A thousand runs with random cancels, hang-ups and deadlines, in an engine and over HTTP."""

from __future__ import annotations

from benchmarks.child_process import child_told
from benchmarks.http_soak import soak_server
from benchmarks.options import Findings, Options
from benchmarks.tables import say, show

RUNS = 1000
RUNS_LONG = 10_000


def measure(options: Options) -> Findings:
    """Soaks both."""
    runs = RUNS_LONG if options.long else RUNS
    say(f"soak: {runs:,} runs through an engine")
    engine = child_told("benchmarks.engine_soak", str(runs), options.device)
    say(f"soak: {runs:,} runs through a server")
    server = soak_server(runs, options.device)
    told = {"engine": engine, "server": server}
    show(
        f"{runs:,} runs: left alone, cancelled, hung up on, or with a deadline",
        ("through", "finished", "broken off", "lost", "wrong", "left over", "growth, MiB", "s"),
        [
            (
                name,
                one["finished"],
                one["broken_off"],
                one["lost"],
                one["wrong"],
                one["left_over"],
                one["growth_bytes"] / 2**20,
                one["seconds"],
            )
            for name, one in told.items()
        ],
        "lost: not ended exactly once. wrong: results or records differ in any bit from those of a "
        "quiet run, or those of a broken one are not its beginning. left over: runs or flows in "
        "the engine after all had ended. growth: of resident memory, from the second to the last "
        "third.",
    )
    first, last = (size / 2**20 for size in server["resident_bytes_at_rest"])
    say(f"the server at rest: {first:.0f} MiB after the first third, {last:.0f} MiB at the end")
    return Findings({"runs": runs}, told)
