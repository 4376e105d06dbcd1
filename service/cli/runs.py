"""``energy-flow runs``: the runs that a server keeps."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer
from rich.table import Table

from energy_flow.client import Run
from service.cli.execute.outcome import describe_events, describe_exits, describe_flows
from service.cli.execute.remote_run import open_client, why_not_succeeded
from service.cli.input.failures import CommandFailed
from service.cli.input.options import DEFAULT_URL, ApiKey, AsJson, Url
from service.cli.input.terminal import activity, print_json, print_text

app = typer.Typer(no_args_is_help=True, help="Look after the runs that a server keeps.")

RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="Id of the run.")]


@app.command("list")
def list_runs(
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    with open_client(url, api_key) as client:
        runs = list(islice(client.runs(page_size=min(limit, 100)), limit))
    if as_json:
        print_json([run.data for run in runs])
        return
    if not runs:
        print_text("no runs")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("run", "state", "model", "samples", "created"):
        table.add_column(column, justify="right" if column == "samples" else "left")
    for run in runs:
        samples = f"{run.progress.samples:,}"
        table.add_row(run.run_id, run.state, run.model.name, samples, run.created_at)
    print_text(table)


@app.command()
def show(
    run_id: RunId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Show one run: its state, progress and metrics."""
    with open_client(url, api_key) as client:
        _print(client.run(run_id), as_json)


@app.command()
def wait(
    run_id: RunId,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds; by default as long as it takes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Wait until a run has ended; exits with 1 unless it succeeded."""
    with open_client(url, api_key) as client, activity(f"run {run_id}") as shown:

        def on_progress(run: Run) -> None:
            done, total = run.progress.samples_done, run.progress.samples
            shown.advance(done, total, f"{run.state}: {done:,} of {total:,} samples")

        run = client.wait(run_id, on_progress, timeout_seconds=timeout)
    _print(run, as_json)
    if run.state != "succeeded":
        raise CommandFailed(
            f"run {run_id} {run.state}" if run.problem is None else str(run.problem)
        )


@app.command()
def cancel(
    run_id: RunId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Cancel a run; what it has done so far is kept."""
    with open_client(url, api_key) as client:
        _print(client.cancel(run_id), as_json)


@app.command()
def delete(run_id: RunId, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Delete a run and everything that the server keeps of it."""
    with open_client(url, api_key) as client:
        client.delete_run(run_id)
    print_text(f"deleted {run_id}")


def _print(run: Run, as_json: bool) -> None:
    if as_json:
        print_json(run.data)
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("run", run.run_id)
    table.add_row("state", run.state)
    table.add_row("model", f"{run.model.name} ({'trained' if run.model.trained else 'untrained'})")
    table.add_row("seed", str(run.seed))
    table.add_row("samples", f"{run.progress.samples_done:,} of {run.progress.samples:,}")
    for label, moment in (
        ("created", run.created_at),
        ("started", run.started_at),
        ("ended", run.ended_at),
    ):
        if moment is not None:
            table.add_row(label, moment)
    metrics = run.data.get("metrics")
    if metrics:
        table.add_row("flows", describe_flows(metrics))
        for plane, text in describe_exits(metrics).items():
            table.add_row(f"exits {plane}", text)
    trace = run.data.get("trace")
    if trace:
        table.add_row("events", describe_events(trace))
    for warning in run.warnings:
        table.add_row("warning", warning)
    if run.state == "failed":
        table.add_row("problem", why_not_succeeded(run))
    print_text(table)
