"""``energy-flow data quarantine``: files that the index does not know."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.data.open_directory import DatabaseUrl, DataDir, DryRun, open_directory
from service.cli.input.failures import CommandFailed
from service.cli.input.options import AsJson, Yes
from service.cli.input.terminal import (
    columns_table,
    confirm_deletion,
    count_things,
    format_bytes,
    print_json,
    print_note,
    print_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.store.recovery.quarantine import Quarantine, QuarantinedEntry

app = typer.Typer(
    no_args_is_help=True,
    help="List, restore and delete complete files that the index did not know at a start.",
)

EntryId = Annotated[str, typer.Argument(metavar="ID", help="Id, as the list shows it.")]


@app.command("list")
def list_entries(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """List what is in quarantine, the oldest first."""
    with open_directory(data_dir, database_url) as directory:
        from service.store.recovery.quarantine import Quarantine

        found = Quarantine(directory.path).find_all()
    if as_json:
        print_json(
            [
                {
                    "id": one.id,
                    "kind": one.entry.kind,
                    "bytes": one.bytes,
                    "names": [name.name for name in one.names],
                }
                for one in found
            ]
        )
        return
    table = columns_table(("id", "size", "name"), left=("id", "name"))
    for one in found:
        names = ", ".join(name.name for name in one.names)
        table.add_row(one.id, format_bytes(one.bytes), names)
    print_text(table)


@app.command()
def restore(
    entry_id: EntryId,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another name for a dataset or a model.")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Put a dataset, a model or a run back into the data directory and the index."""
    with open_directory(data_dir, database_url) as directory:
        from service.store.recovery.identity import open_index
        from service.store.recovery.quarantine import Quarantine
        from service.store.recovery.restore import restore_entry

        quarantine = Quarantine(directory.path)
        one = _find(quarantine, entry_id)
        with closing(open_index(directory.path, directory.index_url)) as database:
            what = restore_entry(quarantine, database, one, name)
    print_text(f"restored {what}")


@app.command()
def empty(
    entry_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Ids, as the list shows them (default: all)."),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Delete what is in quarantine for good."""
    with open_directory(data_dir, database_url) as directory:
        from service.store.recovery.quarantine import Quarantine

        quarantine = Quarantine(directory.path)
        found: Sequence[QuarantinedEntry] = (
            [_find(quarantine, entry_id) for entry_id in entry_ids]
            if entry_ids
            else quarantine.find_all()
        )
        entries = count_things(len(found), "entry", "entries")
        size = format_bytes(sum(one.bytes for one in found))
        if dry_run:
            print_text(f"would delete {entries}, {size}")
            print_note("dry run: nothing was changed")
            return
        if found:
            confirm_deletion(f"{entries}, {size}, for good", is_confirmed=yes)
        quarantine.remove(found)
    print_text(f"deleted {entries}, {size}")


def _find(quarantine: Quarantine, entry_id: str) -> QuarantinedEntry:
    one = quarantine.find(entry_id)
    if one is None:
        raise CommandFailed(
            f"there is no {entry_id!r} in quarantine; energy-flow data quarantine list shows the "
            "ids"
        )
    return one
