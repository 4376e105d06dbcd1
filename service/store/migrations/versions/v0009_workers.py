"""Workers of runs, and their kinds."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the columns; of rows so far, workers, kinds and attempts are not known."""
    op.add_column("runs", sa.Column("worker", sa.String(64)))
    # The default is for rows that exist. Adding a column so leaves a large table in place.
    op.add_column("runs", sa.Column("worker_kinds", sa.JSON, nullable=False, server_default="[]"))
    op.add_column("runs", sa.Column("attempts", sa.Integer))


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("runs") as columns:
        for name in ("attempts", "worker_kinds", "worker"):
            columns.drop_column(name)
