"""Measure a model with parts of its flows switched off, in this process; needs torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from energy_flow.ablation import AblationRun
from energy_flow.errors import CheckpointError, DataError, EnergyFlowError
from energy_flow.runtime.device import resolve_device
from energy_flow.runtime.process import configure_process
from energy_flow.simulation.checkpoint import load
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.training.data import Pairs
from service.cli.execute.ablation_job import AblationJob, AblationOutcome, describe_progress
from service.cli.execute.embeddings_file import RowRange
from service.cli.input.failures import CommandFailed, require_file
from service.cli.input.streams import printable
from service.cli.input.terminal import activity


def ablate(job: AblationJob, *, device: str) -> AblationOutcome:
    """Load the model and the rows, and measure all variants.

    Args:
        job: what to measure.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        CommandFailed: the job is refused or fails.
    """
    model, data = Path(job.model), Path(job.data)
    require_file(model)
    require_file(data)
    configure_process()
    try:
        processor = _load(model, device)
        pairs = _read(data, job.rows)
        config = processor.config.with_options(job.fields)
        run = AblationRun(processor, pairs, config=config, resamples=job.resamples)
        _advance(run, len(pairs), f"{len(pairs):,} rows of {data} on {processor.device}")
        result = run.result()
    except DataError as error:
        raise CommandFailed(f"{data}: {error}") from None
    except EnergyFlowError as error:
        raise CommandFailed(str(error)) from error
    reference = {
        "name": printable(job.model),
        "trained": processor.trained,
        "coord_version": processor.config.coord_version,
        "digest": processor.digest(),
    }
    rows = (int(pairs.rows[0]), int(pairs.rows[-1]) + 1)
    return AblationOutcome(reference, printable(job.data), rows, result, config.warnings())


def _load(path: Path, device: str) -> FlowProcessor:
    try:
        return load(path, resolve_device(device))
    except CheckpointError as error:
        raise CommandFailed(f"{path}: {error}") from None


def _read(path: Path, rows: RowRange) -> Pairs:
    try:
        pairs = Pairs.read(path)
    except DataError as error:
        # The message names the file.
        raise CommandFailed(str(error)) from None
    part = rows.within(len(pairs), path)
    return pairs.take(np.arange(part.start, part.stop))


def _advance(run: AblationRun, rows: int, title: str) -> None:
    """Simulate to the end and show the progress."""
    with activity(title) as shown:
        is_unfinished = True
        while is_unfinished:
            is_unfinished = run.advance()
            text = describe_progress(run.current, run.done, run.total, rows)
            shown.advance(run.done, run.total, text)
