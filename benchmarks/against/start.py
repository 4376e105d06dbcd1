"""``start``: start-up time and idle memory of a server.

Measures: ``energy-flow serve`` until ``/readyz`` is 200, in a new data directory and once more, and
its memory without requests. Unit: seconds and MiB. Baseline: the other version; the import of torch
alone shows the noise of the machine.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.against.comparison import Comparison, show_comparisons
from benchmarks.against.server import started_server
from benchmarks.against.turns import order_of
from benchmarks.against.version import Version
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line

ROUNDS = 6
IDLE_SECONDS = 2
MIB = 2**20

IMPORT = "python -c 'import torch'"
FIRST = "serve until /readyz is 200, new data directory"
SECOND = "serve until /readyz is 200, second start"
RESIDENT = "resident memory at rest (RSS)"
PROPORTIONAL = "the same, shared pages divided (PSS)"
ORDER = (IMPORT, FIRST, SECOND, RESIDENT, PROPORTIONAL)


def measure(versions: Mapping[str, Version], options: Options) -> Findings:
    """Start servers of both versions, twice in a round, each after an import of torch alone.

    Args:
        versions: this version and the other, by name.
        options: how to measure.
    """
    rounds = options.rounds(ROUNDS)
    found: dict[str, dict[str, list[float]]] = {}
    with TemporaryDirectory(prefix="energy-flow-bench-") as folder:
        for version in versions.values():
            print_line(f"start: warming up version '{version.name}'")
            _round(version, Path(folder) / f"{version.name}-warm", options.device)
        for turn in range(rounds):
            print_line(f"start: round {turn + 1} of {rounds}")
            for name in order_of(turn):
                data = Path(folder) / f"{name}-{turn}"
                for what, value in _round(versions[name], data, options.device).items():
                    found.setdefault(what, {}).setdefault(name, []).append(value)
    comparisons = {
        what: Comparison("MiB" if what in (RESIDENT, PROPORTIONAL) else "s", of)
        for what, of in sorted(found.items(), key=lambda item: ORDER.index(item[0]))
    }
    show_comparisons(
        "Start-up and memory of energy-flow serve, debug preset",
        comparisons,
        "The import of torch is the same work in both versions; its ratio shows the noise.",
    )
    of_import = {
        name: round(statistics.median(_quotients(found[SECOND][name], found[IMPORT][name])), 4)
        for name in versions
    }
    return Findings(
        {"rounds": rounds, "preset": "debug", "rest_seconds": IDLE_SECONDS},
        {what: one.to_dict() for what, one in comparisons.items()}
        | {"second start in imports of torch": of_import},
    )


def _quotients(over: list[float], under: list[float]) -> list[float]:
    return [one / other for one, other in zip(over, under, strict=True)]


def _round(version: Version, data: Path, device: str) -> dict[str, float]:
    found = {IMPORT: _import_seconds(version)}
    with started_server(version, data, device) as server:
        found[FIRST] = server.seconds
        time.sleep(IDLE_SECONDS)
        found[RESIDENT] = server.resident_bytes() / MIB
        proportional = server.proportional_bytes()
        if proportional is not None:
            found[PROPORTIONAL] = proportional / MIB
    with started_server(version, data, device) as server:
        found[SECOND] = server.seconds
    return found


def _import_seconds(version: Version) -> float:
    began = time.perf_counter()
    subprocess.run(
        [version.python, "-c", "import torch"],
        env=version.environment(),
        cwd=version.kernels,
        check=True,
    )
    return time.perf_counter() - began
