"""``energy-flow trace``: look at a trace, convert it, draw it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from energy_flow.client import KINDS
from service.cli.execute.outcome import describe_events
from service.cli.execute.remote_run import open_client
from service.cli.execute.trace_source import FileTrace, Filters, ServerTrace, TraceSource
from service.cli.input.failures import EXIT_USAGE, CommandFailed
from service.cli.input.options import DEFAULT_URL, ApiKey, AsJson, Url
from service.cli.input.terminal import print_json, print_note, print_text

FORMATS: Mapping[str, tuple[str, ...]] = {
    "parquet": (".parquet",),
    "arrow": (".arrows", ".arrow"),
    "ndjson": (".ndjson", ".jsonl"),
    "csv": (".csv",),
    "perfetto": (".perfetto-trace", ".pftrace"),
}
"""Formats with the suffixes by which they are known."""
REASONS = ("plane", "projected", "converged", "max_steps", "stalled")
PLANES = ("z0", "zdepth")


def trace(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Id of a run on the server, or a .parquet file.")
    ],
    url: Url = DEFAULT_URL,
    kind: Annotated[
        list[str] | None, typer.Option(help=f"Only {', '.join(KINDS)}; repeatable.")
    ] = None,
    sample: Annotated[
        list[int] | None, typer.Option(min=0, help="Only this sample; repeatable.")
    ] = None,
    flow: Annotated[
        list[int] | None, typer.Option(min=0, help="Only this flow; repeatable.")
    ] = None,
    step_from: Annotated[int | None, typer.Option(help="First step.")] = None,
    step_to: Annotated[int | None, typer.Option(help="Last step.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many records.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the records to a file.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(help=f"Of the file: {', '.join(FORMATS)}; by default by its suffix."),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the surface and the paths of one --sample (of one --flow and its kin).",
        ),
    ] = None,
    as_json: AsJson = False,
    api_key: ApiKey = None,
) -> None:
    """Look at the event trace of a run: a summary, or the records as a file, or a picture."""
    unknown = [name for name in kind or () if name not in KINDS]
    if unknown:
        raise CommandFailed(
            f"--kind takes {', '.join(KINDS)}, not {', '.join(unknown)}", EXIT_USAGE
        )
    chosen = _format(out, format)
    filters = Filters(kind, sample, flow, step_from, step_to, limit)
    local = Path(run)
    is_file = local.suffix == ".parquet"
    if is_file and not local.is_file():
        raise CommandFailed(f"there is no file {run}")
    with nullcontext() if is_file else open_client(url, api_key) as client:
        source: TraceSource = FileTrace(local) if client is None else ServerTrace(client, run)
        if out is not None and chosen is not None:
            source.convert(filters, chosen, out)
            print_note(f"written to {out} as {chosen}")
        if picture is not None:
            _draw(source, sample, flow, picture)
        if (out is None and picture is None) or as_json:
            counters = source.counters()
            told = _summary(source.columns(filters), counters)
            print_json(told) if as_json else _print(told, run)


def _format(out: Path | None, format: str | None) -> str | None:
    if out is None:
        if format is not None:
            raise CommandFailed("--format is of a file; name it with --out FILE", EXIT_USAGE)
        return None
    known = ", ".join(FORMATS)
    if format is not None:
        if format not in FORMATS:
            raise CommandFailed(f"--format takes {known}, not {format}", EXIT_USAGE)
        return format
    for name, suffixes in FORMATS.items():
        if out.suffix in suffixes:
            return name
    raise CommandFailed(
        f"--out {out}: the suffix tells no format; say --format {known}", EXIT_USAGE
    )


def _draw(source: TraceSource, sample: list[int] | None, flow: list[int] | None, to: Path) -> None:
    if len(sample or ()) > 1 or len(flow or ()) > 1:
        raise CommandFailed("--picture shows one --sample, and at most one --flow", EXIT_USAGE)
    source.draw(sample[0] if sample else 0, flow[0] if flow else None, to)
    print_note(f"drawn to {to}")


def _summary(
    columns: Mapping[str, NDArray[Any]], counters: Mapping[str, Mapping[str, int]] | None
) -> dict[str, Any]:
    """What the records tell, as plain JSON data."""
    kinds, code, plane = (columns[name] for name in ("kind", "code", "plane"))
    ends = kinds == KINDS.index("terminate")
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


def _print(told: Mapping[str, Any], run: str) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("trace", run)
    if told["run"] is not None:
        table.add_row("run", describe_events(told["run"]))
    table.add_row(
        "records",
        f"{told['records']:,} of {told['flows']:,} flows of {told['samples']:,} samples",
    )
    if told["records"]:
        table.add_row("steps", f"{told['first_step']} to {told['last_step']}")
    for name in ("kinds", "reasons", "planes"):
        table.add_row(name, ", ".join(f"{count:,} {key}" for key, count in told[name].items()))
    print_text(table)
