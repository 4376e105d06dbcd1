"""``energy-flow dataset``: embeddings that a server keeps under a name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from energy_flow.choices import DatasetFormat
from service.cli.execute.deletion import delete_named
from service.cli.execute.server_client import open_client, open_for_datasets, page_size
from service.cli.input.file_format import choose_embeddings_format
from service.cli.input.file_source import describe_rows
from service.cli.input.listing import print_listed, take_listed
from service.cli.input.options import (
    DEFAULT_URL,
    ApiKey,
    AsJson,
    Column,
    Limit,
    Url,
    Yes,
    complete,
)
from service.cli.input.regular_file import describe_path, regular_file
from service.cli.input.terminal import (
    columns_table,
    format_bytes,
    print_json,
    print_note,
    print_text,
    properties_table,
    uploading,
)
from service.requests.columns import FileSource

if TYPE_CHECKING:
    from energy_flow.client import Dataset, FlowClient

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the dataset.")]


@app.command()
def put(
    name: Name,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=f"Embeddings: {', '.join(known.suffixes[0] for known in DatasetFormat)}, each "
            "also as .gz; or - for stdin.",
        ),
    ],
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help=f"Format of the file: {', '.join(DatasetFormat)}; by default that of its suffix.",
            autocompletion=complete(DatasetFormat),
        ),
    ] = None,
    column: Column = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Upload a file of embeddings, with targets if it has them.

    Uploading the same content again changes nothing.
    """
    with open_client(url, api_key) as client:
        dataset = upload(client, name, file, file_format, column, is_quiet=as_json)
    _print(dataset, as_json)


def upload(
    client: FlowClient,
    name: str,
    file: Path,
    file_format: str | None = None,
    column: str | None = None,
    *,
    is_quiet: bool = False,
) -> Dataset:
    """Upload a file as a dataset, show how much has been sent, and print what was read of it.

    Args:
        client: of the server.
        name: of the dataset.
        file: the embeddings: a file, a pipe, or ``-`` for stdin.
        file_format: a :class:`DatasetFormat`; by default that of the suffix.
        column: with the embeddings; by default one of the usual names.
        is_quiet: whether it is not printed what was read.

    Raises:
        CommandFailed: the file does not exist, or its format is not known.
        FlowClientError: the server refuses the dataset.
    """
    chosen = choose_embeddings_format(file_format, file)
    with regular_file(file) as source, uploading(describe_path(file)) as on_progress:
        dataset = client.datasets.put(
            name, source, format=chosen, column=column, on_progress=on_progress
        )
    if not is_quiet:
        print_note(_describe_source(dataset, file))
    return dataset


def _describe_source(dataset: Dataset, file: Path) -> str:
    # Servers of earlier versions do not say where the rows came from.
    given = dataset.data.get("source")
    source = None if given is None else msgspec.convert(given, FileSource)
    shape = (dataset.rows, dataset.dim)
    return describe_rows(describe_path(file), shape, dataset.targets_dim, source)


@app.command("list")
def list_datasets(
    url: Url = DEFAULT_URL, api_key: ApiKey = None, limit: Limit = 20, as_json: AsJson = False
) -> None:
    """List datasets, newest first."""
    with open_client(url, api_key) as client:
        every = client.datasets.list(page_size=page_size(limit))
        datasets = take_listed(every, limit)
    if as_json:
        print_json([dataset.data for dataset in datasets])
        return
    if not datasets:
        print_text("no datasets")
        return
    table = columns_table(
        ("dataset", "rows", "dim", "targets", "size", "created"), left=("dataset", "created")
    )
    for dataset in datasets:
        table.add_row(
            dataset.name,
            f"{dataset.rows:,}",
            str(dataset.dim),
            "" if dataset.targets_dim is None else str(dataset.targets_dim),
            format_bytes(dataset.bytes),
            dataset.created_at,
        )
    print_listed(table, ("created", "size", "targets"))


@app.command()
def show(
    name: Name, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Show one dataset."""
    with open_for_datasets(url, api_key, name) as client:
        _print(client.datasets.get(name), as_json)


@app.command()
def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of datasets.")],
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    yes: Yes = False,
) -> None:
    """Delete datasets; the runs of their rows can still be replayed."""
    with open_for_datasets(url, api_key, *names) as client:
        delete_named("dataset", names, client.datasets.get, client.datasets.delete, url, yes)


def _print(dataset: Dataset, as_json: bool) -> None:
    if as_json:
        print_json(dataset.data)
        return
    rows = [("dataset", dataset.name), ("inputs", f"{dataset.rows:,} × {dataset.dim}")]
    if dataset.targets_dim is not None:
        rows.append(("targets", f"{dataset.rows:,} × {dataset.targets_dim}"))
    rows += [
        ("size", format_bytes(dataset.bytes)),
        ("digest", dataset.digest),
        ("created", dataset.created_at),
    ]
    print_text(properties_table(rows))
