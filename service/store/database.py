"""The database of the index: connections, migrations and transactions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, select
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.json_encoding import to_json
from service.problems import (
    IndexUnreachable,
    Problem,
    damaged_index,
    is_disk_full,
    removal_on_full_disk,
    unavailable,
)
from service.store import postgres
from service.store.disk_reserve import DiskReserve
from service.store.index_file import explain_failures, find_index_file, show_url
from service.store.lock_wait import LockWait
from service.store.places import Places, guard_index
from service.store.tables import IdentityRow
from service.threads import is_request

Result = TypeVar("Result")

MIGRATIONS = Path(__file__).parent / "migrations"

MAX_WAIT_SECONDS: Final = 60.0
"""How long what the server does by itself waits for a locked index."""


SUPERSEDED: Final = "another server has become active on the index; use that one"

# More than a file of the database has to spare.
_TAKE_ROOM: Final = (
    "CREATE TEMPORARY TABLE room ON COMMIT DROP AS "
    "SELECT md5(number::text) FROM generate_series(1, 20000) AS number"
)


class NewerIndexError(RuntimeError):
    """The index was written by a newer version of the program."""


class Database:
    """The index, migrated to the newest version.

    Methods block; call them from any thread but the event loop's.

    Attributes:
        places: Paths that must stay what they are, or nothing is committed any more.

    Args:
        url: URL of the database, as SQLAlchemy takes it.
        reserve: Room for removals on a full disk, if any is kept.
        is_changing: Whether the index is migrated, and may be changed.
        request_seconds: Most seconds that a request waits for a locked index.

    Raises:
        NewerIndexError: The index was written by a newer version of the program.
        Problem: 503, the system does not let the process use the index.
        sqlalchemy.exc.SQLAlchemyError: The index cannot be used.
    """

    def __init__(
        self,
        url: URL | str,
        reserve: DiskReserve | None = None,
        *,
        is_changing: bool = True,
        request_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        self._reserve = reserve
        self.places = Places()
        self._wait = postgres.ReconnectWait()
        self._index_id: str | None = None
        self._is_full = False
        self._engine = _open(url, "NORMAL", is_changing=is_changing)
        # By whether a transaction is durable, and whether it is one of a request.
        self._engines = dict.fromkeys(product((False, True), repeat=2), self._engine)
        if self._engine.dialect.name == "sqlite":
            self._engines[True, False] = _open(url, "FULL", is_changing=is_changing)
            wait = LockWait(request_seconds)
            for is_durable, synchronous in ((False, "NORMAL"), (True, "FULL")):
                engine = _open(url, synchronous, is_changing=is_changing)
                wait.limit(engine)
                self._engines[is_durable, True] = engine
        elif self.is_shared:
            of_requests = _open(url, "", is_changing=is_changing, lock_seconds=request_seconds)
            self._engines |= {(False, True): of_requests, (True, True): of_requests}
            self._wait.apply(self._engine)
            for engine in (self._engine, of_requests):
                event.listen(engine, "handle_error", self._note_full_disk)
        if not is_changing:
            return
        try:
            migrate(self._engine)
        except Exception as error:
            # Before it reads anything, SQLite makes a file that all its processes share.
            if reserve is None or not is_disk_full(error):
                raise
            reserve.release()
            migrate(self._engine)
        self._guard()

    @contextmanager
    def session(self, *, durable: bool = False) -> Iterator[Session]:
        """Open a transaction that is committed at the end, or rolled back after an exception.

        Args:
            durable: Whether to wait until the transaction is on the disk. Without it SQLite can
                lose the last transactions in a power cut, though never a part of one.

        Yields:
            A session of the ORM.
        """
        engine = self._engines[durable, is_request()]
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def connection(self, *, durable: bool = False) -> Iterator[Connection]:
        """Open a transaction for plain statements, as :meth:`session` does.

        Args:
            durable: Whether to wait until the transaction is on the disk.

        Yields:
            A connection.
        """
        with self._engines[durable, is_request()].begin() as connection:
            yield connection

    def carry_out(self, change: Callable[[Session], Result], *, durable: bool = False) -> Result:
        """Carry out a transaction that may be repeated; return what the function returned.

        Unless it is for a request, it is repeated while the database cannot be reached.

        Args:
            change: Function that changes rows in a session.
            durable: Whether to wait until the transaction is on the disk.
        """
        while True:
            try:
                with self.session(durable=durable) as session:
                    return change(session)
            except IndexUnreachable:
                if is_request() or not self._wait.pause():
                    raise

    @property
    def is_shared(self) -> bool:
        """Whether the index is in PostgreSQL, where processes of other machines can change it."""
        return postgres.is_postgres(self._engine.url)

    @property
    def index_id(self) -> str:
        """The id of a shared index that this process keeps active."""
        assert self._index_id is not None
        return self._index_id

    def keep_active(self, index_id: str) -> None:
        """Change rows of a shared index from now on only while it has an id.

        A server that starts gives the index another id. It waits for the transactions that have
        found this one, and those after them change nothing. Nothing happens to another index.

        What the server does by itself waits from now on for a database that cannot be reached.

        Args:
            index_id: The id.
        """
        if not self.is_shared:
            return
        self._index_id = index_id
        self._wait.begin()
        for engine in set(self._engines.values()):
            postgres.check_writes(engine, self._check_active)

    def limit_waits(self, seconds: float) -> None:
        """Wait no longer than some seconds from now for a database that cannot be reached.

        Args:
            seconds: The seconds.
        """
        self._wait.limit(seconds)

    def find_full_disk(self) -> str | None:
        """Return that the disk of a shared index is full, if it was at the last attempt."""
        return "the disk of the database of the index is full" if self._is_full else None

    def look_for_room(self) -> None:
        """Find out whether the disk of a shared index has room again, if it was full."""
        if not self._is_full:
            return
        try:
            with self._engines[False, True].begin() as connection:
                connection.exec_driver_sql(_TAKE_ROOM)
        except Exception as error:
            self._is_full = is_disk_full(error)
        else:
            self._is_full = False

    @property
    def is_current(self) -> bool:
        """Whether the index has the tables of this version of the program.

        Raises:
            NewerIndexError: It was written by a newer version.
        """
        with self._engine.connect() as connection:
            return check_version(connection)

    @contextmanager
    def removing(self) -> Iterator[Removal]:
        """Remove rows, and within the block the files that belong to them, also on a full disk.

        Yields:
            What carries out the transactions.
        """
        try:
            yield Removal(self, self._reserve)
        finally:
            self.restore_reserve()

    def restore_reserve(self) -> None:
        """Keep room for removals again, if there is enough."""
        if self._reserve is not None:
            self._reserve.restore()

    def reuse_log(self) -> None:
        """Let SQLite write its log from the start again, in room that the file has already."""
        if self._engine.dialect.name != "sqlite":
            return
        # The database itself may have to grow for it.
        failures = (SQLAlchemyError, OSError, Problem)
        with contextlib.suppress(*failures), self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")

    def _guard(self) -> None:
        """Commit nothing once the files of the index, which are open now, are others."""
        path = find_index_file(self._engine.url)
        if path is not None:
            self.places.add(path)
            # SQLite makes its log again by itself.
            self.places.add(path.with_name(f"{path.name}-wal"), can_be_new=True)
        for engine in set(self._engines.values()):
            guard_index(engine, self.places)

    def _check_active(self, connection: Connection) -> None:
        """Refuse a change after another server has become active, or while that is not known."""
        while (lost := self.places.find_lost()) is not None:
            is_passing = isinstance(lost, IndexUnreachable) and not is_request()
            if not is_passing or not self._wait.pause():
                raise lost
        # Until the end of the transaction, nobody else can change the id.
        held = select(IdentityRow.id).where(IdentityRow.id == self._index_id)
        if connection.scalar(held.with_for_update(read=True, key_share=True)) is None:
            raise unavailable(SUPERSEDED)

    def _note_full_disk(self, context: ExceptionContext) -> None:
        if is_disk_full(context.original_exception):
            self._is_full = True

    def close(self) -> None:
        """Close all connections."""
        for engine in self._engines.values():
            engine.dispose()


class Removal:
    """Transactions that succeed on a full disk: each is repeated once there is more room.

    Args:
        database: The index.
        reserve: Room for removals on a full disk, if any is kept.
    """

    def __init__(self, database: Database, reserve: DiskReserve | None) -> None:
        self._database = database
        self._reserve = reserve

    def run(
        self, remove: Callable[[Session], Result], make_room: Callable[[], bool] | None = None
    ) -> Result:
        """Carry out a transaction, and wait until it is on the disk.

        Args:
            remove: Function that removes or changes rows in a session.
            make_room: Function that removes the files of the rows, if the reserved room does not
                suffice, and returns whether it has removed any. If the transaction fails
                nevertheless, the rows remain without files.

        Returns:
            What the function returned.

        Raises:
            Problem: 507, the disk is full, after files were to make room.
            sqlalchemy.exc.SQLAlchemyError: The transaction failed.
        """
        reserve = None if self._reserve is None else self._reserve.release
        are_removed = False
        for make_more_room in (self._database.reuse_log, reserve, make_room):
            if make_more_room is None:
                continue
            try:
                return self._run(remove)
            except Exception as error:
                if not is_disk_full(error):
                    raise
            are_removed = bool(make_more_room())
        try:
            return self._run(remove)
        except Exception as error:
            if make_room is None or not is_disk_full(error):
                raise
            raise removal_on_full_disk(are_removed=are_removed) from error

    def _run(self, remove: Callable[[Session], Result]) -> Result:
        return self._database.carry_out(remove, durable=True)


def check_version(connection: Connection) -> bool:
    """Refuse an index of a newer version of the program.

    Args:
        connection: Connection to the index.

    Returns:
        Whether it has the tables of this version.

    Raises:
        NewerIndexError: It was written by a newer version.
    """
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    found = set(MigrationContext.configure(connection).get_current_heads())
    scripts = ScriptDirectory(str(MIGRATIONS))
    unknown = found - {script.revision for script in scripts.walk_revisions()}
    if unknown:
        raise NewerIndexError(
            f"the index {show_url(connection.engine.url)} was written by a newer version of Energy "
            f"Flow: this one does not know its revision {', '.join(sorted(unknown))}; upgrade "
            "Energy Flow"
        )
    return found == set(scripts.get_heads())


def migrate(engine: Engine) -> None:
    """Migrate the tables to the newest version.

    Raises:
        NewerIndexError: They were written by a newer version of the program.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        if check_version(connection):
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _parse_json(text: str) -> Any:
    """Return the value of a column of JSON.

    Raises:
        Problem: 503, the index is damaged.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise damaged_index(f"a value is no JSON ({error})") from error


def _open(
    url: URL | str,
    synchronous: str,
    *,
    is_changing: bool,
    lock_seconds: float = MAX_WAIT_SECONDS,
) -> Engine:
    url = make_url(url)
    is_shared = postgres.is_postgres(url)
    engine = create_engine(
        url,
        connect_args=postgres.connect_options(url, lock_seconds) if is_shared else {},
        json_serializer=lambda value: to_json(value).decode(),
        json_deserializer=_parse_json,
        pool_pre_ping=True,
        # At most one connection for each thread.
        max_overflow=-1,
    )
    pragmas = (
        "journal_mode = WAL",  # Readers never wait for the writer.
        f"synchronous = {synchronous}",
        # Milliseconds to wait for another writer before an error.
        f"busy_timeout = {MAX_WAIT_SECONDS * 1e3:.0f}",
        f"query_only = {int(not is_changing)}",
    )

    def set_pragmas(connection: Any, _record: Any) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", set_pragmas)
    explain_failures(engine)
    return engine
