"""``energy-flow data rebuild-index``: make a new index from the files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.cli.data.open_directory import (
    DatabaseUrl,
    DataDir,
    DataDirectory,
    DryRun,
    open_directory,
)
from service.cli.input.terminal import (
    activity,
    columns_table,
    count_things,
    format_bytes,
    print_note,
    print_text,
)

if TYPE_CHECKING:
    from service.store.recovery.rebuild import FoundRows


def rebuild_index(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, dry_run: DryRun = False
) -> None:
    """Make a new index from the datasets, models and runs in the data directory.

    For a directory whose index is lost or damaged. No file is deleted; an index that is there gets
    another name. Experiments are not in the files: their trials become runs of their own.
    """
    with open_directory(data_dir, database_url) as directory:
        from service.store.recovery import rebuild

        rebuild.check_replaceable(directory.path, directory.index_url)
        with activity("reading the files") as shown:

            def on_progress(done: int, total: int, name: str) -> None:
                shown.advance(done, total, f"read {done} of {total}; next {name}")

            found = rebuild.find_rows(directory.path, on_progress)
        _print(found, directory)
        if dry_run:
            print_note("dry run: nothing was changed")
            return
        before = rebuild.rebuild_index(directory.path, directory.index_url, found)
        if before is not None:
            print_note(f"the index before is now {before}")
        print_note("API keys are not in the files; energy-flow key create makes new ones")
        print_note("the index is ready; start the server")


def _print(found: FoundRows, directory: DataDirectory) -> None:
    table = columns_table(("what", "restored"), left=("what",))
    for what, rows in (
        ("datasets", found.datasets),
        ("models", found.models),
        ("runs", found.runs),
    ):
        table.add_row(what, str(len(rows)))
    print_text(table)
    for path, reason in found.skipped:
        print_note(f"not restored: {path}: {reason}; the next start puts it into quarantine")
    for one in found.renamed:
        print_note(
            f"renamed: {one.kind.removesuffix('s')} {one.before!r} is {one.after!r} now, because "
            f"nothing new can have its name: {one.reason}"
        )
    if found.experiment_ids:
        experiments = count_things(len(found.experiment_ids), "experiment")
        print_note(
            f"not restored, as it is not in the files: {experiments}; trials are runs of their own"
        )
    if found.ended_bytes > directory.keep_runs_bytes:
        print_note(
            f"warning: the ended runs take {format_bytes(found.ended_bytes)}, and a server keeps "
            f"{format_bytes(directory.keep_runs_bytes)} of them; to keep all, start it with "
            f"--keep-runs-bytes {found.ended_bytes} or more"
        )
