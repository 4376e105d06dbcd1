"""``energy-flow experiment``: experiments on a server."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from energy_flow.client import Experiment, FlowClient, NotFound, Trial
from service.cli import datasets
from service.cli.execute.remote_run import open_client
from service.cli.experiment.results import MOST_FAILURES_SHOWN
from service.cli.experiment.tables import compare, results
from service.cli.experiment.view import (
    command,
    describe_trials,
    experiment_list,
    experiment_table,
    trial_table,
)
from service.cli.experiment.watch import follow
from service.cli.input.failures import EXIT_USAGE, CommandFailed
from service.cli.input.options import DEFAULT_URL, ApiKey, AsJson, ExperimentName, Url
from service.cli.input.terminal import print_json, print_note, print_text
from service.cli.input.toml_file import read_toml

app = typer.Typer(no_args_is_help=True, help="Begin experiments on a server and look after them.")


@app.command()
def create(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The experiment, as TOML.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the experiment, instead of the file's.")
    ] = None,
    upload: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Embeddings to send as the dataset, unless the server has one of its name.",
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end at once.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Begin the experiment that a TOML file describes.

    The file has the members of POST /v1/experiments: name, dataset, rows, model, options, outputs,
    seeds, trace, max_parallel, fail_fast, chunk_samples, and a table sweep.grid or sweep.random
    with what varies.
    """
    document = read_toml(file)
    if name is not None:
        document["name"] = name
    with open_client(url, api_key) as client:
        if upload is not None:
            _upload(client, document.get("dataset"), upload)
        try:
            experiment = client.experiments.create_from(document)
        except orjson.JSONEncodeError as error:
            raise CommandFailed(
                f"{file} holds a value that cannot be sent: {error}", EXIT_USAGE
            ) from None
    if watch:
        _watch(experiment.experiment_id, url, api_key, as_json)
        return
    _print(experiment, as_json)
    if not as_json:
        print_note(f"follow it with: {command('watch', experiment.name, url)}")


@app.command("list")
def list_experiments(
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only simulate, or only train.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List experiments, newest first."""
    with open_client(url, api_key) as client:
        every = client.experiments.list(state=state, kind=kind, page_size=min(limit, 100))
        experiments = list(islice(every, limit))
    if as_json:
        print_json([experiment.data for experiment in experiments])
    elif experiments:
        print_text(experiment_list(experiments))
    else:
        print_text("no experiments")


@app.command()
def show(
    experiment: ExperimentName,
    trial: Annotated[int | None, typer.Option(min=0, help="Show this trial of it.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Show one experiment, or one trial of it."""
    with open_client(url, api_key) as client:
        if trial is None:
            told = client.experiments.get(experiment)
            failed = client.experiments.trials(experiment, state="failed")
            _print(told, as_json, islice(failed, MOST_FAILURES_SHOWN))
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
    """Follow an experiment to its end; exits with 1 unless it succeeded.

    A connection that breaks and a server that restarts are waited for. Ctrl-C walks away (130) and
    does the experiment no harm.
    """
    _watch(experiment, url, api_key, as_json)


@app.command()
def pause(
    experiment: ExperimentName,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Pause an experiment: the chunks in work are finished and no others are begun."""
    with open_client(url, api_key) as client:
        _print(client.experiments.pause(experiment), as_json)


@app.command()
def resume(
    experiment: ExperimentName,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a paused experiment."""
    with open_client(url, api_key) as client:
        _print(client.experiments.resume(experiment), as_json)


@app.command()
def cancel(
    experiment: ExperimentName,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Cancel an experiment; what it has done so far is kept."""
    with open_client(url, api_key) as client:
        _print(client.experiments.cancel(experiment), as_json)


@app.command()
def delete(experiment: ExperimentName, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Delete an experiment that has ended, and the runs of its trials."""
    with open_client(url, api_key) as client:
        client.experiments.delete(experiment)
    print_text(f"deleted {experiment}")


app.command()(results)
app.command()(compare)


def _upload(client: FlowClient, name: Any, file: Path) -> None:
    if not isinstance(name, str):
        raise CommandFailed(
            '--upload needs the name that the dataset gets: dataset = "NAME"', EXIT_USAGE
        )
    try:
        client.datasets.get(name)
    except NotFound:
        datasets.send(client, name, file)
    else:
        print_note(f"the server has a dataset {name}, so {file} was not sent")


def _watch(name: str, url: str, api_key: str | None, as_json: bool) -> None:
    experiment = follow(name, url, api_key)
    _print(experiment, as_json)
    if experiment.state != "succeeded":
        raise CommandFailed(
            f"experiment {experiment.name} {experiment.state}: "
            f"{experiment.problem or f'trials: {describe_trials(experiment.trials)}'}"
        )


def _print(experiment: Experiment, as_json: bool, failed: Iterable[Trial] = ()) -> None:
    if as_json:
        print_json(experiment.data)
    else:
        print_text(experiment_table(experiment, failed))
