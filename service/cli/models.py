"""``energy-flow model``: the models of a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energy_flow.choices import Preset
from service.cli.execute.deletion import delete_named
from service.cli.execute.option_faults import naming_options
from service.cli.execute.server_client import open_client
from service.cli.input.assignments import parse_assignments
from service.cli.input.listing import print_listed
from service.cli.input.options import (
    DEFAULT_URL,
    MAX_SEED,
    ApiKey,
    AsJson,
    Assignments,
    Url,
    Yes,
    complete,
)
from service.cli.input.regular_file import regular_file
from service.cli.input.terminal import (
    activity,
    columns_table,
    print_json,
    print_text,
    properties_table,
    uploading,
)

if TYPE_CHECKING:
    from energy_flow.client import Model

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model.")]


@app.command()
def put(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint (.safetensors).")],
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Upload a checkpoint; uploading the same content again changes nothing."""
    with (
        regular_file(file) as source,
        open_client(url, api_key) as client,
        uploading(file) as on_progress,
    ):
        model = client.put_model(name, source, on_progress=on_progress)
    _print(model, as_json)


@app.command()
def create(
    name: Name,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Config to start from: {', '.join(Preset)}.",
            autocompletion=complete(Preset),
        ),
    ] = None,
    assignments: Assignments = None,
    model_seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=MAX_SEED, help="Seed of the weights.")
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Create an untrained model."""
    config = parse_assignments(assignments or ())
    with open_client(url, api_key) as client, naming_options():
        model = client.create_model(name, preset=preset, config=config, model_seed=model_seed)
    _print(model, as_json)


@app.command("list")
def list_models(url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """List models, newest first; those of Energy Flow and the default model come last."""
    with open_client(url, api_key) as client:
        models = list(client.models())
    if as_json:
        print_json([model.data for model in models])
        return
    names = ("model", "weights", "loaded", "lattice", "dimensions", "created", "description")
    table = columns_table(names)
    for model in models:
        table.add_row(
            model.name,
            _weights(model),
            "yes" if model.loaded else "no",
            _lattice(model),
            _dimensions(model),
            model.created_at,
            _description(model),
        )
    print_listed(
        table, ("description", "created", "dimensions", "lattice", "loaded"), text="description"
    )


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
    """Load a model now, so that its next run need not wait for that."""
    with open_client(url, api_key) as client, activity(f"loading {name}"):
        model = client.load_model(name)
    _print(model, as_json)


@app.command()
def unload(
    name: Name, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Free the memory of a model; runs that use it continue."""
    with open_client(url, api_key) as client:
        _print(client.unload_model(name), as_json)


@app.command()
def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of models.")],
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    yes: Yes = False,
) -> None:
    """Delete models."""
    with open_client(url, api_key) as client:
        delete_named("model", names, client.model, client.delete_model, url, yes)


def _print(model: Model, as_json: bool) -> None:
    if as_json:
        print_json(model.data)
        return
    rows = [
        ("model", model.name),
        ("description", _description(model)),
        ("weights", _weights(model)),
        ("loaded", "yes" if model.loaded else "no"),
        ("lattice", _lattice(model)),
        ("dimensions", f"{_dimensions(model)} numbers an embedding"),
        ("digest", model.digest),
        ("created", model.created_at),
    ]
    rows += [("warning", warning) for warning in model.data.get("warnings", ())]
    print_text(properties_table(rows))


def _description(model: Model) -> str:
    parts = ["read-only"] if model.read_only else []
    return "; ".join([*parts, model.description] if model.description else parts)


def _weights(model: Model) -> str:
    return "trained" if model.trained else "untrained"


def _dimensions(model: Model) -> str:
    """Return the width of embeddings, and that of output embeddings if it is another one."""
    width = model.config["embedding_dim"]
    return str(width) if model.output_width in (None, width) else f"{width} → {model.output_width}"


def _lattice(model: Model) -> str:
    sides = (model.config[f"lattice_{side}"] for side in ("width", "height", "depth"))
    return " × ".join(str(length) for length in sides)
