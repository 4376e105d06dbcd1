"""Databases of PostgreSQL in which servers of the tests have their indexes, if they are to.

A data directory has a database of its own, also for several servers after or beside each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.postgres_cluster import UNSAFE, PostgresCluster, postgres_cluster


class IndexDatabases:
    """The databases; without a cluster, an index is a file of SQLite."""

    def __init__(self) -> None:
        self._cluster: PostgresCluster | None = None
        self._names: dict[Path, str] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run a cluster until the end of the block, for the indexes of all servers."""
        with postgres_cluster(UNSAFE) as self._cluster:
            yield
        self._cluster = None

    def settings_of(self, data_dir: Path) -> dict[str, str]:
        """Return the settings of a server by which a data directory has its index."""
        return {} if self._cluster is None else {"database_url": self.url_of(data_dir)}

    def url_of(self, data_dir: Path) -> str:
        """Return the URL of the index of a data directory."""
        if self._cluster is None:
            return f"sqlite:///{data_dir / 'index.sqlite3'}"
        path = data_dir.resolve()
        if path not in self._names:
            name = f"index_{hashlib.sha256(bytes(path)).hexdigest()[:16]}"
            self._cluster.execute(f"CREATE DATABASE {name}")
            self._names[path] = name
        return self._cluster.url(self._names[path])

    def drop_below(self, folder: Path) -> None:
        """Drop the databases of data directories in a folder, which need some megabytes each."""
        for path in [path for path in self._names if path.is_relative_to(folder.resolve())]:
            assert self._cluster is not None
            self._cluster.execute(f"DROP DATABASE {self._names.pop(path)} WITH (FORCE)")


DATABASES = IndexDatabases()
