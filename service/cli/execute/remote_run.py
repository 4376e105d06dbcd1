"""Simulates on a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from energy_flow.client import Conflict, FlowClient, Retry, Run
from service.cli.execute.job import DatasetJob, FileJob
from service.cli.execute.outcome import Outcome
from service.cli.input.failures import CommandFailed
from service.cli.input.terminal import activity


def simulate(
    job: FileJob | DatasetJob, *, url: str, model: str | None, api_key: str | None
) -> Outcome:
    """Queues the job, shows how far it is, and fetches what came out.

    Raises:
        CommandFailed: the address is none, or the run did not succeed.
        FlowClientError: the server refuses or cannot be reached.
    """
    with open_client(url, api_key) as client:
        source, keys = _source(client, job)
        with activity(f"{len(keys):,} rows to {client.url}") as shown:
            run = client.submit_run(
                **source, options=job.fields, seed=job.seed, outputs=job.outputs, model=model
            )

            def on_progress(run: Run) -> None:
                progress = run.progress
                step = "" if progress.step is None else f", step {progress.step + 1}"
                shown.advance(
                    progress.samples_done,
                    progress.samples,
                    f"{run.state}: {progress.samples_done:,} of {progress.samples:,} rows{step}",
                )

            with _cancelled_on_interrupt(client, run.run_id):
                run = client.wait(run.run_id, on_progress)
        if run.state != "succeeded":
            raise CommandFailed(why_not_succeeded(run))
        outputs = {name: client.outputs(run.run_id, name) for name in job.outputs}
        report: dict[str, Any] = {
            **{
                name: run.data[name]
                for name in ("run_id", "model", "seed", "metrics", "trace", "timing", "warnings")
            },
            "url": client.url,
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


def _source(client: FlowClient, job: FileJob | DatasetJob) -> tuple[dict[str, Any], list[int]]:
    """What :meth:`FlowClient.submit_run` is told of the embeddings, and their sample keys."""
    if isinstance(job, FileJob):
        source = {"embeddings": job.embeddings, "sample_keys": job.sample_keys}
        return source, job.sample_keys
    part = job.rows.within(client.datasets.get(job.dataset).rows, f"the dataset {job.dataset}")
    source = {"dataset": job.dataset, "rows": [part.start, part.stop]}
    return source, list(range(part.start, part.stop))


def open_client(url: str, api_key: str | None, retry: Retry | None = None) -> FlowClient:
    """A client for the address.

    Raises:
        CommandFailed: it is none.
    """
    try:
        return FlowClient(url, api_key=api_key, retry=retry)
    except ValueError as error:
        raise CommandFailed(f"--url: {error}") from None


def why_not_succeeded(run: Run) -> str:
    """How a run that has ended came to another end."""
    if run.state == "failed" and run.problem is not None:
        return str(run.problem)
    return f"run {run.run_id} was not carried to its end: {run.state}"


@contextmanager
def _cancelled_on_interrupt(client: FlowClient, run_id: str) -> Iterator[None]:
    """Whoever interrupts the command does not want the run to go on without them."""
    try:
        yield
    except KeyboardInterrupt:
        with suppress(Conflict):  # it has just ended
            client.cancel(run_id)
        raise
