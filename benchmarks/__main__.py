"""``python -m benchmarks [NAME...]``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from benchmarks.options import Options
from benchmarks.registry import BENCHMARKS, chosen


def main(arguments: list[str] | None = None) -> int:
    """Runs benchmarks; returns the exit code."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.list:
        for one in BENCHMARKS:
            print(f"{one.name:<12}{'' if one.short else '(long) '}{one.about}")
        return 0
    unknown = sorted(set(asked.names) - {one.name for one in BENCHMARKS})
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; --list names them")
    # Read by the arithmetic libraries when they are imported, here and in started processes.
    if asked.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(asked.threads)
    # As an exit, so that servers and folders go with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    told = _run(asked)
    line = json.dumps(told)
    if asked.json is not None:
        asked.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(line, flush=True)
    return 1 if any("error" in one for one in told["benchmarks"].values()) else 0


def _run(asked: argparse.Namespace) -> dict[str, Any]:
    import torch

    from benchmarks.machine import describe_machine
    from benchmarks.tables import say
    from energy_flow.device import resolve_device
    from energy_flow.errors import EnergyFlowError
    from energy_flow.heap import keep_freed

    # As the server and the command line do.
    keep_freed()
    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    try:
        device = resolve_device(asked.device)
    except EnergyFlowError as error:
        sys.exit(f"error: {error}")
    options = Options(device=device, long=asked.long, pairs=asked.pairs)
    machine = describe_machine(options.device)
    say(
        f"{machine['cpu']}, {machine['threads']} of {machine['cores']} cores, torch "
        f"{machine['torch']}, device {machine['device']}, commit {machine['commit']}, load "
        f"{machine['load_average']}"
    )
    found: dict[str, Any] = {}
    for one in chosen(asked.names, long=asked.long):
        try:
            findings = one.load()(options)
        except Exception as error:
            # The others are still worth measuring.
            traceback.print_exc()
            say(f"{one.name} failed: {error}")
            found[one.name] = {"error": f"{type(error).__name__}: {error}"}
        else:
            found[one.name] = {"config": findings.config, "figures": findings.figures}
    return {"machine": machine, "benchmarks": found}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures Energy Flow; prints tables, then one line of JSON.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; by default the short ones")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and end")
    parser.add_argument("--long", action="store_true", help="take time: all of them, at length")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument("--threads", type=_positive, metavar="N", help="of the arithmetic on a CPU")
    parser.add_argument("--pairs", type=_positive, metavar="N", help="rounds of every comparison")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
