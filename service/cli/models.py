"""``energy-flow model``: models that a server has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from energy_flow.client import Model
from service.cli.execute.remote_run import open_client
from service.cli.input.assignments import parse_assignments
from service.cli.input.options import DEFAULT_URL, ApiKey, AsJson, Url
from service.cli.input.terminal import activity, print_json, print_text, upload

app = typer.Typer(no_args_is_help=True, help="Look after the models that a server has.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model.")]


@app.command()
def put(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint (.safetensors).")],
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Send a checkpoint; the same again changes nothing."""
    with open_client(url, api_key) as client, upload(file) as on_progress:
        model = client.put_model(name, file, on_progress=on_progress)
    _print(model, as_json)


@app.command()
def create(
    name: Name,
    preset: Annotated[
        str | None, typer.Option(help="What it starts from: debug, experiment, optimized.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A field of the config; repeatable."),
    ] = None,
    model_seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="What its weights are drawn from.")
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Make an untrained model."""
    config = parse_assignments(assignments or ())
    with open_client(url, api_key) as client:
        model = client.create_model(name, preset=preset, config=config, model_seed=model_seed)
    _print(model, as_json)


@app.command("list")
def list_models(url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """List models, newest first; the default model comes last."""
    with open_client(url, api_key) as client:
        models = list(client.models())
    if as_json:
        print_json([model.data for model in models])
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("model", "weights", "loaded", "lattice", "embeddings", "created"):
        table.add_column(column)
    for model in models:
        table.add_row(
            model.name,
            _weights(model),
            "yes" if model.loaded else "no",
            _lattice(model),
            str(model.config["embedding_dim"]),
            model.created_at,
        )
    print_text(table)


@app.command()
def show(
    name: Name, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Show one model."""
    with open_client(url, api_key) as client:
        _print(client.model(name), as_json)


@app.command()
def load(
    name: Name, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Load a model now, which its next run would do."""
    with open_client(url, api_key) as client, activity(f"loading {name}"):
        model = client.load_model(name)
    _print(model, as_json)


@app.command()
def unload(
    name: Name, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Free what a model takes; runs that use it go on."""
    with open_client(url, api_key) as client:
        _print(client.unload_model(name), as_json)


@app.command()
def delete(name: Name, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Delete a model."""
    with open_client(url, api_key) as client:
        client.delete_model(name)
    print_text(f"deleted {name}")


def _print(model: Model, as_json: bool) -> None:
    if as_json:
        print_json(model.data)
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("model", model.name)
    table.add_row("weights", _weights(model))
    table.add_row("loaded", "yes" if model.loaded else "no")
    table.add_row("lattice", _lattice(model))
    table.add_row("embeddings", f"{model.config['embedding_dim']} numbers")
    table.add_row("digest", model.digest)
    table.add_row("created", model.created_at)
    for warning in model.data.get("warnings", ()):
        table.add_row("warning", warning)
    print_text(table)


def _weights(model: Model) -> str:
    return "trained" if model.trained else "untrained"


def _lattice(model: Model) -> str:
    sides = (model.config[f"lattice_{side}"] for side in ("width", "height", "depth"))
    return " × ".join(str(length) for length in sides)
