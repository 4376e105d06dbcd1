"""``energy-flow runs``: the runs that a server keeps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from energy_flow.choices import RunKind, RunState
from service.cli.execute.deletion import report
from service.cli.execute.outcome import (
    describe_events,
    describe_exits,
    describe_flows,
    describe_labels,
    describe_model,
    describe_version,
)
from service.cli.execute.remote_run import failure_reason
from service.cli.execute.server_client import (
    PAGE_SIZE,
    open_client,
    open_for_experiments,
    page_size,
)
from service.cli.input.failures import EXIT_USAGE, CommandFailed, check_choice
from service.cli.input.list_filters import (
    CreatedAfter,
    CreatedBefore,
    ModelFilter,
    Note,
    OptionFilter,
    Search,
    Sort,
    TagFilter,
    Tags,
    list_filters,
)
from service.cli.input.listing import print_listed, take_listed
from service.cli.input.options import DEFAULT_URL, ApiKey, AsJson, Limit, Url, Yes, choice_filter
from service.cli.input.terminal import (
    activity,
    columns_table,
    confirm_deletion,
    print_json,
    print_text,
    properties_table,
)

if TYPE_CHECKING:
    from energy_flow.client import FlowClient, Run

app = typer.Typer(no_args_is_help=True)

RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="Id of the run.")]


@app.command("list")
def list_runs(
    state: Annotated[str | None, choice_filter("runs in this state", "STATE", RunState)] = None,
    kind: Annotated[str | None, choice_filter("runs of this kind", "KIND", RunKind)] = None,
    experiment: Annotated[
        str | None,
        typer.Option(metavar="EXPERIMENT", help="Only runs of this experiment, by name or id."),
    ] = None,
    search: Search = None,
    tag: TagFilter = None,
    model: ModelFilter = None,
    options: OptionFilter = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    sort: Sort = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first unless they are sorted otherwise."""
    filters = list_filters(search, tag, model, options, created_after, created_before, sort)
    if state is not None:
        check_choice("--state", state, RunState)
    if kind is not None:
        check_choice("--kind", kind, RunKind)
    names = () if experiment is None else (experiment,)
    with open_for_experiments(url, api_key, *names) as client:
        every = client.runs(
            state=state,
            kind=kind,
            experiment=experiment,
            page_size=page_size(limit),
            **filters,
        )
        runs = take_listed(every, limit)
        experiments = {} if as_json else _name_experiments(client, runs)
    if as_json:
        print_json([run.data for run in runs])
        return
    if not runs:
        print_text("no runs")
        return
    columns = ("run", "name", "state", "model", "samples", "created", "tags", "experiment")
    table = columns_table(columns, left=[name for name in columns if name != "samples"])
    for run in runs:
        samples, trial = f"{run.progress.samples:,}", run.data.get("experiment")
        experiment = ""
        if trial is not None:
            experiment = f"{experiments[trial['experiment_id']]}, trial {trial['trial']}"
        table.add_row(
            run.run_id,
            run.name or "",
            run.state,
            run.model.name,
            samples,
            run.created_at,
            ", ".join(run.tags),
            experiment,
        )
    print_listed(table, ("tags", "experiment", "samples", "created", "model", "name"))


def _name_experiments(client: FlowClient, runs: Iterable[Run]) -> dict[str, str]:
    """Return the names of the experiments of runs by their ids."""
    from energy_flow.client import NotFound

    names = {}
    trials = (run.data.get("experiment") for run in runs)
    for experiment_id in dict.fromkeys(trial["experiment_id"] for trial in trials if trial):
        try:
            names[experiment_id] = client.experiments.get(experiment_id).name
        except NotFound:
            # It has been deleted meanwhile.
            names[experiment_id] = experiment_id
    return names


@app.command()
def show(
    run_id: RunId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Show the state, progress and metrics of one run."""
    with open_client(url, api_key) as client:
        _print(client.run(run_id), as_json)


@app.command()
def wait(
    run_id: RunId,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Maximum wait in seconds; by default no limit.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Wait until a run has ended; exit with 1 unless it succeeded."""
    with open_client(url, api_key) as client, activity(f"run {run_id}") as shown:

        def on_progress(run: Run) -> None:
            done, total = run.progress.samples_done, run.progress.samples
            shown.advance(done, total, f"{run.state}: {done:,} of {total:,} samples")

        run = client.wait(run_id, on_progress, timeout_seconds=timeout)
    _print(run, as_json)
    if run.state != RunState.SUCCEEDED:
        raise CommandFailed(failure_reason(run))


@app.command()
def cancel(
    run_id: RunId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Cancel a run; its results so far are kept."""
    with open_client(url, api_key) as client:
        _print(client.cancel(run_id), as_json)


@app.command()
def replay(
    run_id: RunId,
    sample: Annotated[
        int, typer.Option(metavar="N", min=0, help="Sample to simulate again, from 0.")
    ] = 0,
    flow: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Only this flow, its ancestors and its descendants."),
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Simulate one sample of a run again; with --json, print the path of every flow."""
    # Here, so that the help does not wait for NumPy.
    from service.cli.execute.option_faults import naming_options
    from service.cli.execute.replay_table import replay_table, replay_to_dict

    with open_client(url, api_key) as client, naming_options():
        replayed = client.replay(run_id, sample, flow=flow)
    if as_json:
        print_json(replay_to_dict(replayed))
    else:
        print_text(replay_table(replayed))


@app.command()
def change(
    run_id: RunId,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What it is called; '' removes the name.")
    ] = None,
    tag: Tags = None,
    note: Note = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Change the name, the tags or the note of a run; what is not given stays."""
    with open_client(url, api_key) as client:
        # The tags that are given replace all others; one that is empty removes them.
        tags = None if tag is None else [one for one in tag if one]
        _print(client.change_run(run_id, name=name, tags=tags, note=note), as_json)


@app.command()
def delete(
    run_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN_ID]...", help="Ids of runs.", show_default=False),
    ] = None,
    state: Annotated[str | None, choice_filter("runs in this state", "STATE", RunState)] = None,
    search: Search = None,
    tag: TagFilter = None,
    model: ModelFilter = None,
    options: OptionFilter = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    yes: Yes = False,
) -> None:
    """Delete runs and their results: those of the ids, or those that the options select.

    Runs of experiments are not selected; they are deleted with their experiment.
    """
    if state is not None:
        check_choice("--state", state, RunState)
    filters = list_filters(search, tag, model, options, created_after, created_before)
    if state is not None:
        filters["state"] = state
    if bool(run_ids) == bool(filters):
        raise CommandFailed("give ids of runs, or options that select some", EXIT_USAGE)
    with open_client(url, api_key) as client:
        chosen = run_ids or [
            run.run_id
            for kind in (RunKind.SIMULATE, RunKind.RUN)
            for run in client.runs(kind=kind, page_size=PAGE_SIZE, **filters)
        ]
        if not chosen:
            print_text("no runs")
            return
        if len(chosen) == 1:
            # Before the question.
            client.run(chosen[0])
        one = f"run {chosen[0]} and its results"
        what = one if len(chosen) == 1 else f"{len(chosen):,} runs and their results"
        confirm_deletion(f"{what} on {url}", is_confirmed=yes)
        if len(chosen) == 1:
            client.delete_run(chosen[0])
            print_text(f"deleted {chosen[0]}")
        else:
            report(client.delete_runs(chosen))


def _describe_workers(run: Run) -> list[tuple[str, str]]:
    """Return the worker of a run, its kind and the attempts, once it has started."""
    if run.worker is None:
        return []
    kinds = ", ".join(run.worker_kinds)
    times = f", started {run.attempts} times" if (run.attempts or 0) > 1 else ""
    return [("worker", f"{run.worker}, kind {kinds}{times}")]


def _print(run: Run, as_json: bool) -> None:
    if as_json:
        print_json(run.data)
        return
    rows = [
        ("run", run.run_id),
        *describe_labels(run.name, run.tags, run.note),
        ("state", run.state),
        ("model", describe_model(run.model.name, run.model.trained)),
        ("version", describe_version(run.version, run.arithmetic)),
        *_describe_workers(run),
        ("seed", str(run.seed)),
        ("samples", f"{run.progress.samples_done:,} of {run.progress.samples:,}"),
    ]
    moments = (("created", run.created_at), ("started", run.started_at), ("ended", run.ended_at))
    rows += [(label, moment) for label, moment in moments if moment is not None]
    if run.metrics is not None:
        metrics = run.data["metrics"]
        rows.append(("flows", describe_flows(metrics)))
        rows += [(f"exits {plane}", text) for plane, text in describe_exits(metrics).items()]
    trace = run.data.get("trace")
    if trace:
        rows.append(("events", describe_events(trace)))
    rows += [("warning", warning) for warning in run.warnings]
    if run.state == RunState.FAILED:
        rows.append(("problem", failure_reason(run)))
    print_text(properties_table(rows))
