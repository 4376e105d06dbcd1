"""The description of a run in its folder: the columns of its row, as ``run.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from service.json_encoding import to_json
from service.store.tables import RunRow

DESCRIPTION = "run.json"
"""File of the description."""

FORMAT = 1

_RUNS = RunRow.metadata.tables[RunRow.__tablename__]
# The index numbers rows itself, and the others follow from the files. Digests of files that may be
# damaged by then would be of no use.
_COLUMNS = {
    column.key: column
    for column in _RUNS.columns
    if column.key not in ("position", "bytes", "safe", "digests")
}
# What JSON has in place of these types.
_TYPES: Mapping[type, tuple[type, ...]] = {float: (int, float), object: (dict, list)}


def describe_run(row: RunRow, **changes: Any) -> bytes:
    """Return the description of a run.

    Args:
        row: Row of the run.
        changes: Values by column that its row is about to get.
    """
    values = {name: getattr(row, name) for name in _COLUMNS}
    known = {name: value for name, value in changes.items() if name in _COLUMNS}
    return to_json({"format": FORMAT, **values, **known})


def read_run(folder: Path) -> RunRow:
    """Return the row that a run's folder describes, without its bytes.

    Args:
        folder: Folder of the run.

    Raises:
        ValueError: It has no description, or one that this version cannot read.
    """
    try:
        values = orjson.loads((folder / DESCRIPTION).read_bytes())
    except FileNotFoundError:
        raise ValueError(
            f"it has no {DESCRIPTION}, as runs of earlier versions and of unfinished work"
        ) from None
    except orjson.JSONDecodeError:
        raise ValueError(f"its {DESCRIPTION} is damaged") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ValueError(f"its {DESCRIPTION} has a form that this version does not read")
    # Earlier versions did not write these.
    values = {"name": "", "tags": [], "note": "", "worker_kinds": [], **values}
    faults = [name for name in _COLUMNS if not _is_value_of(name, values.get(name))]
    if faults:
        raise ValueError(f"its {DESCRIPTION} has no usable {', '.join(faults)}")
    if values["run_id"] != folder.name:
        raise ValueError(f"its {DESCRIPTION} is that of run {values['run_id']}")
    return RunRow(**{name: values.get(name) for name in _COLUMNS})


def _is_value_of(name: str, value: Any) -> bool:
    column = _COLUMNS[name]
    if value is None:
        return bool(column.nullable)
    kind = column.type.python_type
    return isinstance(value, _TYPES.get(kind, (kind,))) and isinstance(value, bool) == (
        kind is bool
    )
