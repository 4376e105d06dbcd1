"""Run a simulation on a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energy_flow.choices import RunState
from service.cli.execute.job import DatasetJob, FileJob
from service.cli.execute.option_faults import naming_options
from service.cli.execute.outcome import Outcome
from service.cli.execute.server_client import open_client, open_for_datasets
from service.cli.input.failures import EXIT_INTERRUPTED, CommandFailed
from service.cli.input.terminal import activity

if TYPE_CHECKING:
    from energy_flow.client import FlowClient, Run

# What a run reports as it is.
REPORTED = ("run_id", "model", "seed", "metrics", "trace", "timing", "warnings")


def simulate(
    job: FileJob | DatasetJob,
    *,
    url: str,
    model: str | None,
    api_key: str | None,
    labels: Mapping[str, Any],
) -> Outcome:
    """Submit a run, show its progress and fetch its results.

    Args:
        job: what to simulate.
        url: address of the server.
        model: name of a model on the server; its default model if not given.
        api_key: its key, if it needs one.
        labels: name, tags and note of the run.

    Raises:
        CommandFailed: the address is wrong, an option is refused, or the run did not succeed.
        FlowClientError: the server refuses the run or cannot be reached.
    """
    names = (job.dataset,) if isinstance(job, DatasetJob) else ()
    with open_for_datasets(url, api_key, *names) as client:
        source, keys = _source(client, job)
        with activity(f"{len(keys):,} samples to {client.url}") as shown:
            with naming_options():
                run = client.submit_run(
                    **source,
                    **labels,
                    options=job.fields,
                    seed=job.seed,
                    outputs=job.outputs,
                    model=model,
                )

            def on_progress(run: Run) -> None:
                progress = run.progress
                step = "" if progress.step is None else f", step {progress.step + 1}"
                shown.advance(
                    progress.samples_done,
                    progress.samples,
                    f"{run.state}: {progress.samples_done:,} of {progress.samples:,} samples{step}",
                )

            with _cancel_on_interrupt(client, run.run_id):
                run = client.wait(run.run_id, on_progress)
        if run.state != RunState.SUCCEEDED:
            raise CommandFailed(failure_reason(run))
        outputs = {name: client.outputs(run.run_id, name) for name in job.outputs}
        report: dict[str, Any] = {
            **{name: run.data[name] for name in REPORTED},
            "url": client.url,
            "page": f"{client.url}/#/runs/{run.run_id}",
            "sample_keys": keys,
            "memory": asdict(client.memory(run.run_id)),
            "samples": list(client.samples(run.run_id, page_size=1000)),
        }

    def write_trace(path: Path) -> None:
        with open_client(url, api_key) as client:
            client.download_trace(run.run_id, path)

    def write_picture(path: Path) -> None:
        with open_client(url, api_key) as client:
            client.download_heat_map(run.run_id, path)

    return Outcome(outputs, report, write_trace, write_picture)


def check_model(url: str, model: str | None, api_key: str | None) -> None:
    """Refuse a name of a model that the server does not have.

    Args:
        url: address of the server.
        model: the name; its default model if not given.
        api_key: its key, if it needs one.

    Raises:
        CommandFailed: the address is wrong.
        NotFound: there is no such model.
        FlowClientError: the server cannot be reached.
    """
    if model is not None:
        with open_client(url, api_key) as client:
            client.model(model)


def _source(client: FlowClient, job: FileJob | DatasetJob) -> tuple[dict[str, Any], list[int]]:
    """Return the arguments of :meth:`FlowClient.submit_run` for the samples, and their keys."""
    if isinstance(job, FileJob):
        source = {"embeddings": job.embeddings, "sample_keys": job.sample_keys}
        return source, job.sample_keys
    part = job.rows.within(client.datasets.get(job.dataset).rows, f"dataset {job.dataset}")
    source = {"dataset": job.dataset, "rows": [part.start, part.stop]}
    return source, list(range(part.start, part.stop))


def failure_reason(run: Run) -> str:
    """Return why a run that has ended did not succeed."""
    if run.problem is not None:
        return str(run.problem)
    return f"run {run.run_id} was {run.state}"


@contextmanager
def _cancel_on_interrupt(client: FlowClient, run_id: str) -> Iterator[None]:
    """Cancel the run when the command is interrupted."""
    from energy_flow.client import Conflict, FlowClientError

    try:
        yield
    except KeyboardInterrupt:
        try:
            with suppress(Conflict):  # The run has just ended.
                client.cancel(run_id)
        except FlowClientError as error:
            raise CommandFailed(
                f"interrupted; run {run_id} could not be cancelled: {error}", EXIT_INTERRUPTED
            ) from None
        raise
