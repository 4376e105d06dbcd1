"""``energy-flow dataset``: embeddings that a server keeps under a name."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from energy_flow.client import Dataset, FlowClient
from service.cli.execute.remote_run import open_client
from service.cli.input.failures import EXIT_USAGE, CommandFailed
from service.cli.input.options import DEFAULT_URL, ApiKey, AsJson, Url
from service.cli.input.terminal import format_bytes, print_json, print_text, upload

app = typer.Typer(no_args_is_help=True, help="Look after the datasets that a server keeps.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the dataset.")]


@app.command()
def put(
    name: Name,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Embeddings: .npy, .safetensors, .parquet or .jsonl."),
    ],
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format", help="npy, safetensors, parquet or jsonl; by default as the suffix says."
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Send a file of embeddings, and maybe targets; the same again changes nothing."""
    with open_client(url, api_key) as client:
        dataset = send(client, name, file, file_format)
    _print(dataset, as_json)


def send(client: FlowClient, name: str, file: Path, file_format: str | None = None) -> Dataset:
    """Makes a file a dataset, and shows how much has been sent.

    Raises:
        CommandFailed: the format is not known.
        FlowClientError: the server refuses.
    """
    with upload(file) as on_progress:
        try:
            return client.datasets.put(name, file, format=file_format, on_progress=on_progress)
        except ValueError as error:
            raise CommandFailed(str(error), EXIT_USAGE) from None


@app.command("list")
def list_datasets(
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List datasets, newest first."""
    with open_client(url, api_key) as client:
        datasets = list(islice(client.datasets.list(page_size=min(limit, 100)), limit))
    if as_json:
        print_json([dataset.data for dataset in datasets])
        return
    if not datasets:
        print_text("no datasets")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("dataset", "rows", "dim", "targets", "size", "created"):
        numeric = column in ("rows", "dim", "targets", "size")
        table.add_column(column, justify="right" if numeric else "left")
    for dataset in datasets:
        table.add_row(
            dataset.name,
            f"{dataset.rows:,}",
            str(dataset.dim),
            "" if dataset.targets_dim is None else str(dataset.targets_dim),
            format_bytes(dataset.bytes),
            dataset.created_at,
        )
    print_text(table)


@app.command()
def show(
    name: Name, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Show one dataset."""
    with open_client(url, api_key) as client:
        _print(client.datasets.get(name), as_json)


@app.command()
def delete(name: Name, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Delete a dataset; runs that have taken rows of it can still be replayed."""
    with open_client(url, api_key) as client:
        client.datasets.delete(name)
    print_text(f"deleted {name}")


def _print(dataset: Dataset, as_json: bool) -> None:
    if as_json:
        print_json(dataset.data)
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("dataset", dataset.name)
    table.add_row("inputs", f"{dataset.rows:,} × {dataset.dim}")
    if dataset.targets_dim is not None:
        table.add_row("targets", f"{dataset.rows:,} × {dataset.targets_dim}")
    table.add_row("size", format_bytes(dataset.bytes))
    table.add_row("digest", dataset.digest)
    table.add_row("created", dataset.created_at)
    print_text(table)
