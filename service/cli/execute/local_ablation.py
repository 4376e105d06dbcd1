"""Measure a model with parts of its flows switched off, in this process; needs torch."""

from __future__ import annotations

from pathlib import Path

from energy_flow.ablation import AblationRun
from energy_flow.ablation.result import AblationResult
from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine import AblationRequest, Engine, LoadedModel
from energy_flow.errors import CheckpointError, ConfigError, DataError, EnergyFlowError
from energy_flow.runtime.process import configure_process
from energy_flow.training.data import Pairs
from service.cli.execute.ablation_job import AblationJob, AblationOutcome, describe_progress
from service.cli.execute.local_engine import running_engine
from service.cli.execute.model_file import Checkpoint
from service.cli.execute.option_faults import refuse_config
from service.cli.input.failures import CommandFailed
from service.cli.input.streams import printable
from service.cli.input.terminal import activity


def ablate(job: AblationJob, model: Checkpoint, pairs: Pairs, *, device: str) -> AblationOutcome:
    """Load the model and measure all variants.

    Args:
        job: what to measure.
        model: its model.
        pairs: its rows.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        CommandFailed: the job is refused or fails.
    """
    configure_process()
    try:
        with running_engine(device) as engine:
            loaded = _load(engine, model.path)
            config = loaded.config.with_options(job.fields)
            result = _measure(engine, loaded, config, pairs, job)
    except DataError as error:
        raise CommandFailed(f"{job.data}: {error}") from None
    except ConfigError as error:
        raise refuse_config(error.faults) from error
    except EnergyFlowError as error:
        raise CommandFailed(str(error)) from error
    reference = {
        "name": printable(job.model),
        "trained": loaded.trained,
        "coord_version": loaded.config.coord_version,
        "digest": loaded.digest,
    }
    rows = (int(pairs.rows[0]), int(pairs.rows[-1]) + 1)
    return AblationOutcome(reference, printable(job.data), rows, result, config.warnings())


def _load(engine: Engine, path: Path) -> LoadedModel:
    try:
        return engine.load_model(path)
    except CheckpointError as error:
        raise CommandFailed(f"{path}: {error}") from None


def _measure(
    engine: Engine, model: LoadedModel, config: FlowConfig, pairs: Pairs, job: AblationJob
) -> AblationResult:
    """Simulate to the end and show the progress."""
    rows = len(pairs)
    with activity(f"{rows:,} rows of {job.data} on {engine.device}") as shown:

        def show(run: AblationRun) -> None:
            text = describe_progress(run.current, run.done, run.total, rows)
            shown.advance(run.done, run.total, text)

        request = AblationRequest(model.digest, config, pairs, job.resamples, show)
        return engine.ablate(request).result().result()
