"""``python -m benchmarks [NAME...]`` and ``python -m benchmarks against COMMIT``."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from benchmarks.against import command as against
from benchmarks.command_line import common_options, measure_each, prepare, report
from benchmarks.options import Benchmark, Findings, Options
from benchmarks.registry import BENCHMARKS, chosen


def main(arguments: list[str] | None = None) -> int:
    """Runs benchmarks; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == [against.NAME]:
        return against.main(words[1:])
    parser = _parser()
    asked = parser.parse_args(words)
    if asked.list:
        for one in BENCHMARKS:
            print(f"{one.name:<16}{'' if one.short else '(long) '}{one.about}")
        print(f"{against.NAME + ' COMMIT':<16}{against.ABOUT}")
        return 0
    if against.NAME in asked.names:
        parser.error(f"{against.NAME} comes first: {against.USAGE}")
    unknown = sorted(set(asked.names) - {one.name for one in BENCHMARKS})
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; --list names them")
    options, machine = prepare(asked)
    wanted = chosen(asked.names, long=asked.long)
    found = measure_each({one.name: partial(_measure, one) for one in wanted}, options)
    return report({"machine": machine, "benchmarks": found}, asked.json)


def _measure(benchmark: Benchmark, options: Options) -> Findings:
    # Imported only now: one that cannot be imported fails alone.
    return benchmark.load()(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        parents=[common_options()],
        description="Measures Energy Flow; prints tables, then one line of JSON.",
        epilog=f"{against.USAGE} measures against another commit; see its --help.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; by default the short ones")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and end")
    parser.add_argument("--long", action="store_true", help="take time: all of them, at length")
    return parser


if __name__ == "__main__":
    sys.exit(main())
