"""Parts of ``device`` that are correct or not: ``passed`` in their figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.device.cases import Shape, model, shapes
from benchmarks.options import Findings, Options
from benchmarks.tables import show
from benchmarks.train_memory import pairs, train_config
from benchmarks.workload import config, embeddings
from energy_flow import FlowProcessor, SimulationResult
from energy_flow.choices import BackPropagationMode, Output, Precision, Preset, names_of
from energy_flow.training import TrainConfig, Trainer
from energy_flow.training.gradients import backward

OUTPUTS = names_of(Output)
SURFACE_TOLERANCE = 1e-3
"""Relative difference of surfaces in float32, whose sums are rounded in another order."""
GRADIENT_TOLERANCE = 1e-2
"""The same of gradients, whose terms nearly cancel each other."""
FLOW_STEPS_TOLERANCE = 1e-3
"""Relative difference of flow-steps: a rounding may decide otherwise about a flow."""
TRAINING_STEPS = 4


def measure_reference(options: Options) -> Findings:
    """Compare a run in float32 with the same run on the CPU.

    Args:
        options: how to measure.
    """
    shape = Shape(Preset.DEBUG, Precision.FLOAT32)
    own = model(shape, options.device)
    reference = FlowProcessor(own.config, weights=_weights_on_cpu(own))
    inputs = embeddings(2 if options.quick else 8)
    found, expected = (one.simulate(inputs, seed=1) for one in (own, reference))
    surface = _relative(found.outputs["surface"], expected.outputs["surface"])
    counts = [one.metrics.counters.flow_steps for one in (found, expected)]
    flow_steps = abs(counts[0] - counts[1]) / counts[1]
    figures = {
        "passed": surface <= SURFACE_TOLERANCE and flow_steps <= FLOW_STEPS_TOLERANCE,
        "surface": surface,
        "flow_steps": counts,
    }
    show(
        "A run on the device against the CPU",
        ("", "passed", "surface, relative", "flow-steps", "on the CPU"),
        [(shape.name, figures["passed"], surface, *counts)],
    )
    return Findings({"shape": shape.name, "batch": len(inputs)}, figures)


def measure_invariance(options: Options) -> Findings:
    """Compare the bits of samples that are simulated in several ways.

    Args:
        options: how to measure.
    """
    figures: dict[str, Any] = {}
    for shape in shapes(options):
        processor = model(shape, options.device)
        batch = 3 if options.quick or shape.preset == Preset.OPTIMIZED else 9
        inputs, keys = embeddings(batch), list(range(batch))

        def run(
            rows: Sequence[int], of: FlowProcessor = processor, inputs: Any = inputs
        ) -> SimulationResult:
            return of.simulate(inputs[rows], seed=7, sample_keys=list(rows), outputs=OUTPUTS)

        whole = run(keys)
        figures[shape.name] = {
            "run_to_run": _has_rows(run(keys), whole, keys),
            "alone": _has_rows(run(keys[-1:]), whole, keys[-1:]),
            "in_another_order": _has_rows(run(keys[::-1]), whole, keys[::-1]),
            "split": _has_rows(run(keys[: batch // 2]), whole, keys[: batch // 2]),
            "claimed": not any("batch_invariant" in text for text in whole.warnings),
        }
    show(
        "Bits of a sample's outputs are the same",
        ("", "run to run", "alone", "in another order", "split", "claimed"),
        [(name, *one.values()) for name, one in figures.items()],
    )
    passed = all(all(one.values()) for one in figures.values())
    return Findings({"outputs": OUTPUTS}, {"passed": passed, **figures})


def measure_gradients(options: Options) -> Findings:
    """Compare the gradients of a batch with those of the CPU, and with themselves.

    Args:
        options: how to measure.
    """
    rows = 4 if options.quick else 16
    found = [_gradients(options.device, rows) for _ in range(2)]
    expected = _gradients("cpu", rows)
    differences = {name: _relative(found[0][name], one) for name, one in expected.items()}
    largest = max(differences, key=lambda name: differences[name])
    is_same = all(np.array_equal(found[0][name], found[1][name]) for name in expected)
    figures = {
        "passed": is_same and differences[largest] <= GRADIENT_TOLERANCE,
        "twice_the_same": is_same,
        "largest": differences[largest],
        "of": largest,
    }
    show(
        "Gradients of a batch in float32",
        ("largest difference to the CPU's of", "passed", "relative", "twice the same"),
        [(largest, figures["passed"], figures["largest"], is_same)],
    )
    return Findings({"rows": rows}, figures)


def measure_training(options: Options) -> Findings:
    """Compare the weights of the same training, twice.

    Args:
        options: how to measure.
    """
    figures: dict[str, Any] = {}
    for precision in Precision:
        digests = [_train(options, precision) for _ in range(2)]
        figures[precision.value] = {"same": digests[0] == digests[1], "digest": digests[0]}
    show(
        "The same training twice",
        ("precision", "same weights", "digest"),
        [(name, one["same"], one["digest"][:12]) for name, one in figures.items()],
    )
    passed = all(one["same"] for one in figures.values())
    return Findings({"steps": TRAINING_STEPS}, {"passed": passed, **figures})


def _training(precision: str, rows: int, device: str) -> tuple[FlowProcessor, TrainConfig]:
    chosen = config(Preset.DEBUG, {"precision": precision, "spawn.max_children": 2})
    processor = FlowProcessor(chosen, device=device)
    return processor, train_config(processor.config, rows, BackPropagationMode.FULL)


def _gradients(device: str, rows: int) -> dict[str, Any]:
    processor, training = _training(Precision.FLOAT32, rows, device)
    backward(processor, training, pairs(2 * rows), np.arange(rows), {}, seed=5)
    return {
        name: weight.grad.cpu().numpy()
        for name, weight in processor.named_parameters()
        if weight.grad is not None
    }


def _train(options: Options, precision: str) -> str:
    rows = 4 if options.quick else 16
    processor, training = _training(precision, rows, options.device)
    training = training.replace({"length.steps": TRAINING_STEPS})
    trainer = Trainer(training, processor, pairs(2 * rows))
    for _ in range(TRAINING_STEPS):
        trainer.advance()
    return processor.digest()


def _has_rows(part: SimulationResult, whole: SimulationResult, rows: Sequence[int]) -> bool:
    """Return whether a result has the bits of some rows of another one."""
    return all(np.array_equal(part.outputs[name], whole.outputs[name][rows]) for name in OUTPUTS)


def _relative(found: Any, expected: Any) -> float:
    size = float(np.linalg.norm(expected))
    return float(np.linalg.norm(found - expected)) / size if size else float(np.abs(found).max())


def _weights_on_cpu(processor: FlowProcessor) -> dict[str, torch.Tensor]:
    return {name: weight.cpu() for name, weight in processor.state_dict().items()}
