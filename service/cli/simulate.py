"""``energy-flow simulate``: simulate embeddings, in this process or on a server."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energy_flow import pretrained
from energy_flow.choices import Output, Preset
from service.cli.input.assignments import parse_assignments
from service.cli.input.failures import (
    EXIT_USAGE,
    CommandFailed,
    check_choice,
    needing_extra,
    require_package,
)
from service.cli.input.options import MAX_SEED, URL_ENV, ApiKey, AsJson, Assignments, complete
from service.cli.input.streams import printable
from service.cli.input.terminal import print_json, print_text

if TYPE_CHECKING:
    from service.cli.execute.embeddings_file import RowRange
    from service.cli.execute.job import DatasetJob, FileJob


def simulate(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="Embeddings: .npy, .safetensors or .jsonl; a row is a sample."
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Address of a server; without it, run in this process."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A dataset of the server, instead of FILE; its address is --url or else "
            f"{URL_ENV}.",
        ),
    ] = None,
    rows: Annotated[
        str | None, typer.Option(metavar="A:B", help="Rows from A to B - 1, counted from 0.")
    ] = None,
    tensor: Annotated[
        str | None, typer.Option(metavar="NAME", help="Tensor of a .safetensors file.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Config of an untrained model: {', '.join(Preset)}. Not with --url.",
            autocompletion=complete(Preset),
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="File of a checkpoint or name of a trained model of the package "
            f"({', '.join(pretrained.names())}); with --url, name of a model of the server.",
        ),
    ] = None,
    assignments: Assignments = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=MAX_SEED, help="Seed of the noise.")
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="What to compute; repeatable. "
            + " ".join(f"{known}: {known.description}." for known in Output),
            autocompletion=complete(Output),
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="Device: auto, cpu, cuda or cuda:N. Not with --url."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder to write: each output as .npy, trace.parquet, metrics.json, surface.png.",
        ),
    ] = None,
    as_json: AsJson = False,
    api_key: ApiKey = None,
) -> None:
    """Simulate the embeddings of a file, or of a dataset of a server.

    The run is in this process, or with --url on a server. The sample key of a row is its index in
    the file, so that any part of a file gives the same results as the whole.
    """
    # Here, so that the help does not wait for NumPy.
    from service.cli.execute.embeddings_file import RowRange
    from service.cli.execute.job import DatasetJob
    from service.cli.execute.outcome import summary

    for name in output or ():
        check_choice("--output", name, Output)
    if preset is not None:
        check_choice("--preset", preset, Preset)
    if out is not None and printable(out) != str(out):
        # Before the run: Parquet's writer takes no other names.
        raise CommandFailed(f"--out {printable(out)}: the name must be UTF-8", EXIT_USAGE)
    surface = Output.SURFACE.value
    outputs = tuple(dict.fromkeys([*(output or [surface]), *([surface] if out else [])]))
    if url is None and dataset is not None:
        url = os.environ.get(URL_ENV) or None
    job = _read_job(file, dataset, tensor, RowRange.parse(rows), assignments, seed, outputs)
    if url is not None:
        _refuse_local_options(url, {"--preset": preset, "--device": device})
        from service.cli.execute import remote_run

        outcome = remote_run.simulate(job, url=url, model=model, api_key=api_key)
    elif isinstance(job, DatasetJob):
        raise CommandFailed(
            f"--dataset is on a server; add its address with --url, or set {URL_ENV}", EXIT_USAGE
        )
    else:
        if out is not None:
            # Before the run, whose results would be lost.
            require_package("matplotlib", "plots", "--out")
        with needing_extra("sim", "simulating without --url"):
            from service.cli.execute import local_run
        outcome = local_run.simulate(job, preset=preset, checkpoint=model, device=device or "auto")
    files = outcome.write(out) if out is not None else []
    if as_json:
        print_json({**outcome.report, "files": [printable(path) for path in files]})
        return
    print_text(summary(outcome.report, outcome.outputs))
    if files:
        print_text(f"\nwritten to {out}: {', '.join(path.name for path in files)}")


def _read_job(
    file: Path | None,
    dataset: str | None,
    tensor: str | None,
    rows: RowRange,
    assignments: Iterable[str] | None,
    seed: int | None,
    outputs: tuple[str, ...],
) -> FileJob | DatasetJob:
    from service.cli.execute.embeddings_file import read_rows
    from service.cli.execute.job import DatasetJob, FileJob

    if (file is None) == (dataset is None):
        raise CommandFailed("give either FILE, or --dataset NAME with --url", EXIT_USAGE)
    fields = parse_assignments(assignments or ())
    if file is not None:
        data = read_rows(file, rows, tensor)
        return FileJob(fields, seed, outputs, data.embeddings, data.sample_keys)
    assert dataset is not None
    if tensor is not None:
        raise CommandFailed("--tensor is for FILE; leave it out with --dataset", EXIT_USAGE)
    return DatasetJob(fields, seed, outputs, dataset, rows)


def _refuse_local_options(url: str, options: Mapping[str, str | None]) -> None:
    for flag, value in options.items():
        if value is not None:
            raise CommandFailed(
                f"{flag} is for runs in this process; the server at {url} has its own models and "
                f"device. Leave {flag} out, or choose a model with --model NAME",
                EXIT_USAGE,
            )
