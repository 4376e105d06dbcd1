"""A new index for a data directory whose index is lost, made from the files."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from energy_flow.choices import ENDED_STATES
from service.problems import find_unusable_path
from service.store.atomic_files import UNFINISHED, fsync, write_bytes
from service.store.database import Database, check_version
from service.store.descriptions.dataset_names import FOLDER as NAMES_FOLDER
from service.store.descriptions.dataset_names import DatasetName, DatasetNames
from service.store.descriptions.run import DESCRIPTION, describe_run
from service.store.index_file import explain_failures, find_index_file, is_missing, show_url
from service.store.list_entries import add_run_entries, columns_of
from service.store.names import find_fault, make_name
from service.store.recovery.content import (
    SAFETENSORS,
    Entry,
    IndexContent,
    Kind,
    find_complete,
    read_index,
)
from service.store.recovery.errors import DataDirMismatchError, RecoveryError
from service.store.recovery.identity import (
    begin,
    check_place,
    make_id,
    read_mark,
    settle,
)
from service.store.recovery.restore import (
    make_content_row,
    make_dataset_name,
    make_model_row,
    make_run_row,
)
from service.store.tables import (
    DatasetContentRow,
    DatasetRow,
    IdentityRow,
    ModelRow,
    RunRow,
)

Progress = Callable[[int, int, str], None]
"""Called with the number of files read, the number of all, and the name of the next."""


@dataclass(frozen=True, slots=True)
class Renaming:
    """A name that is replaced.

    Attributes:
        kind: What has it.
        before: The name.
        after: The new name.
        reason: Why nothing new can have the name.
    """

    kind: Kind
    before: str
    after: str
    reason: str


@dataclass(slots=True)
class FoundRows:
    """The rows that the files describe.

    Attributes:
        contents: Numbers of datasets.
        datasets: Names of datasets.
        models: Models.
        runs: Runs, the oldest first.
        experiment_ids: Experiments whose trials are among the runs.
        skipped: Files of which no row can be made, with the reason.
        renamed: What gets another name, because nothing new can have the one of its file.
    """

    contents: list[DatasetContentRow] = field(default_factory=list)
    datasets: list[DatasetRow] = field(default_factory=list)
    models: list[ModelRow] = field(default_factory=list)
    runs: list[RunRow] = field(default_factory=list)
    experiment_ids: set[str] = field(default_factory=set)
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    renamed: list[Renaming] = field(default_factory=list)

    @property
    def ended_bytes(self) -> int:
        """Bytes of the runs that have ended."""
        return sum(row.bytes for row in self.runs if row.state in ENDED_STATES)


def find_rows(data_dir: Path, on_progress: Progress) -> FoundRows:
    """Read all files, and return the rows that they describe.

    Args:
        data_dir: The data directory.
        on_progress: Called before each file.

    Raises:
        OSError: The system does not let the process read a file.
        Problem: 503, likewise.
    """
    found = FoundRows()
    entries = list(find_complete(data_dir))
    for number, entry in enumerate(entries):
        on_progress(number, len(entries), entry.path.name)
        try:
            _add_row(found, entry)
        except (ValueError, OSError) as error:
            if find_unusable_path(error) is not None:
                # Nothing says that it is damaged, and the next start must not take it away.
                raise
            found.skipped.append((entry.path, str(error)))
    found.datasets = _name_datasets(data_dir, found)
    found.models.sort(key=lambda row: row.created_at)
    found.runs.sort(key=lambda row: row.created_at)
    _choose_names(found)
    return found


def rebuild_index(data_dir: Path, url: URL, found: FoundRows) -> Path | None:
    """Make a new index for a data directory; the index before, if it is a file, gets another name.

    Args:
        data_dir: The data directory, locked.
        url: URL of the index.
        found: Its rows.

    Returns:
        The new name of the index before, if there was one.

    Raises:
        RecoveryError: The rows contradict each other.
        OSError: A file could not be written.
        sqlalchemy.exc.SQLAlchemyError: The index could not be written.
    """
    _rename_files(data_dir, found)
    new = make_id()
    if url.get_backend_name() != "sqlite":
        with closing(Database(url)) as database:
            # The rows and the id appear together.
            begin(data_dir, new, None)
            _fill(database, found, new)
        settle(data_dir, new)
        return None
    index = find_index_file(url)
    assert index is not None, "an index in memory is refused before"
    index = index.absolute()
    unfinished = index.with_name(f".{uuid.uuid4().hex}{UNFINISHED}")
    try:
        with closing(Database(URL.create("sqlite", database=str(unfinished)))) as database:
            _fill(database, found, new)
        fsync(unfinished)
        begin(data_dir, new, None)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    before = _move_aside(index)
    unfinished.rename(index)
    fsync(index.parent)
    settle(data_dir, new)
    return before


def check_replaceable(data_dir: Path, url: URL) -> None:
    """Refuse to replace an index that is not lost.

    Args:
        data_dir: The data directory.
        url: URL of the index.

    Raises:
        RecoveryError: The index belongs to the directory, is no file and has rows or is in memory,
            or is in a folder that does not exist.
        DataDirMismatchError: A folder is in the place of the id of the directory.
        NewerIndexError: The index was written by a newer version of the program.
        Problem: 503, the system does not let the process use the index.
        sqlalchemy.exc.SQLAlchemyError: The index cannot be reached.
    """
    check_place(data_dir)
    if is_missing(url):
        index = find_index_file(url)
        if index is not None and not index.absolute().parent.is_dir():
            folder = index.absolute().parent
            raise RecoveryError(f"the folder {folder} does not exist; check --database-url")
        return
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and find_index_file(url) is None:
        raise RecoveryError("an index in memory cannot be rebuilt; leave out --database-url")
    try:
        content = inspect_index(url)
    except OperationalError:
        # It cannot be reached, which does not mean that it is damaged.
        raise
    except DatabaseError:
        return
    if content.is_empty:
        return
    if not is_sqlite:
        raise RecoveryError(
            f"the index {show_url(url)} has rows; empty that database or choose another "
            "--database-url, then rebuild"
        )
    if _belongs(data_dir, content):
        raise RecoveryError(
            f"the index {show_url(url)} belongs to the data directory and is not lost; to rebuild "
            "it nevertheless, move it away first"
        )


def inspect_index(url: URL) -> IndexContent:
    """Return what an index has, and change nothing.

    Args:
        url: URL of the index, which exists.

    Raises:
        NewerIndexError: It was written by a newer version of the program.
        Problem: 503, the system does not let the process use it.
        sqlalchemy.exc.SQLAlchemyError: It cannot be read.
    """
    engine = create_engine(url)
    explain_failures(engine)
    try:
        with engine.connect() as connection:
            check_version(connection)
            return read_index(connection)
    finally:
        engine.dispose()


def _belongs(data_dir: Path, content: IndexContent) -> bool:
    try:
        mark = read_mark(data_dir)
    except DataDirMismatchError:
        # Without the id, only the content shows it.
        return _have_common(data_dir, content)
    if mark is None:
        # Both may come from a version without ids.
        return content.id is None and _have_common(data_dir, content)
    return content.id is not None and content.id in mark.ids


def _have_common(data_dir: Path, content: IndexContent) -> bool:
    return any(entry.identity in content.known for entry in find_complete(data_dir))


def _add_row(found: FoundRows, entry: Entry) -> None:
    match entry.kind:
        case Kind.DATASETS:
            found.contents.append(make_content_row(entry.path))
        case Kind.MODELS:
            found.models.append(make_model_row(entry.path))
        case Kind.RUNS:
            row, experiment_id = make_run_row(entry.path)
            if experiment_id is not None:
                found.experiment_ids.add(experiment_id)
            found.runs.append(row)


def _name_datasets(data_dir: Path, found: FoundRows) -> list[DatasetRow]:
    """Return the rows of the names; content that nothing refers to gets a name from its digest."""
    digests = {row.digest for row in found.contents}
    names = [
        name for name in DatasetNames(data_dir / NAMES_FOLDER).find_all() if name.digest in digests
    ]
    referred = {name.digest for name in names} | {row.dataset_digest for row in found.runs}
    for digest in sorted(digests - referred):
        created_at = (data_dir / Kind.DATASETS / f"{digest}.safetensors").stat().st_mtime
        names.append(DatasetName(make_dataset_name(digest), digest, created_at))
    names.sort(key=lambda name: name.created_at)
    return [
        DatasetRow(name=one.name, digest=one.digest, created_at=one.created_at) for one in names
    ]


def _choose_names(found: FoundRows) -> None:
    """Give what has a name that the server would refuse another one, also in the rows of runs."""
    lost = [path.stem for path, _ in found.skipped if path.parent.name == Kind.MODELS]
    for kind, rows, taken in (
        (Kind.DATASETS, found.datasets, []),
        (Kind.MODELS, found.models, lost),
    ):
        # The oldest keeps its name.
        refused: list[tuple[DatasetRow | ModelRow, str]] = []
        for row in rows:
            reason = find_fault(row.name, taken)
            if reason is None:
                taken.append(row.name)
            else:
                refused.append((row, reason))
        for row, reason in refused:
            after = make_name(row.name, taken)
            taken.append(after)
            found.renamed.append(Renaming(kind, row.name, after, reason))
            row.name = after
    for run in found.runs:
        run.model = _find_name(found, Kind.MODELS, run.model)
        if run.dataset is not None:
            run.dataset = _find_name(found, Kind.DATASETS, run.dataset)


def _find_name(found: FoundRows, kind: Kind, name: str) -> str:
    renamed = (one.after for one in found.renamed if (one.kind, one.before) == (kind, name))
    return next(renamed, name)


def _rename_files(data_dir: Path, found: FoundRows) -> None:
    """Rename the files of renamed models; the next start writes the names of datasets.

    The runs are described first, so that a repetition after a crash has the same names.
    """
    models = {one.before: one.after for one in found.renamed if one.kind is Kind.MODELS}
    after = {one.after for one in found.renamed}
    for run in found.runs:
        if run.model in after or run.dataset in after:
            write_bytes(data_dir / Kind.RUNS / run.run_id / DESCRIPTION, describe_run(run))
    folder = data_dir / Kind.MODELS
    for name, new in models.items():
        (folder / f"{name}{SAFETENSORS}").rename(folder / f"{new}{SAFETENSORS}")
    if models:
        fsync(folder)


def _fill(database: Database, found: FoundRows, new: str) -> None:
    try:
        with database.session(durable=True) as session:
            for rows in (found.contents, found.datasets, found.models, found.runs):
                session.add_all(rows)
                session.flush()
            for run in found.runs:
                add_run_entries(session, run.position, columns_of(run))
            session.add(IdentityRow(id=new))
    except IntegrityError as error:
        raise RecoveryError(f"two files describe the same thing: {error.orig}") from None


def _move_aside(index: Path) -> Path | None:
    """Give an index another name, with the files that SQLite adds to it."""
    if not index.exists():
        return None
    engine = create_engine(URL.create("sqlite", database=str(index)))
    # Of a damaged one, these files are kept.
    with suppress(DatabaseError), engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    engine.dispose()
    aside = index.with_name(f"{index.name}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.old")
    for suffix in ("-wal", "-shm", "-journal", ""):
        path = index.with_name(index.name + suffix)
        if path.exists():
            path.rename(aside.with_name(aside.name + suffix))
    return aside
