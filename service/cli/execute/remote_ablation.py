"""Measure a model with parts of its flows switched off, on a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from energy_flow.choices import Ablation as Part
from energy_flow.client import Ablation, FlowClient, FlowClientError, NotFound
from service.cli.execute.ablation_job import AblationJob, AblationOutcome, describe_progress
from service.cli.execute.embeddings_file import RowRange
from service.cli.execute.option_faults import naming_options
from service.cli.execute.server_client import open_for_datasets
from service.cli.input.failures import EXIT_INTERRUPTED, CommandFailed
from service.cli.input.terminal import activity


def ablate(job: AblationJob, *, url: str, api_key: str | None) -> AblationOutcome:
    """Start an ablation, show its progress and return its result.

    Args:
        job: what to measure.
        url: address of the server.
        api_key: its key, if it needs one.

    Raises:
        CommandFailed: the address is wrong, an option is refused, or the ablation did not succeed.
        FlowClientError: the server refuses the ablation or cannot be reached.
    """
    with open_for_datasets(url, api_key, job.data) as client:
        rows = _choose_rows(client, job)
        with naming_options():
            ablation = client.ablations.start(
                job.model, job.data, rows=rows, resamples=job.resamples, options=job.fields
            )
        first, stop = ablation.dataset.rows
        with (
            _cancel_on_interrupt(client, ablation),
            activity(f"{stop - first:,} rows of {job.data} to {client.url}") as shown,
        ):

            def on_progress(ablation: Ablation) -> None:
                part = None if ablation.current is None else Part(ablation.current)
                text = describe_progress(part, ablation.done, ablation.total, stop - first)
                is_queued = ablation.state == "queued"
                shown.advance(ablation.done, ablation.total, "queued" if is_queued else text)

            ablation = client.ablations.wait(job.model, ablation.ablation_id, on_progress)
    if ablation.result is None:
        reason = ablation.problem or f"the ablation was {ablation.state}"
        raise CommandFailed(str(reason))
    answer = ablation.data
    warnings = tuple(answer["warnings"])
    return AblationOutcome(answer["model"], job.data, (first, stop), ablation.result, warnings)


def _choose_rows(client: FlowClient, job: AblationJob) -> list[int] | None:
    if job.rows == RowRange():
        return None
    part = job.rows.within(client.datasets.get(job.data).rows, f"dataset {job.data}")
    return [part.start, part.stop]


@contextmanager
def _cancel_on_interrupt(client: FlowClient, ablation: Ablation) -> Iterator[None]:
    """Cancel the ablation when the command is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        try:
            with suppress(NotFound):  # It was removed by someone else.
                client.ablations.delete(ablation.model.name, ablation.ablation_id)
        except FlowClientError as error:
            raise CommandFailed(
                f"interrupted; ablation {ablation.ablation_id} could not be cancelled: {error}",
                EXIT_INTERRUPTED,
            ) from None
        raise
