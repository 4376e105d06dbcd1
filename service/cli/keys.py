"""``energy-flow key``: the API keys of a data directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from energy_flow.choices import KeyRole, closest_name, names_of
from service.cli.data.open_directory import DatabaseUrl, DataDir, read_directory_settings
from service.cli.execute.private_files import private_files
from service.cli.input.failures import CommandFailed, check_choice, needing_extra
from service.cli.input.listing import print_listed
from service.cli.input.options import AsJson, complete
from service.cli.input.read_settings import read_settings
from service.cli.input.terminal import columns_table, print_json, print_note, print_text

if TYPE_CHECKING:
    from pathlib import Path

    from service.store.keys.stored_keys import StoredKeys
    from service.store.tables import ApiKeyRow

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name, as lists and the log show.")],
    role: Annotated[
        str,
        typer.Option(
            metavar="ROLE",
            help=f"What it allows: {', '.join(names_of(KeyRole))}.",
            autocompletion=complete(names_of(KeyRole)),
        ),
    ] = KeyRole.RUN.value,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Create a key, and print it: it cannot be shown again."""
    check_choice("--role", role, names_of(KeyRole))
    # A server without a key does not start where others can reach it, so the first key can come
    # before its first start.
    with _open(data_dir, database_url, is_making=True) as keys:
        from service.store.keys.stored_keys import KeyNameError

        try:
            row, secret = keys.create(name, KeyRole(role))
        except KeyNameError as error:
            raise CommandFailed(str(error)) from None
    if as_json:
        print_json({**_describe(row), "key": secret})
        return
    print_text(secret)
    print_note(f"key {row.name}, id {row.id}, role {row.role}; it is shown only now")


@app.command("list")
def list_keys(
    show_all: Annotated[bool, typer.Option("--all", help="Show revoked keys as well.")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """List the keys, newest first, without the keys themselves."""
    with _open(data_dir, database_url) as keys:
        rows = keys.find_all(revoked=show_all)
    if as_json:
        print_json([_describe(row) for row in rows])
        return
    if not rows:
        print_text("no keys")
        return
    table = columns_table(("name", "id", "role", "created", "revoked"), left=("name", "id", "role"))
    for row in map(_describe, rows):
        times = (row["created_at"], row["revoked_at"] or "")
        table.add_row(row["name"], row["id"], row["role"], *times)
    print_listed(table, ("created", "revoked"))


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Name or id of the key.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Revoke a key for good."""
    with _open(data_dir, database_url) as keys:
        rows = keys.find_all(revoked=False)
        row = next((row for row in rows if key in (row.id, row.name)), None)
        if row is None:
            close = closest_name(key, (row.name for row in rows))
            advice = "energy-flow key list shows the keys"
            if close is not None:
                advice = f"did you mean '{close}'?"
            raise CommandFailed(f"there is no key {key!r} that can be revoked; {advice}")
        keys.revoke(row.id)
    print_text(f"revoked key {row.name}, id {row.id}")


@contextmanager
def _open(
    data_dir: Path | None, database_url: str | None, *, is_making: bool = False
) -> Iterator[StoredKeys]:
    """Open the keys of a data directory until the end of the block.

    Args:
        data_dir: value of ``--data-dir``.
        database_url: value of ``--database-url``.
        is_making: whether to make a folder that does not exist.

    Raises:
        CommandFailed: a setting is refused, there is no such folder, or the index cannot be used.
    """
    with needing_extra("server", "key"):
        from service.store.index_file import is_missing, show_url
        from service.store.keys.open_keys import open_keys
        from service.store.recovery.errors import (
            DataDirInUseError,
            DataDirMismatchError,
            RecoveryError,
            storage_errors_reported,
        )
    if is_making:
        with private_files():
            read_settings({"data_dir": data_dir}).data_dir.mkdir(parents=True, exist_ok=True)
    settings = read_directory_settings(data_dir, database_url)
    if not is_making and is_missing(settings.index_url):
        raise CommandFailed(
            f"there is no index {show_url(settings.index_url)}; check --data-dir, or create a key "
            "first"
        )
    try:
        with (
            private_files(),
            storage_errors_reported(settings.data_dir, settings.index_url),
            open_keys(settings.data_dir, settings.index_url) as keys,
        ):
            yield keys
    except (DataDirInUseError, DataDirMismatchError, RecoveryError) as error:
        raise CommandFailed(str(error)) from None


def _describe(row: ApiKeyRow) -> dict[str, str | None]:
    from service.json_encoding import format_timestamp

    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "created_at": format_timestamp(row.created_at),
        "revoked_at": format_timestamp(row.revoked_at),
    }
