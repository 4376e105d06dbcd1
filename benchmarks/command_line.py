"""Options that the command lines of the benchmarks share, and their line of JSON."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.options import Findings, Options
from energy_flow.choices import unknown_name
from energy_flow.runtime.waiting import bound_spinning


def common_options() -> argparse.ArgumentParser:
    """Return the options that every command line has."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument(
        "--threads", type=_positive, metavar="N", help="threads of the arithmetic on a CPU"
    )
    parser.add_argument("--pairs", type=_positive, metavar="N", help="rounds of every comparison")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the figures to a file"
    )
    return parser


def add_parts(parser: argparse.ArgumentParser, parts: Mapping[str, str]) -> None:
    """Add the option ``--only``, which chooses parts of a command.

    Args:
        parser: of the command line.
        parts: what each part measures, by its name.
    """

    def choose(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in parts:
                raise argparse.ArgumentTypeError(
                    f"there is no part '{name}'; {unknown_name(name, parts)}"
                )
        return list(dict.fromkeys(names))

    parser.add_argument(
        "--only",
        type=choose,
        default=list(parts),
        metavar="PART,...",
        help=f"parts to measure, of {', '.join(parts)} (default: all)",
    )


def prepare(parsed: argparse.Namespace) -> tuple[Options, dict[str, Any]]:
    """Set this process up as the server and the command line do.

    Args:
        parsed: values of the shared options, and ``long``.

    Returns:
        How to measure, and the machine as plain JSON data.
    """
    # Read by the arithmetic libraries when they are imported, here and in started processes.
    if parsed.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(parsed.threads)
    bound_spinning()
    # As an exit, so that servers are stopped and folders removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    import torch

    from benchmarks.machine import describe_machine
    from benchmarks.tables import print_line
    from energy_flow.errors import EnergyFlowError
    from energy_flow.runtime.device import resolve_device
    from energy_flow.runtime.process import configure_process

    configure_process()
    if parsed.threads is not None:
        torch.set_num_threads(parsed.threads)
    try:
        device = resolve_device(parsed.device)
    except EnergyFlowError as error:
        sys.exit(f"error: {error}")
    machine = describe_machine(device)
    print_line(
        f"{machine['cpu']}, {machine['threads']} of {machine['cores']} cores, torch "
        f"{machine['torch']}, device {machine['device']}, commit {machine['commit']}, load "
        f"{machine['load_average']}"
    )
    return Options(device=device, long=parsed.long, pairs=parsed.pairs), machine


def measure_each(
    benchmarks: Mapping[str, Callable[[Options], Findings]], options: Options
) -> dict[str, dict[str, Any]]:
    """Run benchmarks one after the other.

    Args:
        benchmarks: functions that measure, by name.
        options: how to measure.

    Returns:
        By name, ``config`` and ``figures`` of a benchmark, or the ``error`` of one that failed.
    """
    from benchmarks.tables import print_line

    found: dict[str, dict[str, Any]] = {}
    for name, measure in benchmarks.items():
        try:
            findings = measure(options)
        except Exception as error:
            # The others are measured anyway.
            traceback.print_exc()
            print_line(f"{name} failed: {error}")
            found[name] = {"error": f"{type(error).__name__}: {error}"}
        else:
            found[name] = {"config": findings.config, "figures": findings.figures}
    return found


def report(figures: Mapping[str, Any], file: Path | None) -> int:
    """Print a line of JSON, and write it to a file.

    Args:
        figures: the object, with ``benchmarks`` as :func:`measure_each` returns them.
        file: file to write; may be none.

    Returns:
        The exit code.
    """
    line = json.dumps(figures)
    if file is not None:
        file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(line, flush=True)
    return 1 if any("error" in one for one in figures["benchmarks"].values()) else 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
