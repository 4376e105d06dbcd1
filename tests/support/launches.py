"""``python -m tests.support.launches``: what a run on a CUDA device would launch, without one.

Prints the kernels of a run by place, and what a device would wait for. Kernels are estimated from
PyTorch's sources, see ``LAUNCHES`` of ``pretended_device``.
"""

from __future__ import annotations

import argparse
from collections import Counter

from benchmarks.tables import print_line, show
from benchmarks.workload import embeddings, processor
from energy_flow.choices import Preset, names_of
from tests.support.pretended_device import (
    DeviceWatch,
    move_to_pretended_device,
    pretended_device,
)

STEP = "step"
NARROW = {"carrier_hidden_size": 16, "mapper_hidden_dim": 16}
"""Widths on which launches do not depend, and which take little time."""


def main(arguments: list[str] | None = None) -> int:
    """Simulate a batch on a pretended device, and print what it would do.

    Args:
        arguments: of the command line; by default those of this process.
    """
    parsed = _parser().parse_args(arguments)
    model = processor(parsed.preset, "cpu", {"precision": parsed.precision, **NARROW})
    inputs = embeddings(parsed.batch)
    steps = blocks = 0
    with pretended_device() as watch:
        move_to_pretended_device(model)
        state = model.start(inputs, seed=1)
        watch.begin(STEP)
        while state.active_flows and steps < parsed.steps:
            plan = state.networks.blocks(state.active_flows, state.hidden.stepped, state.plan)
            blocks += len(plan)
            state = model.step(state)
            steps += 1
    _print(watch, steps, blocks)
    return int(bool(watch.mixtures or watch.unordered or watch.of_phase(watch.waits, STEP)))


def _print(watch: DeviceWatch, steps: int, blocks: int) -> None:
    launches: Counter[str] = Counter()
    for (place, phase), count in watch.launches.items():
        if phase == STEP:
            launches[place] += count
    show(
        "Launches a step, by place",
        ("file and function", "launches"),
        [(place, count / steps) for place, count in launches.most_common()],
    )
    files: Counter[str] = Counter()
    for place, count in launches.items():
        files[place.partition(" ")[0]] += count
    show(
        "Launches a step, by file",
        ("file", "launches"),
        [(file, count / steps) for file, count in files.most_common()],
    )
    print_line(
        f"{steps} steps of {blocks / steps:.1f} blocks; {launches.total() / steps:.0f} launches a "
        f"step; mixtures {dict(watch.mixtures)}; sums without an order {dict(watch.unordered)}; "
        f"waits {watch.of_phase(watch.waits, STEP)}; copies "
        f"{watch.of_phase(watch.transfers, STEP)}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.launches", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("--preset", choices=names_of(Preset), default=Preset.DEBUG)
    parser.add_argument("--precision", default="float32", help="float32 or bfloat16")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="samples (default: 1)")
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="at most (default: 10)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
