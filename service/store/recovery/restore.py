"""Rows of the index, made from the files of the data directory."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy.exc import IntegrityError

from energy_flow.choices import ENDED_STATES, RunKind, RunState
from energy_flow.errors import CheckpointError
from energy_flow.simulation.checkpoint import load
from service.problems import Problem
from service.safetensors_header import parse_header
from service.schemas.bodies import NAME_PATTERN, NAME_RULE
from service.store.atomic_files import UNFINISHED
from service.store.database import Database
from service.store.dataset_files import HEADER_BYTES
from service.store.descriptions.dataset_names import DatasetName
from service.store.descriptions.run import read_run
from service.store.list_entries import add_run_entries, columns_of
from service.store.names import DEFAULT, SERVED_DEFAULT, find_fault, find_like
from service.store.recovery.content import Kind
from service.store.recovery.errors import RecoveryError
from service.store.recovery.quarantine import Quarantine, QuarantinedEntry
from service.store.run_folder import CHUNKS, RunFolder
from service.store.tables import DatasetContentRow, DatasetRow, ModelRow, RunRow, Table
from service.store.trace_parts import PARTS
from service.store.verification.piece_digests import digest_whole


def make_content_row(path: Path) -> DatasetContentRow:
    """Return the row of the numbers of a dataset.

    Args:
        path: Its file.

    Raises:
        ValueError: The file is damaged.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        try:
            header = parse_header(file.read(HEADER_BYTES), size)
        except Problem as problem:
            raise ValueError(problem.detail) from None
        shapes = {} if header is None else {one.name: one.shape for one in header.tensors}
        if any(len(shape) != 2 for shape in shapes.values()) or "inputs" not in shapes:
            raise ValueError("it is no file of a dataset")
        file.seek(0)
        digest, pieces = digest_whole(file)
    if digest != path.stem:
        raise ValueError(f"its content has the digest {digest}, so it is damaged")
    rows, dim = shapes["inputs"]
    targets = shapes.get("targets")
    return DatasetContentRow(
        digest=digest,
        rows=rows,
        dim=dim,
        targets_dim=None if targets is None else targets[1],
        bytes=size,
        pieces=pieces.digests,
    )


def make_model_row(path: Path) -> ModelRow:
    """Return the row of a model; the time of its file is that of its creation.

    Args:
        path: Its checkpoint.

    Raises:
        ValueError: The checkpoint is damaged, or of a version that is not known.
        OSError: The file cannot be read.
    """
    if path.stem in (DEFAULT, SERVED_DEFAULT):
        raise ValueError(f"no model of the data directory can be called {path.stem!r}")
    try:
        processor = load(path)
    except CheckpointError as error:
        raise ValueError(str(error)) from None
    stat = path.stat()
    return ModelRow(
        name=path.stem,
        created_at=stat.st_mtime,
        trained=processor.trained,
        digest=processor.digest(),
        config=processor.config.to_dict(),
        bytes=stat.st_size,
    )


def make_run_row(path: Path) -> tuple[RunRow, str | None]:
    """Return the row of a run, and the id of the experiment of which it was a trial.

    A run that had begun becomes one that a crash interrupted; the next start ends it. A trial
    becomes a run of its own.

    Args:
        path: Its folder.

    Raises:
        ValueError: It has no description, or one that cannot be used.
        OSError: A file cannot be read.
    """
    row = read_run(path)
    row.bytes = RunFolder(path).size()
    # The next start checks the size, and waits until the files are on the disk.
    row.safe = False
    experiment_id = row.experiment_id
    row.experiment_id = row.trial = None
    if row.state not in ENDED_STATES:
        is_queued = row.kind == RunKind.RUN and not _has_begun(path)
        row.state = RunState.QUEUED if is_queued else RunState.RUNNING
    return row, experiment_id


def restore_entry(
    quarantine: Quarantine, database: Database, one: QuarantinedEntry, name: str | None
) -> str:
    """Put an entry of the quarantine back, with its rows.

    Args:
        quarantine: The quarantine.
        database: The index.
        one: The entry.
        name: New name of a dataset or a model; by default the one that it had.

    Returns:
        What it is now, such as ``model 'small'``.

    Raises:
        RecoveryError: It is damaged or cannot be described, or its name is used.
        OSError: It could not be moved.
        sqlalchemy.exc.SQLAlchemyError: The rows could not be written.
    """
    rows, what = _make_rows(one, name)
    names = [
        DatasetName(row.name, row.digest, row.created_at)
        for row in rows
        if isinstance(row, DatasetRow)
    ]
    place = quarantine.place(one, name if one.entry.kind is Kind.MODELS else None)
    if place.exists():
        raise RecoveryError(f"{place} exists already; {one.id} stays in quarantine")
    try:
        with database.session(durable=True) as session:
            for row in rows:
                if isinstance(row, DatasetRow | ModelRow):
                    fault = find_fault(row.name, find_like(session, type(row).name, row.name))
                    if fault is not None:
                        raise RecoveryError(
                            f"{what} cannot have the name {row.name!r}: {fault}; "
                            f"{_ADVICE[one.entry.kind]}"
                        )
                session.add(row)
                session.flush()
                if isinstance(row, RunRow):
                    add_run_entries(session, row.position, columns_of(row))
            # A crash before the commit leaves a file that the next start puts back.
            with quarantine.taken_out(one, place, names):
                session.commit()
    except IntegrityError:
        raise RecoveryError(f"{what} is in the index already; {_ADVICE[one.entry.kind]}") from None
    return what


_ADVICE = {
    Kind.DATASETS: "restore it under another name with --name",
    Kind.MODELS: "restore it under another name with --name",
    Kind.RUNS: "delete that run first",
}


def make_dataset_name(digest: str) -> str:
    """Return a name for a dataset whose name is not known.

    Args:
        digest: Its digest.
    """
    return f"dataset-{digest[:12]}"


def _make_rows(one: QuarantinedEntry, name: str | None) -> tuple[list[Table], str]:
    path = one.entry.path
    if name is not None and (
        re.fullmatch(NAME_PATTERN, name) is None or name in (DEFAULT, SERVED_DEFAULT)
    ):
        raise RecoveryError(f"--name cannot be {name!r}; a name {NAME_RULE}")
    if name is not None and one.entry.kind is Kind.RUNS:
        raise RecoveryError("a run has no name; leave out --name")
    try:
        match one.entry.kind:
            case Kind.DATASETS:
                content = make_content_row(path)
                names = [name] if name else [known.name for known in one.names]
                names = names or [make_dataset_name(content.digest)]
                named = [
                    DatasetRow(name=chosen, digest=content.digest, created_at=path.stat().st_mtime)
                    for chosen in names
                ]
                return [content, *named], f"dataset {', '.join(map(repr, names))}"
            case Kind.MODELS:
                model = make_model_row(path)
                model.name = name or model.name
                return [model], f"model {model.name!r}"
            case Kind.RUNS:
                run, _ = make_run_row(path)
                return [run], f"run {run.run_id}"
    except ValueError as error:
        raise RecoveryError(f"{one.id} cannot be restored: {error}") from None


def _has_begun(path: Path) -> bool:
    unfinished = any(path.glob(f"*{UNFINISHED}"))
    return unfinished or (path / CHUNKS).exists() or (path / PARTS).exists()
