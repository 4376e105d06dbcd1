"""Simulates in this process; needs torch, which comes with ``energy-flow[server]``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from service.cli.execute.job import FileJob
from service.cli.execute.outcome import Outcome
from service.cli.input.failures import EXIT_USAGE, CommandFailed, needing_server_extra
from service.cli.input.terminal import activity

if TYPE_CHECKING:
    from energy_flow.simulation.flow_processor import FlowProcessor
    from energy_flow.simulation.tally.result import SimulationResult
    from energy_flow.telemetry.counters import StepMetrics

# Of flow state and trace at once: enough rows to keep a device busy, little enough for a laptop.
PART_BYTES = 2**30


def simulate(job: FileJob, *, preset: str | None, checkpoint: str | None, device: str) -> Outcome:
    """Makes or loads the model and runs the job.

    Args:
        preset: config of an untrained model.
        checkpoint: file of a model.

    Raises:
        CommandFailed: whatever the simulation refuses, in one line.
    """
    if preset is not None and checkpoint is not None:
        raise CommandFailed(
            "--preset makes an untrained model and --model loads one; give one of them", EXIT_USAGE
        )
    with needing_server_extra("simulating here, without --url,"):
        from energy_flow.runtime.malloc import keep_freed
        from energy_flow.trace.formats import write_parquet

    keep_freed()
    with _failures_in_one_line():
        processor, options = _model(job, preset, checkpoint, device)
        started = time.perf_counter()
        result = _in_parts(processor, options, job)
        total_ms = (time.perf_counter() - started) * 1e3
    metrics = result.metrics.to_dict()
    report: dict[str, Any] = {
        "run_id": None,
        "url": None,
        "model": {
            "name": checkpoint or preset or "debug",
            "trained": processor.trained,
            "coord_version": processor.config.coord_version,
        },
        "seed": result.seed,
        "sample_keys": job.sample_keys,
        "metrics": metrics,
        "trace": {
            "totals": dict(result.trace.totals),
            "recorded": dict(result.trace.recorded),
            "dropped": dict(result.trace.dropped),
        },
        "memory": result.memory.to_dict(),
        "timing": {
            "queue_ms": 0.0,
            "compute_ms": result.compute_ms,
            "total_ms": total_ms,
            "flow_steps_per_second": _rate(metrics["flow_steps"], result.compute_ms),
        },
        "samples": [sample.to_dict() for sample in result.samples],
        "warnings": list(result.warnings),
    }

    def write_picture(path: Path) -> None:
        from service.plots.heat_map import heat_map

        surface = result.outputs["surface"][0]
        path.write_bytes(heat_map({"surface": surface}, f"surface, row {job.sample_keys[0]}"))

    return Outcome(
        result.outputs, report, lambda path: write_parquet(result.trace, path), write_picture
    )


def _in_parts(processor: FlowProcessor, options: dict[str, Any], job: FileJob) -> SimulationResult:
    """Runs the rows a part at a time, so that a long file does not need more memory."""
    from energy_flow.simulation.footprint import footprint
    from energy_flow.simulation.tally.result import SimulationResult

    config = processor.config.with_options(options)
    of_one = footprint(config, 1)
    rows = len(job.embeddings)
    part_rows = max(1, PART_BYTES // (of_one.state + of_one.trace))
    parts: list[SimulationResult] = []
    with activity(f"{rows:,} rows on {processor.device}") as shown:
        for first in range(0, rows, part_rows):
            part = slice(first, min(first + part_rows, rows))

            def on_step(metrics: StepMetrics, part: slice = part) -> None:
                shown.advance(
                    part.start if metrics.active else part.stop,
                    rows,
                    f"rows {part.start}:{part.stop} of {rows:,}, step {metrics.step + 1} "
                    f"of at most {config.step_limit}, {metrics.active:,} flows active",
                )

            result = processor.simulate(
                job.embeddings[part],
                options=options,
                seed=job.seed,
                sample_keys=job.sample_keys[part],
                outputs=job.outputs,
                on_step=on_step,
            )
            parts.append(_renumbered(result, first))
    return SimulationResult.concatenate(parts)


def _renumbered(result: SimulationResult, first: int) -> SimulationResult:
    """A part's result with its samples numbered as rows of the whole."""
    if first == 0:
        return result
    columns = dict(result.trace.columns)
    columns["sample"] = columns["sample"] + np.int32(first)
    samples = (replace(sample, sample=sample.sample + first) for sample in result.samples)
    return replace(result, trace=replace(result.trace, columns=columns), samples=tuple(samples))


def _model(
    job: FileJob, preset: str | None, checkpoint: str | None, device: str
) -> tuple[FlowProcessor, dict[str, Any]]:
    """The model, and those of the job's fields that are options of the run."""
    from energy_flow.config import presets
    from energy_flow.errors import CheckpointError
    from energy_flow.runtime.device import resolve_device
    from energy_flow.simulation import checkpoint as checkpoints
    from energy_flow.simulation.flow_processor import FlowProcessor

    place = resolve_device(device)
    if checkpoint is not None:
        path = Path(checkpoint)
        if not path.is_file():
            raise CommandFailed(f"there is no checkpoint {path}")
        try:
            processor, options = checkpoints.load(path, device=place), dict(job.fields)
        except CheckpointError as error:
            raise CommandFailed(f"{path}: {error}") from None
    else:
        config = presets.preset(preset or "debug").replace(job.fields)
        _check_dimension(job, config.embedding_dim)
        processor, options = FlowProcessor(config, device=place), {}
    _check_dimension(job, processor.config.embedding_dim, fixed=checkpoint is not None)
    return processor, options


def _check_dimension(job: FileJob, expected: int, *, fixed: bool = False) -> None:
    """Told before a large model is made, and with what to do about it."""
    got = job.embeddings.shape[1]
    if got != expected:
        cure = "" if fixed else f"; add --set embedding_dim={got}"
        raise CommandFailed(
            f"the model expects rows of {expected} numbers and the file has {got}{cure}"
        )


def _rate(flow_steps: int, milliseconds: float) -> float | None:
    return flow_steps / milliseconds * 1e3 if milliseconds > 0 else None


@contextmanager
def _failures_in_one_line() -> Iterator[None]:
    from energy_flow.errors import EnergyFlowError

    try:
        yield
    except EnergyFlowError as error:
        raise CommandFailed(str(error)) from error
