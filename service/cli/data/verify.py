"""``energy-flow data verify``: read everything that is stored and report what is damaged."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from service.cli.data.open_directory import DatabaseUrl, DataDir, read_directory_settings
from service.cli.input.failures import EXIT_FAILED, CommandFailed, needing_extra
from service.cli.input.options import AsJson
from service.cli.input.terminal import (
    activity,
    count_things,
    format_bytes,
    print_json,
    print_text,
)

if TYPE_CHECKING:
    from service.store.data_check.findings import Report


def verify(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Read all datasets, models and runs and the index, and list what is damaged.

    Nothing is changed, and a server may use the data directory meanwhile. The exit code is 1 if
    anything is damaged or cannot be read. Of runs of earlier versions and of a rebuilt index, only
    damage is found that makes a file unreadable.
    """
    settings = read_directory_settings(data_dir, database_url)
    with needing_extra("server", "data"):
        from service.store.data_check.check import OutdatedIndexError, check_data
        from service.store.database import NewerIndexError
    folder = settings.data_dir
    with activity(f"reading {folder}") as shown:

        def on_progress(done: int, total: int) -> None:
            shown.advance(done, total, f"read {format_bytes(done)} of {format_bytes(total)}")

        try:
            report = check_data(folder, settings.index_url, on_progress)
        except (OutdatedIndexError, NewerIndexError) as error:
            raise CommandFailed(str(error)) from None
    if as_json:
        print_json(asdict(report))
    else:
        _print(report)
    if report.findings or report.unreadable:
        raise typer.Exit(EXIT_FAILED)


def _print(report: Report) -> None:
    for finding in (*report.findings, *report.unreadable):
        print_text(f"{finding.file}: {finding.why}; {finding.advice}")
    if report.runs_without_digests:
        runs = count_things(report.runs_without_digests, "run")
        have = "has" if report.runs_without_digests == 1 else "have"
        print_text(
            f"{runs} of an earlier version or a rebuilt index {have} no digests: only damage that "
            "makes a file unreadable is found there"
        )
    datasets, models = (
        count_things(report.datasets, "dataset"),
        count_things(report.models, "model"),
    )
    counts = f"{datasets}, {models} and {count_things(report.runs, 'run')}"
    unreadable = f", {len(report.unreadable)} cannot be used" if report.unreadable else ""
    damaged = f"{len(report.findings)} damaged{unreadable}"
    print_text(f"read {counts}, {format_bytes(report.bytes)}: {damaged}")
