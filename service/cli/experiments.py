"""``energy-flow experiment``: the experiments of a server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from energy_flow.choices import DatasetFormat, ExperimentKind, RunState
from service.cli import datasets
from service.cli.execute.deletion import report
from service.cli.execute.server_client import (
    PAGE_SIZE,
    open_client,
    open_for_datasets,
    open_for_experiments,
    page_size,
)
from service.cli.experiment.compare import compare
from service.cli.experiment.results import MAX_FAILURES_SHOWN, results
from service.cli.experiment.view import (
    command,
    describe_trials,
    experiment_list,
    experiment_table,
    trial_table,
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
from service.cli.input.options import (
    DEFAULT_URL,
    ApiKey,
    AsJson,
    Column,
    ExperimentName,
    Limit,
    Url,
    Yes,
    choice_filter,
    complete,
)
from service.cli.input.terminal import confirm_deletion, print_json, print_note, print_text
from service.cli.input.toml_file import read_toml

if TYPE_CHECKING:
    from energy_flow.client import Experiment, FlowClient, Trial

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The experiment, as TOML.")],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the experiment, instead of the one in the file."
        ),
    ] = None,
    tag: Tags = None,
    note: Note = None,
    upload: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Embeddings to upload as the dataset, unless the server has it already.",
        ),
    ] = None,
    column: Column = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help=f"Format of the upload: {', '.join(DatasetFormat)}; by default that of its "
            "suffix.",
            autocompletion=complete(DatasetFormat),
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Watch the experiment to its end.")
    ] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Create and start the experiment that a TOML file describes.

    The file has the members of POST /v1/experiments: name, dataset, rows, model, options, outputs,
    seeds, trace, max_parallel, fail_fast, chunk_samples, and a table sweep.grid or sweep.random
    with the fields to vary.
    """
    for flag, value in (("--column", column), ("--format", file_format)):
        if upload is None and value is not None:
            raise CommandFailed(f"{flag} is for --upload; leave it out", EXIT_USAGE)
    document = read_toml(file)
    if name is not None:
        document["name"] = name
    if tag:
        document["tags"] = tag
    if note is not None:
        document["note"] = note
    with open_for_datasets(url, api_key, document.get("dataset")) as client:
        if upload is not None:
            options = _UploadOptions(column, file_format, as_json)
            _upload(client, document.get("dataset"), upload, options)
        try:
            experiment = client.experiments.create_from(document)
        except orjson.JSONEncodeError as error:
            raise CommandFailed(
                f"{file} has a value that JSON cannot hold: {error}", EXIT_USAGE
            ) from None
        except ValueError as error:
            # A number that is not finite.
            raise CommandFailed(f"{file}: {error}", EXIT_USAGE) from None
    if watch:
        _watch(experiment.experiment_id, url, api_key, as_json)
        return
    _print(experiment, as_json)
    if not as_json:
        print_note(f"watch it with: {command('watch', experiment.name, url)}")


@app.command("list")
def list_experiments(
    state: Annotated[
        str | None, choice_filter("experiments in this state", "STATE", RunState)
    ] = None,
    kind: Annotated[
        str | None, choice_filter("experiments of this kind", "KIND", ExperimentKind)
    ] = None,
    search: Search = None,
    tag: TagFilter = None,
    model: ModelFilter = None,
    options: OptionFilter = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    sort: Sort = None,
    limit: Limit = 20,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List experiments, newest first unless they are sorted otherwise."""
    filters = list_filters(search, tag, model, options, created_after, created_before, sort)
    if state is not None:
        check_choice("--state", state, RunState)
    if kind is not None:
        check_choice("--kind", kind, ExperimentKind)
    with open_client(url, api_key) as client:
        every = client.experiments.list(
            state=state, kind=kind, page_size=page_size(limit), **filters
        )
        experiments = take_listed(every, limit)
    if as_json:
        print_json([experiment.data for experiment in experiments])
    elif experiments:
        print_listed(experiment_list(experiments), ("tags", "created", "kind", "failed", "done"))
    else:
        print_text("no experiments")


@app.command()
def show(
    experiment: ExperimentName,
    trial: Annotated[
        int | None, typer.Option(min=0, help="Number of a trial to show instead.")
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Show one experiment, or one of its trials."""
    with open_for_experiments(url, api_key, experiment) as client:
        if trial is None:
            found = client.experiments.get(experiment)
            failed = client.experiments.trials(experiment, state=RunState.FAILED)
            _print(found, as_json, islice(failed, MAX_FAILURES_SHOWN))
            return
        one = client.experiments.trial(experiment, trial)
    print_json(one.data) if as_json else print_text(trial_table(one))


@app.command()
def watch(
    experiment: ExperimentName,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Watch an experiment to its end; exit with 1 unless it succeeded.

    A lost connection is retried for a quarter of an hour. Ctrl-C stops watching (exit code 130);
    the experiment continues.
    """
    _watch(experiment, url, api_key, as_json)


@app.command()
def pause(
    experiment: ExperimentName,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Pause an experiment after the chunks that are running."""
    with open_for_experiments(url, api_key, experiment) as client:
        _print(client.experiments.pause(experiment), as_json)


@app.command()
def resume(
    experiment: ExperimentName,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Resume a paused experiment."""
    with open_for_experiments(url, api_key, experiment) as client:
        _print(client.experiments.resume(experiment), as_json)


@app.command()
def retry(
    experiment: ExperimentName,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Start the failed trials of an experiment again."""
    with open_for_experiments(url, api_key, experiment) as client:
        _print(client.experiments.retry(experiment), as_json)


@app.command()
def cancel(
    experiment: ExperimentName,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Cancel an experiment; its results so far are kept."""
    with open_for_experiments(url, api_key, experiment) as client:
        _print(client.experiments.cancel(experiment), as_json)


@app.command()
def change(
    experiment: ExperimentName,
    tag: Tags = None,
    note: Note = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Change the tags or the note of an experiment; what is not given stays."""
    with open_for_experiments(url, api_key, experiment) as client:
        # The tags that are given replace all others; one that is empty removes them.
        tags = None if tag is None else [one for one in tag if one]
        _print(client.experiments.change(experiment, tags=tags, note=note), as_json)


@app.command()
def delete(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[EXPERIMENT]...", help="Names or ids of experiments.", show_default=False
        ),
    ] = None,
    state: Annotated[
        str | None, choice_filter("experiments in this state", "STATE", RunState)
    ] = None,
    kind: Annotated[
        str | None, choice_filter("experiments of this kind", "KIND", ExperimentKind)
    ] = None,
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
    """Delete experiments that have ended, with the runs of their trials.

    Those that are named are deleted, or those that the options select.
    """
    if state is not None:
        check_choice("--state", state, RunState)
    if kind is not None:
        check_choice("--kind", kind, ExperimentKind)
    filters = list_filters(search, tag, model, options, created_after, created_before)
    filters |= {key: one for key, one in (("state", state), ("kind", kind)) if one is not None}
    if bool(experiments) == bool(filters):
        raise CommandFailed("name experiments, or give options that select some", EXIT_USAGE)
    with open_for_experiments(url, api_key, *(experiments or ())) as client:
        chosen = experiments or [
            one.name for one in client.experiments.list(page_size=PAGE_SIZE, **filters)
        ]
        if not chosen:
            print_text("no experiments")
            return
        if len(chosen) == 1:
            # Before the question.
            client.experiments.get(chosen[0])
        one = f"experiment {chosen[0]} and its runs"
        what = one if len(chosen) == 1 else f"{len(chosen):,} experiments and their runs"
        confirm_deletion(f"{what} on {url}", is_confirmed=yes)
        if len(chosen) == 1:
            client.experiments.delete(chosen[0])
            print_text(f"deleted {chosen[0]}")
        else:
            report(client.experiments.delete_several(chosen))


app.command()(results)
app.command()(compare)


@dataclass(frozen=True, slots=True)
class _UploadOptions:
    """How a file is uploaded, as :func:`datasets.upload` takes it."""

    column: str | None
    file_format: str | None
    is_quiet: bool


def _upload(client: FlowClient, name: Any, file: Path, options: _UploadOptions) -> None:
    if not isinstance(name, str):
        raise CommandFailed(
            '--upload needs a name for the dataset; add dataset = "NAME" to the file', EXIT_USAGE
        )
    from energy_flow.client import NotFound

    try:
        client.datasets.get(name)
    except NotFound:
        datasets.upload(
            client,
            name,
            file,
            options.file_format,
            options.column,
            is_quiet=options.is_quiet,
        )
    else:
        print_note(f"the server already has dataset {name}, so {file} was not sent")


def _watch(name: str, url: str, api_key: str | None, as_json: bool) -> None:
    from service.cli.experiment.watch import follow

    experiment = follow(name, url, api_key)
    _print(experiment, as_json)
    if experiment.state != RunState.SUCCEEDED:
        raise CommandFailed(
            f"experiment {experiment.name} {experiment.state}: "
            f"{experiment.problem or f'trials: {describe_trials(experiment.trials)}'}"
        )


def _print(experiment: Experiment, as_json: bool, failed: Iterable[Trial] = ()) -> None:
    if as_json:
        print_json(experiment.data)
    else:
        print_text(experiment_table(experiment, failed))
