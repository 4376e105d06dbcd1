"""A PostgreSQL of the session, and a new database of it for each test."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from benchmarks.postgres_cluster import UNSAFE, PostgresCluster, postgres_cluster

_NUMBERS = count()


@pytest.fixture(scope="session")
def cluster() -> Iterator[PostgresCluster]:
    with postgres_cluster(UNSAFE) as running:
        yield running


@pytest.fixture
def url(cluster: PostgresCluster) -> Iterator[str]:
    """Return the URL of an empty database."""
    name = f"test_{next(_NUMBERS)}"
    cluster.execute(f"CREATE DATABASE {name}")
    yield cluster.url(name)
    cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")
