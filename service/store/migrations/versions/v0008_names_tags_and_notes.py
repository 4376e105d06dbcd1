"""Names, tags and notes, and what lists are searched by."""

import orjson
import sqlalchemy as sa
from alembic import op

from service.store.list_entries import find_keys, find_text

revision = "0008"
down_revision = "0007"
branch_labels: str | None = None
depends_on: str | None = None

INDEXES = {
    "runs": {
        "ix_runs_model": ["model", "position"],
        "ix_runs_created_at": ["created_at"],
        "ix_runs_name": ["name", "position"],
        "ix_runs_times": ["started_at", "ended_at"],
    },
    "experiments": {
        "ix_experiments_created_at": ["created_at"],
        "ix_experiments_times": ["started_at", "ended_at"],
    },
}
AT_ONCE = 1000


def upgrade() -> None:
    """Create the tables, the columns and the indexes, and fill the tables."""
    position = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "list_keys",
        sa.Column("owner", sa.String(16), primary_key=True),
        sa.Column("field", sa.String(128), primary_key=True),
        sa.Column("value", sa.String(200), primary_key=True),
        sa.Column("position", position, primary_key=True, autoincrement=False),
    )
    op.create_index("ix_list_keys_position", "list_keys", ["owner", "position"])
    op.create_table(
        "list_texts",
        sa.Column("owner", sa.String(16), primary_key=True),
        sa.Column("position", position, primary_key=True, autoincrement=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    # The defaults are for rows that exist. Adding a column so leaves a large table in place.
    op.add_column("runs", sa.Column("name", sa.String(200), nullable=False, server_default=""))
    for table, indexes in INDEXES.items():
        op.add_column(table, sa.Column("tags", sa.JSON, nullable=False, server_default="[]"))
        op.add_column(table, sa.Column("note", sa.Text, nullable=False, server_default=""))
        for name, columns in indexes.items():
            op.create_index(name, table, columns)
    _fill()


def downgrade() -> None:
    """Drop them."""
    for table, indexes in INDEXES.items():
        for name in indexes:
            op.drop_index(name, table)
        with op.batch_alter_table(table) as columns:
            columns.drop_column("note")
            columns.drop_column("tags")
    with op.batch_alter_table("runs") as columns:
        columns.drop_column("name")
    op.drop_table("list_texts")
    op.drop_table("list_keys")


def _fill() -> None:
    """Enter the options of all runs, and the names of experiments with the options of trials."""
    connection = op.get_bind()
    of_experiments: dict[str, set[tuple[str, str]]] = {}
    last = 0
    while True:
        query = sa.text(
            "SELECT position, request, experiment_id FROM runs WHERE position > :last "
            "ORDER BY position LIMIT :most"
        )
        rows = connection.execute(query, {"last": last, "most": AT_ONCE}).all()
        if not rows:
            break
        last = rows[-1].position
        for row in rows:
            request = orjson.loads(row.request) if isinstance(row.request, str) else row.request
            keys = find_keys([], request.get("options") or {})
            _insert("runs", row.position, keys)
            if row.experiment_id is not None:
                of_experiments.setdefault(row.experiment_id, set()).update(keys)
    query = sa.text("SELECT position, experiment_id, name FROM experiments")
    for row in connection.execute(query).all():
        _insert("experiments", row.position, of_experiments.get(row.experiment_id, set()))
        statement = "INSERT INTO list_texts (owner, position, text) VALUES ('experiments', :p, :t)"
        connection.execute(
            sa.text(statement), {"p": row.position, "t": find_text(row.name, [], "")}
        )


def _insert(owner: str, position: int, keys: set[tuple[str, str]]) -> None:
    rows = [{"o": owner, "f": field, "v": value, "p": position} for field, value in sorted(keys)]
    if rows:
        statement = "INSERT INTO list_keys (owner, field, value, position) VALUES (:o, :f, :v, :p)"
        op.get_bind().execute(sa.text(statement), rows)
