"""``step``: the speed of simulations.

Measures: the three presets in both precisions. Unit: flow-steps a second. Baseline: the other
version.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.against.comparison import Comparison, show_comparisons
from benchmarks.against.turns import order_of
from benchmarks.against.version import Version
from benchmarks.options import Findings, Options
from benchmarks.standstill import resume, suspend
from benchmarks.tables import print_line
from benchmarks.workload import all_embeddings

ROUNDS = 6
SECONDS = 0.5
"""Shortest time of a measurement, which always has complete simulations."""

# The settings of glibc that the programs make themselves: freed memory is kept, and all threads
# share one heap.
MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
    "MALLOC_ARENA_MAX": "1",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    The large presets have few steps and few samples: a step of one sample needs two cores for a
    second. In the second step every flow has a hidden state, as in all later steps.

    Attributes:
        preset: name of the preset.
        precision: precision of the networks.
        batch: number of samples.
        steps: largest number of steps.
    """

    preset: str
    precision: str
    batch: int
    steps: int

    @property
    def name(self) -> str:
        """Preset and precision."""
        return f"{self.preset} {self.precision}"


CASES = tuple(
    Case(preset, precision, batch, steps)
    for preset, batch, steps in (("debug", 16, 10), ("experiment", 4, 4), ("optimized", 1, 2))
    for precision in ("float32", "bfloat16")
)


def measure(versions: Mapping[str, Version], options: Options) -> Findings:
    """Measure every case in both versions, in new processes in every round.

    Args:
        versions: this version and the other, by name.
        options: how to measure.
    """
    rounds = options.rounds(ROUNDS)
    answers: dict[str, dict[str, list[dict[str, Any]]]] = {
        case.name: {name: [] for name in versions} for case in CASES
    }
    with TemporaryDirectory(prefix="energy-flow-bench-") as folder:
        rows = Path(folder) / "embeddings.npy"
        np.save(rows, all_embeddings())
        for version in versions.values():
            print_line(f"step: warming up version '{version.name}'")
            with stepping(version, rows, options.device) as process:
                for case in CASES:
                    process.build(case)
        for turn in range(rounds):
            print_line(f"step: round {turn + 1} of {rounds}")
            with ExitStack() as stack:
                processes = {
                    name: stack.enter_context(stepping(versions[name], rows, options.device))
                    for name in order_of(turn)
                }
                for case in CASES:
                    for name, found in _round(case, processes, turn).items():
                        answers[case.name][name].append(found)
    comparisons = {
        case: Comparison(
            "flow-steps/s",
            {
                name: [one["flow_steps"] / one["seconds"] for one in found]
                for name, found in of.items()
            },
            more_is_better=True,
        )
        for case, of in answers.items()
    }
    show_comparisons("Flow-steps a second", comparisons)
    config = {
        "rounds": rounds,
        "seconds_at_least": SECONDS,
        "cases": {case.name: asdict(case) for case in CASES},
    }
    return Findings(config, {name: one.to_dict() for name, one in comparisons.items()})


@dataclass(frozen=True, slots=True)
class Stepping:
    """A process that simulates with one version; it is suspended except while it answers.

    Attributes:
        process: the process.
        name: name of the version.
    """

    process: subprocess.Popen[str]
    name: str

    def build(self, case: Case) -> None:
        """Make a model, and simulate with it once.

        Args:
            case: preset, precision and batch.
        """
        self._ask({**asdict(case), "seconds": 0})

    def measure(self) -> dict[str, Any]:
        """Return the number of flow-steps done, and their seconds."""
        return self._ask({"seconds": SECONDS})

    def answer(self) -> dict[str, Any]:
        """Return the next answer of the process.

        Raises:
            RuntimeError: the process has ended.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"version '{self.name}' failed; its messages are above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        resume(self.process.pid)
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.answer()
        suspend(self.process.pid)
        return answer


@contextmanager
def stepping(version: Version, rows: Path, device: str) -> Iterator[Stepping]:
    """Start a process that makes models and measures them.

    Args:
        version: version to measure.
        rows: an ``.npy`` file of embeddings.
        device: where to simulate.

    Yields:
        The process.

    Raises:
        RuntimeError: the process failed, or imports another version.
    """
    with subprocess.Popen(
        version.command("step", str(rows), device, str(version.threads)),
        env=version.environment() | MALLOC,
        cwd=rows.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            started = Stepping(process, version.name)
            file = started.answer()["file"]
            if not Path(file).is_relative_to(version.root):
                raise RuntimeError(f"version '{version.name}': the package comes from {file}")
            suspend(process.pid)
            yield started
        finally:
            process.kill()


def _round(case: Case, processes: Mapping[str, Stepping], turn: int) -> dict[str, dict[str, Any]]:
    """Measure a case in the order A B B A; the two measurements of a version make one value."""
    for name in order_of(turn):
        processes[name].build(case)
    turns: Sequence[str] = (*order_of(turn), *order_of(turn + 1))
    totals = {name: {"flow_steps": 0, "seconds": 0.0} for name in processes}
    for name in turns:
        found = processes[name].measure()
        for key in found:
            totals[name][key] += found[key]
    return totals
