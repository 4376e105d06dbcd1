"""The command line of ``python -m benchmarks against COMMIT``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path

from benchmarks.against.turns import NAMES
from benchmarks.against.version import Version
from benchmarks.against.worktree import UnknownCommit, copy_of, resolve_commit, worktree
from benchmarks.command_line import add_parts, common_options, measure_each, prepare, report
from benchmarks.options import Findings, Options

NAME = "against"
USAGE = f"python -m benchmarks {NAME} COMMIT"
ABOUT = "this version against another commit, interleaved"
PARTS: Mapping[str, str] = {
    "bits": "whether outputs, traces and counters of the same simulations are equal",
    "step": "flow-steps a second of the three presets, each in float32 and bfloat16",
    "callers": "requests of one caller and of 64 callers at once to a server",
    "uploads": "requests with 1 MiB: embeddings to simulate, datasets as .npy and .parquet",
    "start": "start-up time and idle memory of a server, and the import of torch",
}

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    """Measure this version against another, and return the exit code.

    Args:
        arguments: of the command line, after ``against``.
    """
    parser = _parser()
    parsed = parser.parse_args(arguments)
    try:
        commit = resolve_commit(ROOT, parsed.commit)
    except UnknownCommit as error:
        parser.error(str(error))
    options, machine = prepare(parsed)
    with (
        tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as kernels,
        copy_of(ROOT) as copy,
        worktree(ROOT, commit) as tree,
    ):
        own = machine["commit"], copy, sys.executable
        peer = commit, tree, parsed.other_python
        versions = _versions(own, peer, Path(kernels).resolve(), machine["threads"])
        try:
            described = {name: version.check() for name, version in versions.items()}
        except RuntimeError as error:
            sys.exit(f"error: {error}")
        found = measure_each(
            {part: partial(_load(part), versions) for part in parsed.only}, options
        )
    return report({"machine": machine, "versions": described, "benchmarks": found}, parsed.json)


def _versions(
    own: tuple[str | None, Path, str],
    peer: tuple[str | None, Path, str],
    kernels: Path,
    threads: int,
) -> dict[str, Version]:
    """Describe both, each by commit, directory and interpreter."""
    versions = {}
    for name, (commit, root, python) in zip(NAMES, (own, peer), strict=True):
        # Each version has its own directory for compiled kernels.
        (kernels / name).mkdir()
        versions[name] = Version(name, commit, root, python, kernels / name, threads)
    return versions


def _load(part: str) -> Callable[[Mapping[str, Version], Options], Findings]:
    measure: Callable[[Mapping[str, Version], Options], Findings] = import_module(
        f"benchmarks.against.{part}"
    ).measure
    return measure


def _parser() -> argparse.ArgumentParser:
    parts = "\n".join(f"  {name:<9}{about}" for name, about in PARTS.items())
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {NAME}",
        parents=[common_options()],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Measure this version, the present files, against another commit, which is checked\n"
            "out in a temporary git worktree. Both run in turns on the same third-party packages;\n"
            "the one that is not measured is suspended. Prints tables, then one line of JSON. A\n"
            "ratio above 1 means that this version is faster or needs less memory; it is the\n"
            "median over rounds, with a 95 % interval."
        ),
        epilog=(
            f"parts:\n{parts}\n\nOn a machine that others use, set OMP_WAIT_POLICY=passive: "
            "the reason is in docs/benchmarks.md."
        ),
    )
    parser.add_argument("commit", metavar="COMMIT", help="a branch, a tag, a hash, HEAD~3")
    add_parts(parser, PARTS)
    parser.add_argument(
        "--other-python",
        default=sys.executable,
        metavar="PATH",
        help="interpreter of an environment with the other commit's packages, where they differ "
        "(default: this one)",
    )
    parser.add_argument("--long", action="store_true", help="three times the rounds")
    return parser
