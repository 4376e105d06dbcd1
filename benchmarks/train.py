"""``train``: the cost of training.

Measures: a training step in every gradient mode, and the peak memory of training on full pools.
Unit: milliseconds and bytes, and ratios. Baseline: a simulation of the same rows without gradients,
and the predicted memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.child_process import run_child
from benchmarks.comparison import Times, time_once
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line, show
from benchmarks.train_memory import pairs, train_config
from benchmarks.workload import processor, shape
from energy_flow.training import TrainConfig, Trainer
from energy_flow.training.data import batch_rows, noise_seed
from energy_flow.training.unroll import UNTRACED

WARM_UPS = 3
TINY_LEARNING_RATE = 1e-9
"""With it weights hardly change, so that every round has the same number of flows."""


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    Attributes:
        preset: name of the preset.
        precision: precision of the networks.
        batch: rows of a batch.
        mode: gradient mode.
        rounds: usual number of rounds.
    """

    preset: str
    precision: str
    batch: int
    mode: str
    rounds: int

    @property
    def name(self) -> str:
        """Preset, precision and mode."""
        return f"{self.preset} {self.precision} {self.mode}"


CASES = (
    Case("debug", "float32", 32, "full", 20),
    Case("debug", "float32", 32, "checkpointed", 10),
    Case("debug", "float32", 32, "truncated", 10),
    Case("debug", "bfloat16", 32, "full", 10),
)
POOLS = (
    ("debug", "float32", 16, "full"),
    ("debug", "float32", 32, "checkpointed"),
    ("debug", "float32", 32, "truncated"),
    ("debug", "bfloat16", 32, "full"),
    ("experiment", "bfloat16", 2, "checkpointed"),
)


def measure(options: Options) -> Findings:
    """Measure training steps and peak memory.

    Args:
        options: how to measure.
    """
    steps = {}
    for case in CASES:
        print_line(f"train: {case.name}, {options.rounds(case.rounds)} rounds")
        steps[case.name] = _measured(case, options)
    show(
        "A training step against a forward pass of the same rows",
        ("preset", "batch", "flow-steps", "forward, ms", "step, ms", "step / forward"),
        [
            (
                name,
                one["batch"],
                one["flow_steps"],
                one["forward_ms"],
                one["step_ms"],
                f"{one['ratio']['median']:.3f} [{one['ratio']['low']:.3f}, "
                f"{one['ratio']['high']:.3f}]",
            )
            for name, one in steps.items()
        ],
        "step: everything that Trainer.advance does: runs, losses, gradients, optimiser, "
        "diagnostics. The weights hardly change, so that all rounds have the same number of flows. "
        "step / forward: median over rounds with a 95 % interval.",
    )
    pools = []
    for preset, precision, batch, mode in POOLS:
        print_line(f"train: memory, {preset} {precision} {mode}")
        arguments = (preset, precision, str(batch), mode, options.device)
        pools.append(run_child("benchmarks.train_memory", *arguments))
    show(
        "Peak memory of two training steps on full pools against prediction",
        ("pool", "batch", "peak, MiB", "predicted, MiB", "predicted / peak"),
        [
            (
                f"{one['preset']} {one['precision']} {one['mode']}",
                one["batch"],
                one["peak_bytes"] / 2**20,
                one["predicted_bytes"] / 2**20,
                one["predicted_over_peak"],
            )
            for one in pools
        ],
        "Every sample has as many flows as it may in most of the steps.",
    )
    config = {"cases": [case.name for case in CASES], "pools": [list(pool) for pool in POOLS]}
    return Findings(config, {"steps": steps, "full_pools": pools})


def _measured(case: Case, options: Options) -> dict[str, Any]:
    model = processor(case.preset, options.device, {"precision": case.precision})
    rounds = options.rounds(case.rounds)
    config = train_config(model.config, case.batch, case.mode)
    config = config.replace(
        {"length.steps": WARM_UPS + rounds, "optimiser.learning_rate": TINY_LEARNING_RATE}
    )
    trainer = Trainer(config, model, pairs(4 * case.batch))
    forward, step, flow_steps = [], [], 0
    for number in range(WARM_UPS + rounds):
        run = _Forward(trainer, config)
        forward_seconds = time_once(run, options.device)
        step_seconds = time_once(trainer.advance, options.device)
        if number >= WARM_UPS:
            forward.append(forward_seconds)
            step.append(step_seconds)
            flow_steps = run.flow_steps
    times = Times({"forward": forward, "step": step})
    return {
        "config": shape(model.config),
        "batch": case.batch,
        "flow_steps": flow_steps,
        "forward_ms": 1e3 * times.median("forward"),
        "step_ms": 1e3 * times.median("step"),
        "ratio": times.ratio("step", "forward").to_dict(),
    }


class _Forward:
    """The run of the next training step without gradients, with weights packed before."""

    def __init__(self, trainer: Trainer, config: TrainConfig) -> None:
        index = batch_rows(len(trainer.train), config.batch.rows, config.seed, trainer.step)
        self._rows = trainer.train.take(index)
        self._seed = noise_seed(config.seed, trainer.step)
        self._processor = trainer.processor.eval()
        self._processor.prepare()
        self.flow_steps = 0

    def __call__(self) -> None:
        result = self._processor.simulate(
            self._rows.inputs,
            options=UNTRACED,
            seed=self._seed,
            sample_keys=self._rows.rows.tolist(),
            outputs=("embedding", "surface", "hits"),
        )
        self.flow_steps = result.metrics.counters.flow_steps
