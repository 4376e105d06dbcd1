"""``energy-flow simulate``: simulate embeddings, in this process or on a server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from energy_flow import pretrained
from energy_flow.choices import DatasetFormat, Output, Preset
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
from service.cli.input.terminal import print_json, print_note, print_text

if TYPE_CHECKING:
    from service.cli.execute.embeddings_file import EmbeddingsFile

_IN_PROCESS: Final = "simulating without --url"


def simulate(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help=f"Embeddings: {', '.join(known.suffixes[0] for known in DatasetFormat)}, each "
            "also as .gz; or - for stdin. A row is a sample.",
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
    column: Annotated[
        str | None,
        typer.Option(
            # The former name, of files that had tensors alone.
            "--column",
            "--tensor",
            metavar="NAME",
            help="Tensor, column or member with the embeddings, if several could be.",
        ),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help=f"Format of FILE: {', '.join(DatasetFormat)}; by default that of its suffix.",
        ),
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
            autocompletion=complete(pretrained.names()),
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
    name: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What the run is called. Only on a server."),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="Tag of the run; repeatable. Only on a server."),
    ] = None,
    note: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Text about the run. Only on a server.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder to write: each output as .npy, trace.parquet, metrics.json, surface.png. "
            "Results of an earlier run in it are replaced.",
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
    from service.cli.execute.job import DatasetJob, FileJob
    from service.cli.execute.model_file import find_checkpoint
    from service.cli.execute.outcome import summary

    for chosen in output or ():
        check_choice("--output", chosen, Output)
    if preset is not None:
        check_choice("--preset", preset, Preset)
    if preset is not None and model is not None and url is None:
        raise CommandFailed(
            "--preset makes an untrained model and --model loads one; give only one of them",
            EXIT_USAGE,
        )
    if out is not None and printable(out) != str(out):
        # Before the run: Parquet's writer takes no other names.
        raise CommandFailed(f"--out {printable(out)}: the name must be UTF-8", EXIT_USAGE)
    surface = Output.SURFACE.value
    outputs = tuple(dict.fromkeys([*(output or [surface]), *([surface] if out else [])]))
    if url is None and dataset is not None:
        url = os.environ.get(URL_ENV) or None
    labels = {"name": name, "tags": tag, "note": note}
    if url is None:
        _refuse_remote_options({"--name": name, "--tag": tag, "--note": note})
    source = _choose_source(file, dataset, column, file_format)
    fields, chosen_rows = parse_assignments(assignments or ()), RowRange.parse(rows)

    def read(file: EmbeddingsFile) -> FileJob:
        data = file.read(chosen_rows, is_quiet=as_json)
        return FileJob(fields, seed, outputs, data.embeddings, data.sample_keys)

    # Names are checked before a file is read, which can take long.
    if url is not None:
        _refuse_local_options(url, {"--preset": preset, "--device": device})
        from service.cli.execute import remote_run

        if isinstance(source, str):
            job: FileJob | DatasetJob = DatasetJob(fields, seed, outputs, source, chosen_rows)
        else:
            source.find_format()
            remote_run.check_model(url, model, api_key)
            job = read(source)
        outcome = remote_run.simulate(job, url=url, model=model, api_key=api_key, labels=labels)
    elif isinstance(source, str):
        raise CommandFailed(
            f"--dataset is on a server; add its address with --url, or set {URL_ENV}", EXIT_USAGE
        )
    else:
        source.find_format()
        if os.environ.get(URL_ENV) and not as_json:
            print_note(f"note: simulating in this process; {URL_ENV} is used with --url URL alone")
        if out is not None:
            # Before the run, whose results would be lost.
            require_package("matplotlib", "plots", "--out")
        require_package("torch", "sim", _IN_PROCESS)
        checkpoint = None if model is None else find_checkpoint(model, "--model")
        # All that can be refused without torch is refused before its import, which takes seconds.
        with needing_extra("sim", _IN_PROCESS):
            from service.cli.execute.local_model import choose_model
        local_job = read(source)
        local_model = choose_model(local_job, preset, checkpoint)
        with needing_extra("sim", _IN_PROCESS):
            from service.cli.execute import local_run
        outcome = local_run.simulate(local_job, local_model, device=device or "auto")
    files = outcome.write(out) if out is not None else []
    if as_json:
        print_json({**outcome.report, "files": [printable(path) for path in files]})
        return
    print_text(summary(outcome.report, outcome.outputs))
    if files:
        print_text(f"\nwritten to {out}: {', '.join(path.name for path in files)}")


def _choose_source(
    file: Path | None, dataset: str | None, column: str | None, file_format: str | None
) -> EmbeddingsFile | str:
    """Return the file of the embeddings, or the name of a dataset of a server."""
    from service.cli.execute.embeddings_file import EmbeddingsFile

    if file is not None and dataset is None:
        return EmbeddingsFile(file, column, file_format)
    if file is not None or dataset is None:
        raise CommandFailed("give either FILE, or --dataset NAME with --url", EXIT_USAGE)
    for flag, value in (("--column or --tensor", column), ("--format", file_format)):
        if value is not None:
            raise CommandFailed(f"{flag} is for FILE; leave it out with --dataset", EXIT_USAGE)
    return dataset


def _refuse_remote_options(options: Mapping[str, object]) -> None:
    for flag, value in options.items():
        if value is not None:
            raise CommandFailed(
                f"{flag} is for runs that a server keeps; add its address with --url", EXIT_USAGE
            )


def _refuse_local_options(url: str, options: Mapping[str, str | None]) -> None:
    for flag, value in options.items():
        if value is not None:
            raise CommandFailed(
                f"{flag} is for runs in this process; the server at {url} has its own models and "
                f"device. Leave {flag} out, or choose a model with --model NAME",
                EXIT_USAGE,
            )
