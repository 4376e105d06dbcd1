"""``energy-flow trace``: summarise, convert or draw the event trace of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energy_flow.choices import PictureFormat, TraceFormat, TraceKind
from service.cli.execute.outcome import describe_events
from service.cli.execute.server_client import open_client
from service.cli.execute.trace_source import FileTrace, Filters, ServerTrace, TraceSource
from service.cli.input.failures import EXIT_USAGE, CommandFailed, check_choice
from service.cli.input.file_format import choose_format
from service.cli.input.options import DEFAULT_URL, ApiKey, AsJson, Url, complete
from service.cli.input.regular_file import regular_file
from service.cli.input.terminal import (
    count_things,
    print_json,
    print_note,
    print_text,
    properties_table,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def trace(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Id of a run on the server, or a .parquet file.")
    ],
    url: Url = DEFAULT_URL,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help=f"Only records of this kind: {', '.join(TraceKind)}; repeatable.",
            autocompletion=complete(TraceKind),
        ),
    ] = None,
    sample: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=0, help="Only records of this sample; repeatable."),
    ] = None,
    flow: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=0, help="Only records of this flow; repeatable."),
    ] = None,
    step_from: Annotated[int | None, typer.Option(help="First step to read.")] = None,
    step_to: Annotated[int | None, typer.Option(help="Last step to read.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of records to read.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the records to a file.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Format of the file: {', '.join(TraceFormat)}; by default that of its suffix.",
            autocompletion=complete(TraceFormat),
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the surface and the paths of one --sample as PNG; with --flow, only the "
            "paths of that flow, its ancestors and its descendants.",
        ),
    ] = None,
    as_json: AsJson = False,
    api_key: ApiKey = None,
) -> None:
    """Summarise the event trace of a run, write its records to a file, or draw its paths."""
    for name in kind or ():
        check_choice("--kind", name, TraceKind)
    if format is not None and out is None:
        raise CommandFailed("--format is for a file; add --out FILE", EXIT_USAGE)
    chosen = choose_format(TraceFormat, format, out, "--out ")
    if picture is not None and PictureFormat.of_file(picture.name) is None:
        raise CommandFailed(f"--picture {picture}: a picture is PNG; name it .png", EXIT_USAGE)
    filters = Filters(kind, sample, flow, step_from, step_to, limit)
    path = Path(run)
    is_file = path.suffix == ".parquet" or path.is_file() or path.is_fifo()
    with regular_file(path) if is_file else open_client(url, api_key) as opened:
        source: TraceSource = (
            FileTrace(opened, path) if isinstance(opened, Path) else ServerTrace(opened, run)
        )
        if sample:
            source.check_samples(sample)
        if out is not None and chosen is not None:
            source.convert(filters, chosen, out)
            print_note(f"written to {out} as {chosen}")
        if picture is not None:
            _draw(source, sample, flow, picture)
        if (out is None and picture is None) or as_json:
            counters = source.counters()
            summary = _summary(source.columns(filters), counters)
            print_json(summary) if as_json else _print(summary, run)


def _draw(source: TraceSource, sample: list[int] | None, flow: list[int] | None, to: Path) -> None:
    if len(sample or ()) > 1 or len(flow or ()) > 1:
        raise CommandFailed(
            "--picture draws one sample; give one --sample and at most one --flow", EXIT_USAGE
        )
    source.draw(sample[0] if sample else 0, flow[0] if flow else None, to)
    print_note(f"drawn to {to}")


def _summary(
    columns: Mapping[str, NDArray[Any]], counters: Mapping[str, Mapping[str, int]] | None
) -> dict[str, Any]:
    """Return numbers of records, flows and samples as plain JSON data."""
    import numpy as np

    from energy_flow.trace.records import KINDS, PLANES, REASONS, TERMINATE

    kinds, code, plane = (columns[name] for name in ("kind", "code", "plane"))
    ends = kinds == TERMINATE
    steps = columns["step"]
    return {
        "records": len(kinds),
        "samples": len(np.unique(columns["sample"])),
        "flows": len(np.unique(np.stack((columns["sample"], columns["flow"])), axis=1).T),
        "first_step": int(steps.min()) if len(steps) else None,
        "last_step": int(steps.max()) if len(steps) else None,
        "kinds": {name: int((kinds == number).sum()) for number, name in enumerate(KINDS)},
        "reasons": {
            name: int((ends & (code == number)).sum()) for number, name in enumerate(REASONS)
        },
        "planes": {
            name: int((ends & (plane == number)).sum()) for number, name in enumerate(PLANES)
        },
        "run": counters,
    }


def _print(summary: Mapping[str, Any], run: str) -> None:
    rows = [("trace", run)]
    if summary["run"] is not None:
        rows.append(("run", describe_events(summary["run"])))
    flows, samples = (count_things(summary[f"{name}s"], name) for name in ("flow", "sample"))
    of = f"{flows} of {samples}"
    rows.append(("records", f"{summary['records']:,} of {of}"))
    if summary["records"]:
        rows.append(("steps", f"{summary['first_step']} to {summary['last_step']}"))
    rows += [
        (name, ", ".join(f"{count:,} {key}" for key, count in summary[name].items()))
        for name in ("kinds", "reasons", "planes")
    ]
    print_text(properties_table(rows))
