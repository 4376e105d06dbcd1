"""``energy-flow simulate``: embeddings from a file, here or on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.execute import local_run, remote_run
from service.cli.execute.embeddings_file import RowRange, read_rows
from service.cli.execute.job import DatasetJob, FileJob
from service.cli.execute.outcome import summary
from service.cli.input.assignments import parse_assignments
from service.cli.input.failures import EXIT_USAGE, CommandFailed
from service.cli.input.options import ApiKey, AsJson
from service.cli.input.terminal import print_json, print_text

OUTPUTS = ("surface", "planes", "hits", "embedding")


def simulate(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="Embeddings: .npy, .safetensors or .jsonl, one row a sample."
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Address of a server; without it, run here.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="A dataset on the server, in place of FILE.")
    ] = None,
    rows: Annotated[
        str | None, typer.Option(metavar="A:B", help="Rows from A to before B, counted from 0.")
    ] = None,
    tensor: Annotated[str | None, typer.Option(help="Which tensor of a .safetensors file.")] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Config of an untrained model: debug, experiment, optimized (here)."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A checkpoint file (here), or the name of a model (on a server)."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A field of the config; repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the noise.")] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(help=f"What to compute: {', '.join(OUTPUTS)}; repeatable."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device to run on here: auto, cpu, cuda, cuda:N.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for surface.npy, trace.parquet, metrics.json and surface.png.",
        ),
    ] = None,
    as_json: AsJson = False,
    api_key: ApiKey = None,
) -> None:
    """Simulate the embeddings in a file, or in a dataset that a server has.

    Runs in this process, or on a server with --url. Rows keep their index in the file as their
    sample key, so any part of a file gives the same results as the whole.
    """
    unknown = [name for name in output or () if name not in OUTPUTS]
    if unknown:
        raise CommandFailed(
            f"--output takes {', '.join(OUTPUTS)}, not {', '.join(unknown)}", EXIT_USAGE
        )
    wanted = tuple(dict.fromkeys([*(output or ["surface"]), *(["surface"] if out else [])]))
    if (file is None) == (dataset is None):
        raise CommandFailed("give a FILE, or --dataset NAME and --url, one of them", EXIT_USAGE)
    if file is None and tensor is not None:
        raise CommandFailed("--tensor is for a FILE; a dataset has one", EXIT_USAGE)
    part = RowRange.parse(rows)
    fields = parse_assignments(assignments or ())
    job: FileJob | DatasetJob
    if file is not None:
        data = read_rows(file, part, tensor)
        job = FileJob(fields, seed, wanted, data.embeddings, data.sample_keys)
    else:
        assert dataset is not None
        job = DatasetJob(fields, seed, wanted, dataset, part)
    if url is None:
        if isinstance(job, DatasetJob):
            raise CommandFailed("--dataset is on a server; say which with --url", EXIT_USAGE)
        outcome = local_run.simulate(job, preset=preset, checkpoint=model, device=device or "auto")
    else:
        for flag, value in (("--preset", preset), ("--device", device)):
            if value is not None:
                raise CommandFailed(
                    f"{flag} is for runs in this process; the server at {url} has its own models "
                    "and device (choose a model with --model NAME)",
                    EXIT_USAGE,
                )
        outcome = remote_run.simulate(job, url=url, model=model, api_key=api_key)
    files = outcome.write(out) if out is not None else []
    if as_json:
        print_json({**outcome.report, "files": [str(path) for path in files]})
        return
    print_text(summary(outcome.report, outcome.outputs))
    if files:
        print_text(f"\nwritten to {out}: {', '.join(path.name for path in files)}")
