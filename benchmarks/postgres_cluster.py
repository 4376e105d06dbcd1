"""A PostgreSQL of its own, in a folder, with the programs that are installed on this machine."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, create_engine

from benchmarks.server_process import free_port

USER = "postgres"
"""Who runs it where this process is root, whom PostgreSQL refuses; and the name of its role."""

START_SECONDS = 120

# A crash of the machine may lose everything, one of PostgreSQL nothing.
UNSAFE = ("fsync=off", "full_page_writes=off")


def find_programs() -> Path | None:
    """Return the folder of the newest PostgreSQL on this machine; ``None`` if there is none."""
    # Debian has them outside the path, a folder a version.
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    found = shutil.which("initdb")
    folders = [path for path in folders if (path / "initdb").exists()]
    return folders[-1] if folders else None if found is None else Path(found).resolve().parent


@dataclass(frozen=True, slots=True)
class PostgresCluster:
    """A PostgreSQL that runs, or can be started.

    Attributes:
        programs: folder of its programs.
        folder: folder of its data.
        port: port at 127.0.0.1.
        settings: ``NAME=VALUE`` settings.
    """

    programs: Path
    folder: Path
    port: int
    settings: tuple[str, ...] = ()

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database as SQLAlchemy takes it.

        Args:
            database: its name.
        """
        return URL.create(
            "postgresql+psycopg",
            username=USER,
            host="127.0.0.1",
            port=self.port,
            database=database,
        ).render_as_string(hide_password=False)

    def execute(self, *statements: str) -> None:
        """Execute statements outside of transactions.

        Args:
            statements: the statements.
        """
        engine = create_engine(self.url(), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                for statement in statements:
                    connection.exec_driver_sql(statement)
        finally:
            engine.dispose()

    def start(self) -> None:
        """Start it, and return once it accepts connections."""
        options = " ".join(
            f"-c {setting}"
            for setting in (
                "listen_addresses=127.0.0.1",
                f"port={self.port}",
                f"unix_socket_directories={self.folder}",
                "max_connections=300",
                *self.settings,
            )
        )
        log = str(self.folder / "server.log")
        self._control("start", "-w", "-t", str(START_SECONDS), "-l", log, "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        """Stop it, and return once it has ended.

        Args:
            mode: how, as pg_ctl takes it.
        """
        self._control("stop", "-w", "-m", mode)

    def _control(self, *arguments: str) -> None:
        run_program([str(self.programs / "pg_ctl"), "-D", str(self.folder / "data"), *arguments])


def run_program(command: Sequence[str]) -> None:
    """Run a program of PostgreSQL, as another user where this process is root.

    Args:
        command: its command line.

    Raises:
        RuntimeError: it has failed.
    """
    user = pwd.getpwnam(USER) if os.geteuid() == 0 else None
    # What it starts keeps files open; a pipe would never end.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"},
            user=None if user is None else user.pw_uid,
            group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
            check=False,
        )
        if done.returncode != 0:
            output.seek(0)
            raise RuntimeError(f"{command[0]} failed:\n{output.read().decode(errors='replace')}")


def give_to_postgres(folder: Path) -> None:
    """Let PostgreSQL own a folder.

    Args:
        folder: the folder.
    """
    if os.geteuid() == 0:
        shutil.chown(folder, USER)


@contextmanager
def postgres_cluster(settings: tuple[str, ...] = ()) -> Iterator[PostgresCluster]:
    """Run a new PostgreSQL until the end of the block.

    Args:
        settings: ``NAME=VALUE`` settings.

    Raises:
        RuntimeError: there are no programs, or one of them has failed.
    """
    programs = find_programs()
    if programs is None:
        raise RuntimeError(
            "there is no PostgreSQL; on Debian and Ubuntu: apt-get install postgresql"
        )
    # Other users may not look into folders of root.
    with tempfile.TemporaryDirectory(prefix="energy-flow-postgres-") as name:
        folder = Path(name)
        give_to_postgres(folder)
        initdb = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", USER]
        run_program([*initdb, "-A", "trust", "--locale=C.UTF-8", "--no-sync"])
        cluster = PostgresCluster(programs, folder, free_port(), settings)
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()
