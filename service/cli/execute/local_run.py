"""Run a simulation in this process, on an engine of its own; needs ``energy-flow[sim]``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from energy_flow.choices import Output
from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine import Engine, LoadedModel, RunListener, RunRequest
from energy_flow.errors import CheckpointError, ConfigError, EnergyFlowError
from energy_flow.runtime.preparation import PREPARATION
from energy_flow.runtime.process import configure_process
from energy_flow.simulation.inputs import (
    check_embeddings,
    check_keys,
    check_outputs,
    check_seed,
)
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.telemetry.ledger import StepMetrics
from energy_flow.trace.formats.parquet import write_parquet
from service.cli.execute.job import FileJob
from service.cli.execute.local_engine import running_engine
from service.cli.execute.local_model import LocalModel
from service.cli.execute.option_faults import refuse_config
from service.cli.execute.outcome import Outcome
from service.cli.input.failures import CommandFailed
from service.cli.input.streams import printable
from service.cli.input.terminal import activity
from service.plots.unreached_cells import add_marks, hide_unreached

RUN_ID = "local"


def simulate(job: FileJob, chosen: LocalModel, *, device: str) -> Outcome:
    """Make or load the model and simulate the samples of the job.

    Args:
        job: what to simulate.
        chosen: the model, and the config of the run.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        CommandFailed: the simulation is refused or fails.
    """
    configure_process()
    config = chosen.config
    with _failures_in_one_line(), running_engine(device) as engine:
        model = _load(engine, chosen)
        results = _simulate(engine, _request(job, model, config))
    result = SimulationResult.concatenate(results.parts)
    metrics = result.metrics.to_dict()
    report: dict[str, Any] = {
        "run_id": None,
        "url": None,
        "page": None,
        "model": {
            "name": printable(chosen.name),
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
        self._prepared = -PREPARATION.seconds

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
        # One run is in this process, so that all compiled meanwhile is compiled for it.
        self._prepared += PREPARATION.seconds
        self.error = error
        self._steps.put(None)

    def steps(self) -> Iterator[tuple[int, StepMetrics]]:
        """Yield each step, with the number of samples that ended before it, until the run ends."""
        return iter(self._steps.get, None)

    def timing(self, flow_steps: int) -> dict[str, Any]:
        """Return the times of the run as JSON data."""
        compute = self._ended_at - self._started_at
        stepping = compute - self._prepared
        return {
            "queue_ms": (self._started_at - self._submitted_at) * 1e3,
            "compute_ms": compute * 1e3,
            "preparation_ms": self._prepared * 1e3,
            "total_ms": (self._ended_at - self._submitted_at) * 1e3,
            "flow_steps_per_second": flow_steps / stepping if stepping > 0 else None,
        }


def _load(engine: Engine, chosen: LocalModel) -> LoadedModel:
    if chosen.path is None:
        return engine.load_model(chosen.config)
    try:
        return engine.load_model(chosen.path)
    except CheckpointError as error:
        raise CommandFailed(f"{chosen.path}: {error}") from None


def _request(job: FileJob, model: LoadedModel, config: FlowConfig) -> RunRequest:
    embeddings = check_embeddings(job.embeddings, config.embedding_dim)
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
