"""``python -m benchmarks [NAME...]``, ``python -m benchmarks against COMMIT`` and ``device``."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from benchmarks.against import command as against
from benchmarks.command_line import common_options, measure_each, prepare, report
from benchmarks.device import command as device
from benchmarks.options import Benchmark, Findings, Options
from benchmarks.registry import BENCHMARKS, select
from energy_flow.choices import unknown_name

COMMANDS = (against, device)


def main(arguments: list[str] | None = None) -> int:
    """Run benchmarks, and return the exit code.

    Args:
        arguments: of the command line; by default those of this process.
    """
    words = sys.argv[1:] if arguments is None else arguments
    for command in COMMANDS:
        if words[:1] == [command.NAME]:
            code: int = command.main(words[1:])
            return code
    parser = _parser()
    parsed = parser.parse_args(words)
    if parsed.list:
        for one in BENCHMARKS:
            print(f"{one.name:<16}{'' if one.short else '(long) '}{one.about}")
        print(f"{against.NAME + ' COMMIT':<16}{against.ABOUT}")
        print(f"{device.NAME:<16}{device.ABOUT}")
        return 0
    for command in COMMANDS:
        if command.NAME in parsed.names:
            parser.error(f"{command.NAME} must be the first word: {command.USAGE}")
    known = [one.name for one in BENCHMARKS]
    for name in parsed.names:
        if name not in known:
            parser.error(f"there is no benchmark '{name}'; {unknown_name(name, known)}")
    options, machine = prepare(parsed)
    selected = select(parsed.names, long=parsed.long)
    findings = measure_each({one.name: partial(_measure, one) for one in selected}, options)
    return report({"machine": machine, "benchmarks": findings}, parsed.json)


def _measure(benchmark: Benchmark, options: Options) -> Findings:
    # Imported only now, so that a benchmark that cannot be imported does not stop the others.
    return benchmark.load()(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        parents=[common_options()],
        description="Measure Energy Flow. Prints tables, then one line of JSON.",
        epilog=f"{against.USAGE} measures against another commit, {device.USAGE} one device; see "
        "their --help.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="benchmarks to run (default: the short ones)"
    )
    parser.add_argument("--list", action="store_true", help="list the benchmarks and exit")
    parser.add_argument(
        "--long", action="store_true", help="more rounds and larger sizes; without names, all"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
