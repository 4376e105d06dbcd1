"""``energy-flow ablate``: what the flows of a model do, in this process or on a server."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from energy_flow import pretrained
from energy_flow.ablation.result import (
    DEFAULT_RESAMPLES,
    HOW_TO_READ,
    MAX_RESAMPLES,
    MIN_RESAMPLES,
    SHOWN,
)
from energy_flow.choices import ValidationMetric
from service.cli.input.assignments import parse_assignments
from service.cli.input.failures import (
    EXIT_USAGE,
    CommandFailed,
    check_choice,
    needing_extra,
    require_package,
)
from service.cli.input.file_format import check_format
from service.cli.input.options import (
    ApiKey,
    AsJson,
    Assignments,
    Column,
    FormatOfPairs,
    TargetColumn,
    complete,
)
from service.cli.input.terminal import print_json, print_text

_IN_PROCESS: Final = "ablate without --url"


def ablate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="File of a checkpoint or name of a trained model of the package "
            f"({', '.join(pretrained.names())}); with --url, name of a model of the server.",
            autocompletion=complete(pretrained.names()),
        ),
    ],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Pairs that the model was not trained on: a file with embeddings and targets, or "
            "- for stdin; with --url the name of a dataset with targets.",
        ),
    ],
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Address of a server; without it, run in this process."),
    ] = None,
    rows: Annotated[
        str | None, typer.Option(metavar="A:B", help="Rows from A to B - 1, counted from 0.")
    ] = None,
    column: Column = None,
    target_column: TargetColumn = None,
    file_format: FormatOfPairs = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"Figure to show: {', '.join(ValidationMetric)}; repeatable. "
            f"Default: {' and '.join(SHOWN)}.",
            autocompletion=complete(ValidationMetric),
        ),
    ] = None,
    resamples: Annotated[
        int,
        typer.Option(
            min=MIN_RESAMPLES,
            max=MAX_RESAMPLES,
            help="Samples of rows from which intervals are computed.",
        ),
    ] = DEFAULT_RESAMPLES,
    assignments: Assignments = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="Device: auto, cpu, cuda or cuda:N. Not with --url."),
    ] = None,
    as_json: AsJson = False,
    api_key: ApiKey = None,
) -> None:
    """Show what the flows of a model do for its predictions.

    The model predicts the targets of the rows as it is, and then with parts of its flows switched
    off: moves, x and y, z, energies, spawning, noise. A part is needed if the figures are worse
    without it, by an interval that does not contain 0. Where no change differs from 0, the
    embeddings at the start and the mapper do the work, and the flows do none.

    The model is measured in this process, or with --url on a server. Ctrl-C stops it.
    """
    # Here, so that the help does not wait for NumPy.
    from service.cli.execute.ablation_job import AblationJob
    from service.cli.execute.embeddings_file import RowRange

    check_format(file_format)
    of_files = {"--column": column, "--target-column": target_column, "--format": file_format}
    given = next((flag for flag, value in of_files.items() if value is not None), None)
    for name in metric or ():
        check_choice("--metric", name, ValidationMetric)
    metrics = [ValidationMetric(name) for name in dict.fromkeys(metric or SHOWN)]
    job = AblationJob(
        model, data, RowRange.parse(rows), resamples, parse_assignments(assignments or ())
    )
    if url is None:
        require_package("torch", "sim", _IN_PROCESS)
        # All that can be refused without torch is refused before its import, which takes seconds.
        with needing_extra("sim", _IN_PROCESS):
            from service.cli.execute.ablation_start import prepare_ablation
            from service.cli.execute.pairs_file import PairsOptions
        options = PairsOptions(column, target_column, file_format, as_json)
        checkpoint, pairs = prepare_ablation(job, options)
        with needing_extra("sim", _IN_PROCESS):
            from service.cli.execute import local_ablation
        outcome = local_ablation.ablate(job, checkpoint, pairs, device=device or "auto")
    elif given is not None:
        raise CommandFailed(f"{given} is for files; leave it out with --url", EXIT_USAGE)
    elif device is not None:
        raise CommandFailed(
            f"--device is for this process; the server at {url} has its own device. Leave it out",
            EXIT_USAGE,
        )
    else:
        from service.cli.execute import remote_ablation

        outcome = remote_ablation.ablate(job, url=url, api_key=api_key)
    if as_json:
        print_json(outcome.to_dict())
        return
    print_text(outcome.result.table(metrics))
    print_text(f"\n{HOW_TO_READ}")
    for warning in outcome.warnings:
        print_text(f"warning: {warning}")
