"""Run a simulation in this process, on an engine of its own; needs ``energy-flow[sim]``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from energy_flow import pretrained
from energy_flow.choices import Output, Preset
from energy_flow.config.flow_config import MODEL_FIELDS, FlowConfig
from energy_flow.config.presets import preset as preset_config
from energy_flow.engine import Engine, LoadedModel, RunListener, RunRequest
from energy_flow.errors import CheckpointError, ConfigError, EnergyFlowError, Fault
from energy_flow.runtime.process import configure_process
from energy_flow.simulation.checkpoint import describe
from energy_flow.simulation.inputs import (
    check_embeddings,
    check_keys,
    check_outputs,
    check_seed,
    describe_seed_fault,
)
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.telemetry.ledger import StepMetrics
from energy_flow.trace.formats.parquet import write_parquet
from service.cli.execute.job import FileJob
from service.cli.execute.local_engine import running_engine
from service.cli.execute.model_file import Checkpoint
from service.cli.execute.option_faults import refuse_config, refuse_request
from service.cli.execute.outcome import Outcome
from service.cli.input.failures import CommandFailed
from service.cli.input.streams import printable
from service.cli.input.terminal import activity, print_note
from service.plots.unreached_cells import add_marks, hide_unreached

RUN_ID = "local"


def simulate(
    job: FileJob, *, preset: str | None, checkpoint: Checkpoint | None, device: str
) -> Outcome:
    """Make or load the model and simulate the samples of the job.

    Args:
        job: what to simulate.
        preset: config of an untrained model.
        checkpoint: file of a model; without both, the default model, or an untrained one of
            ``debug`` for other rows and for options that set fields of the model.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        CommandFailed: the simulation is refused or fails.
    """
    configure_process()
    if checkpoint is None and preset is None:
        checkpoint = _find_default(job)
    with _failures_in_one_line(), running_engine(device) as engine:
        model, config = _load(engine, job, preset, checkpoint)
        results = _simulate(engine, _request(job, model, config))
    result = SimulationResult.concatenate(results.parts)
    metrics = result.metrics.to_dict()
    report: dict[str, Any] = {
        "run_id": None,
        "url": None,
        "page": None,
        "model": {
            "name": printable(checkpoint.name if checkpoint else preset or Preset.DEBUG.value),
            "trained": model.trained,
            "coord_version": config.coord_version,
            "digest": model.digest,
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
        "timing": results.timing(metrics["flow_steps"]),
        "samples": [sample.to_dict() for sample in result.samples],
        "warnings": list(result.warnings),
    }

    def write_picture(path: Path) -> None:
        from service.plots.heat_map import heat_map

        surface = hide_unreached(
            result.outputs[Output.SURFACE][0], result.outputs[Output.REACHED][0]
        )
        path.write_bytes(heat_map({"surface": surface}, f"surface, sample {job.sample_keys[0]}"))

    outputs = {name: result.outputs[name] for name in job.outputs}
    return Outcome(outputs, report, lambda path: write_parquet(result.trace, path), write_picture)


def _find_default(job: FileJob) -> Checkpoint | None:
    """Return the default model, if it takes the rows and no option is one of another model."""
    if _sets_model(job):
        return None
    width = _read_dimension(pretrained.DEFAULT)
    if width == _dimension(job):
        return Checkpoint(pretrained.DEFAULT, pretrained.find(pretrained.DEFAULT).checkpoint)
    if _dimension(job) == preset_config(Preset.DEBUG).embedding_dim:
        print_note(
            f"note: an untrained model of the preset {Preset.DEBUG} is used, because the rows have "
            f"{_dimension(job)} numbers; the default model {pretrained.DEFAULT}, as of a new "
            f"server, takes {width}"
        )
    return None


def _sets_model(job: FileJob) -> bool:
    return any(name.partition(".")[0] in MODEL_FIELDS for name in job.fields)


class _Results(RunListener):
    """The results of a run, chunk by chunk, and its progress for another thread.

    Attributes:
        parts: results of the samples that have ended, in order.
        error: why the run failed, once it has ended.
    """

    def __init__(self) -> None:
        self.parts: list[SimulationResult] = []
        self.error: EnergyFlowError | None = None
        self._steps: SimpleQueue[tuple[int, StepMetrics] | None] = SimpleQueue()
        self._submitted_at = time.perf_counter()
        self._started_at = self._ended_at = self._submitted_at

    def started(self, entering_seconds: float) -> None:
        """Record when the first samples entered the pool."""
        self._started_at = time.perf_counter() - entering_seconds

    def stepped(self, metrics: StepMetrics, done_samples: int) -> None:
        """Pass the step on to the other thread."""
        self._steps.put((done_samples, metrics))

    def chunk(self, first_sample: int, result: SimulationResult) -> None:
        """Keep the results."""
        self.parts.append(result)

    def ended(self, error: EnergyFlowError | None) -> None:
        """Record the end."""
        self._ended_at = time.perf_counter()
        self.error = error
        self._steps.put(None)

    def steps(self) -> Iterator[tuple[int, StepMetrics]]:
        """Yield each step, with the number of samples that ended before it, until the run ends."""
        return iter(self._steps.get, None)

    def timing(self, flow_steps: int) -> dict[str, Any]:
        """Return the times of the run as JSON data."""
        compute = self._ended_at - self._started_at
        return {
            "queue_ms": (self._started_at - self._submitted_at) * 1e3,
            "compute_ms": compute * 1e3,
            "total_ms": (self._ended_at - self._submitted_at) * 1e3,
            "flow_steps_per_second": flow_steps / compute if compute > 0 else None,
        }


def _load(
    engine: Engine, job: FileJob, preset: str | None, checkpoint: Checkpoint | None
) -> tuple[LoadedModel, FlowConfig]:
    """Return the model and the config of the run."""
    if checkpoint is None:
        config = preset_config(preset or Preset.DEBUG).replace(job.fields)
        # Before a large model is made.
        if _dimension(job) != config.embedding_dim:
            if preset is None and not _sets_model(job):
                what, expected = (
                    f"default model {pretrained.DEFAULT}",
                    _read_dimension(pretrained.DEFAULT),
                )
            else:
                what, expected = f"preset {preset or Preset.DEBUG}", config.embedding_dim
            raise _refuse_dimension(job, what, expected)
        return engine.load_model(config), config
    try:
        model = engine.load_model(checkpoint.path)
    except CheckpointError as error:
        raise CommandFailed(f"{checkpoint.path}: {error}") from None
    if _dimension(job) != model.config.embedding_dim:
        raise _refuse_dimension(job, f"model {checkpoint.name}", model.config.embedding_dim)
    return model, model.config.with_options(job.fields)


def _dimension(job: FileJob) -> int:
    return int(job.embeddings.shape[1])


def _read_dimension(name: str) -> int:
    """Return the numbers of a row that a model of the package takes."""
    dimension: int = describe(pretrained.find(name).checkpoint)["config"].embedding_dim
    return dimension


def _refuse_dimension(job: FileJob, what: str, expected: int) -> CommandFailed:
    given = _dimension(job)
    fitting = [f"--model {name}" for name in pretrained.names() if _read_dimension(name) == given]
    remedies = [*fitting, f"--set embedding_dim={given} for untrained weights"]
    return CommandFailed(
        f"the rows have {given} numbers, and the {printable(what)} takes {expected}; use "
        f"{' or '.join(remedies)}"
    )


def _request(job: FileJob, model: LoadedModel, config: FlowConfig) -> RunRequest:
    embeddings = check_embeddings(job.embeddings, config.embedding_dim)
    fault = describe_seed_fault(job.seed, config)
    if fault is not None:
        raise refuse_request([Fault(("seed",), fault, job.seed)])
    seed = config.seed if job.seed is None else check_seed(job.seed)
    return RunRequest(
        RUN_ID,
        model.digest,
        config,
        embeddings,
        seed,
        check_keys(job.sample_keys, len(embeddings)),
        # A picture of the surface also shows which cells are reached.
        check_outputs(add_marks(job.outputs)),
        # Only the samples in the pool must fit into the device's memory.
        streams=True,
    )


def _simulate(engine: Engine, request: RunRequest) -> _Results:
    """Run to the end and show the progress.

    Raises:
        EnergyFlowError: the run failed.
    """
    samples, results = len(request.sample_keys), _Results()
    with activity(f"{samples:,} samples on {engine.device}") as shown:
        engine.submit(request, results)
        for done, step in results.steps():
            shown.advance(
                done,
                samples,
                f"{done:,} of {samples:,} samples, step {step.step + 1} of at most "
                f"{request.config.step_limit}, {step.active:,} flows active",
            )
        if results.error is not None:
            raise results.error
        shown.advance(samples, samples, f"{samples:,} of {samples:,} samples done")
    return results


@contextmanager
def _failures_in_one_line() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise refuse_config(error.faults) from error
    except EnergyFlowError as error:
        raise CommandFailed(str(error)) from error
