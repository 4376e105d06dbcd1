"""``energy-flow data adopt``: accept a data directory and an index as belonging together."""

from __future__ import annotations

from service.cli.data.open_directory import DatabaseUrl, DataDir, DryRun, open_directory
from service.cli.input.terminal import activity, columns_table, print_note, print_text


def adopt(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, dry_run: DryRun = False
) -> None:
    """Accept a data directory and an index as belonging together.

    For a restored backup of one of the two. It deletes nothing: the next start puts files that the
    index does not know into quarantine, and keeps the rows of files that are missing.
    """
    with open_directory(data_dir, database_url) as directory:
        from service.store.recovery import adopt as adoption
        from service.store.recovery.content import Kind

        with activity("comparing the files with the index"):
            compared = adoption.compare(directory.path, directory.index_url)
        counts = (compared.common, compared.unknown, compared.missing)
        table = columns_table(("what", "in both", "files only", "index only"), left=("what",))
        for kind in Kind:
            table.add_row(kind, *(str(count[kind]) for count in counts))
        print_text(table)
        if compared.unknown.total():
            print_note("the next start puts what only the files have into quarantine")
        if dry_run:
            print_note("dry run: nothing was changed")
            return
        adoption.adopt(directory.path, directory.index_url)
        print_note("the data directory and the index belong together; start the server")
