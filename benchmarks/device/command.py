"""The command line of ``python -m benchmarks device``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

from benchmarks.command_line import add_parts, common_options, measure_each, prepare, report
from benchmarks.options import Findings, Options

NAME = "device"
USAGE = f"python -m benchmarks {NAME}"
ABOUT = "one device: whether it computes correctly, then how fast, in six minutes"
SECONDS = 330.0
"""Time after which no further part or case begins."""
PARTS: Mapping[str, str] = {
    "reference": "a run in float32 on the device against the same run on the CPU",
    "invariance": "bits of a sample: run to run, alone, in another order, split, by preset",
    "gradients": "gradients of a batch against those of the CPU, and twice",
    "training": "weights of the same training twice",
    "heights": "block heights that agree bitwise, their padding, and the time of their trial",
    "rates": "matrix products and copies a second",
    "steps": "steps of every preset: time, launches, busy share, share of the rate, memory",
    "trace": "a simulation with a trace against without",
}


def main(arguments: list[str]) -> int:
    """Check and measure a device, and return the exit code: 1 if a part failed.

    Args:
        arguments: of the command line, after ``device``.
    """
    parsed = _parser().parse_args(arguments)
    began = time.perf_counter()
    options, machine = prepare(parsed)
    options = replace(options, quick=parsed.quick, until=began + parsed.seconds)
    found = measure_each({part: partial(_measure, part) for part in parsed.only}, options)
    seconds = round(time.perf_counter() - began, 1)
    code = report({"machine": machine, "seconds": seconds, "benchmarks": found}, parsed.json)
    return code or int(any(_has_failed(one) for one in found.values()))


def _measure(part: str, options: Options) -> Findings:
    if time.perf_counter() > options.until:
        raise TimeoutError("left out, because the time is over; --only measures it alone")
    # Imported only now, so that a part that cannot be imported does not stop the others.
    is_check = part in ("reference", "invariance", "gradients", "training")
    module = import_module(f"benchmarks.device.{'checks' if is_check else 'figures'}")
    measure: Callable[[Options], Findings] = getattr(module, f"measure_{part}")
    return measure(options)


def _has_failed(found: Mapping[str, Any]) -> bool:
    return not found.get("figures", {}).get("passed", True)


def _parser() -> argparse.ArgumentParser:
    parts = "\n".join(f"  {name:<11}{about}" for name, about in PARTS.items())
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {NAME}",
        parents=[common_options()],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Check and measure one device. Each part is on its own: one that fails does not end\n"
            "the others. Prints tables, then one line of JSON."
        ),
        epilog=f"parts:\n{parts}",
    )
    parser.set_defaults(device="auto", long=False)
    add_parts(parser, PARTS)
    parser.add_argument(
        "--quick", action="store_true", help="the preset debug alone, and small sizes"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        metavar="S",
        help=f"after which no further part or case begins (default: {SECONDS:.0f})",
    )
    return parser
