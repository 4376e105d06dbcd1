"""``interrupted``: an experiment whose server is killed twenty times.

Measures: how many outputs, trace records, counters and samples differ, because work was lost,
repeated or counted twice. Unit: numbers of bytes, records and samples. Baseline: the same
experiment on a server that is not killed.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from benchmarks.options import Findings, Options
from benchmarks.server_process import server_of
from benchmarks.sweep import (
    SWEEP,
    TRIALS,
    client_of,
    count_done,
    find_differences,
    find_left_over,
    read_trials,
    run_sweep,
    show_differences,
    start_sweep,
    wait_until_ended,
)
from benchmarks.tables import print_line

KILLS = 20


def measure(options: Options) -> Findings:
    """Run the experiment on a server that is not killed, then on one that is, and compare.

    Args:
        options: how to measure.
    """
    with tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as folder:
        print_line(f"interrupted: {TRIALS} trials without kills")
        undisturbed = Path(folder) / "undisturbed"
        undisturbed.mkdir()
        with server_of(undisturbed, options.device) as server, client_of(server.url) as client:
            seconds = run_sweep(client)
            expected = list(read_trials(client))
        print_line(f"interrupted: {seconds:.0f} s; now with {KILLS} kills")
        killed = Path(folder) / "killed"
        killed.mkdir()
        began = time.perf_counter()
        done_at_kills = _kill_repeatedly(killed, options.device, seconds)
        with server_of(killed, options.device) as server, client_of(server.url) as client:
            experiment = wait_until_ended(client)
            killed_seconds = time.perf_counter() - began
            found = list(read_trials(client))
            left = find_left_over(killed / "data", client)
    figures = {
        "kills": KILLS,
        "kills_before_its_end": sum(
            done < experiment["progress"]["samples"] for done in done_at_kills
        ),
        "samples_done_at_kills": done_at_kills,
        "state": experiment["state"],
        "trials": experiment["trials"],
        "flow_steps": experiment["progress"]["flow_steps"],
        "seconds_undisturbed": round(seconds, 1),
        "seconds_with_kills": round(killed_seconds, 1),
        "left_over_files": left,
        **find_differences(expected, found),
    }
    show_differences(
        f"An experiment of {TRIALS} trials with {KILLS} kills against one without",
        figures,
        note=f"{figures['kills_before_its_end']} of the kills before the end of the experiment; "
        f"{seconds:.0f} s without kills, {killed_seconds:.0f} s with kills and restarts.",
    )
    return Findings({**SWEEP, "trials": TRIALS}, figures)


def _kill_repeatedly(folder: Path, device: str, seconds: float) -> list[int]:
    """Kill the server after random times, and return how many samples were done each time.

    A time starts when the server has printed its address. Some end before the server is ready,
    while it recovers from the kill before.
    """
    draw = random.Random(0)
    done: list[int] = []
    for start in range(KILLS):
        with server_of(folder, device, kill=True) as server, client_of(server.url) as client:
            if start == 0:
                start_sweep(client)
            time.sleep(draw.uniform(0, 1.6 * seconds / KILLS))
            done.append(count_done(client, done[-1] if done else 0))
    return done
