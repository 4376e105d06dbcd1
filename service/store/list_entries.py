"""What lists of runs and experiments are searched by, beside their rows.

A tag or an option is found by an index, and a text in a table that has little else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import Connection, delete, insert
from sqlalchemy.orm import Session

from service.store.tables import ExperimentRow, ListKeyRow, ListTextRow, RunRow

RUNS: Final = RunRow.__tablename__
EXPERIMENTS: Final = ExperimentRow.__tablename__

TAG: Final = "tag"
"""Field of tags."""

_MAX_FIELD: Final = 128
_MAX_VALUE: Final = 200
# Between the parts of a text, none of which can have it.
_SEPARATOR = "\x1f"


def find_keys(tags: Iterable[str], options: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return field and value of each tag and each given option.

    Args:
        tags: The tags.
        options: The options, nested or with dotted names.
    """
    keys = {(TAG, tag) for tag in tags}
    keys |= {(option_field(name), option_value(value)) for name, value in list_options(options)}
    # What is longer cannot be looked for.
    return {key for key in keys if len(key[0]) <= _MAX_FIELD and len(key[1]) <= _MAX_VALUE}


def list_options(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted name and value of each option.

    Args:
        options: The options, nested or with dotted names.
        prefix: Names of the groups that contain them, each with a dot.
    """
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from list_options(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def option_field(name: str) -> str:
    """Return the field of an option."""
    return f"option.{name}"


def option_value(value: Any) -> str:
    """Return the value of an option as text; equal numbers have the same."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str).decode()
    except orjson.JSONEncodeError:
        # An integer beyond 64 bits, or a text that is no UTF-8.
        return json.dumps(value, sort_keys=True, default=str)


def find_text(name: str, tags: Iterable[str], note: str) -> str:
    """Return the text in which one entry of a list is searched; empty if there is none."""
    return _SEPARATOR.join(part for part in (name, *tags, note) if part).casefold()


def add_entries(
    database: Session | Connection, owner: str, position: int, keys: set[tuple[str, str]], text: str
) -> None:
    """Add what a new row is found by.

    Args:
        database: A transaction.
        owner: Table of the row.
        position: Its position.
        keys: Of :func:`find_keys`.
        text: Of :func:`find_text`.
    """
    # Most runs have neither, and are short.
    if keys:
        database.execute(insert(ListKeyRow), _key_rows(owner, position, keys))
    if text:
        row = {"owner": owner, "position": position, "text": text}
        database.execute(insert(ListTextRow), [row])


def columns_of(row: RunRow) -> dict[str, Any]:
    """Return the columns of a run that :func:`add_run_entries` reads."""
    return {name: getattr(row, name) for name in ("name", "tags", "note", "request")}


def add_run_entries(database: Session | Connection, position: int, row: Mapping[str, Any]) -> None:
    """Add what a new run is found by.

    Args:
        database: A transaction.
        position: Its position.
        row: Its columns, by name.
    """
    keys = find_keys(row["tags"], row["request"].get("options") or {})
    add_entries(database, RUNS, position, keys, find_text(row["name"], row["tags"], row["note"]))


def replace_labels(
    session: Session, owner: str, position: int, name: str, tags: Sequence[str], note: str
) -> None:
    """Replace tags and text of a row; its options stay.

    Args:
        session: A transaction.
        owner: Table of the row.
        position: Its position.
        name: Its name.
        tags: Its tags.
        note: Its note.
    """
    session.execute(
        delete(ListKeyRow).where(
            ListKeyRow.owner == owner, ListKeyRow.position == position, ListKeyRow.field == TAG
        )
    )
    session.execute(
        delete(ListTextRow).where(ListTextRow.owner == owner, ListTextRow.position == position)
    )
    add_entries(session, owner, position, find_keys(tags, {}), find_text(name, tags, note))


def remove_entries(session: Session, owner: str, positions: Sequence[int]) -> None:
    """Remove what removed rows were found by.

    Args:
        session: The transaction that removes the rows.
        owner: Table of the rows.
        positions: Their positions.
    """
    for first in range(0, len(positions), _AT_ONCE):
        part = positions[first : first + _AT_ONCE]
        for table in (ListKeyRow, ListTextRow):
            session.execute(
                delete(table).where(table.owner == owner, table.position.in_(part)),
                execution_options={"synchronize_session": False},
            )


# Databases limit the parameters of a statement.
_AT_ONCE = 1000


def _key_rows(owner: str, position: int, keys: set[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {"owner": owner, "field": field, "value": value, "position": position}
        for field, value in sorted(keys)
    ]
