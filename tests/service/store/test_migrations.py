"""The index of an earlier version is migrated with its content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text

from service.store.catalog import RunCatalog
from service.store.database import MIGRATIONS, Database
from service.store.tables import Table
from tests.support.index_databases import DATABASES

RUN = {
    "run_id": "'r'",
    "kind": "'run'",
    "state": "'succeeded'",
    "created_at": "1.5",
    "model": "'default'",
    "model_digest": "'d'",
    "trained": "false",
    "seed": "3",
    "samples": "2",
    "samples_done": "2",
    "config": "'{}'",
    "request": "'{}'",
    "warnings": "'[]'",
    "bytes": "7",
    "safe": "true",
    "last_event_id": "4",
}


def migrate(engine: Engine, to: str, *, down: bool = False) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, to)


def shape(engine: Engine) -> dict[str, Any]:
    """Return columns and indexes by table."""
    found = inspect(engine)
    return {
        table: (
            sorted(column["name"] for column in found.get_columns(table)),
            sorted(str(index["name"]) for index in found.get_indexes(table)),
        )
        for table in found.get_table_names()
        if table != "alembic_version"
    }


@pytest.fixture
def url(tmp_path: Path) -> str:
    return DATABASES.url_of(tmp_path)


def test_a_run_of_the_first_version_is_listed(url: str) -> None:
    engine = create_engine(url)
    migrate(engine, "0001")
    with engine.begin() as connection:
        names, values = ", ".join(RUN), ", ".join(RUN.values())
        connection.execute(text(f"INSERT INTO runs ({names}) VALUES ({values})"))
    engine.dispose()
    database = Database(url)
    row = RunCatalog(database).get("r")
    assert row is not None
    assert (row.seed, row.bytes, row.dataset, row.experiment_id) == (3, 7, None, None)
    # All rows of versions that did not store them.
    assert (row.arithmetic, row.version) == (1, None)
    database.close()


def test_migrations_make_the_tables_that_are_used(url: str) -> None:
    engine = create_engine(url)
    migrate(engine, "head")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
    made = shape(engine)
    Table.metadata.drop_all(engine)
    Table.metadata.create_all(engine)
    assert made == shape(engine)
    engine.dispose()


def test_each_version_can_be_downgraded(url: str) -> None:
    engine = create_engine(url)
    migrate(engine, "0001")
    first = shape(engine)
    migrate(engine, "head")
    migrate(engine, "0001", down=True)
    assert shape(engine) == first
    engine.dispose()
