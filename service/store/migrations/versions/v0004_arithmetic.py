"""Version and arithmetic of runs and experiments."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels: str | None = None
depends_on: str | None = None

TABLES = ("runs", "experiments")


def upgrade() -> None:
    """Add the columns; all rows so far are of arithmetic 1, and their versions are not known."""
    for table in TABLES:
        # The default is for rows that exist. Adding a column so leaves a large table in place.
        op.add_column(
            table, sa.Column("arithmetic", sa.Integer, nullable=False, server_default="1")
        )
        op.add_column(table, sa.Column("version", sa.String(64)))


def downgrade() -> None:
    """Drop them."""
    for table in TABLES:
        with op.batch_alter_table(table) as columns:
            columns.drop_column("version")
            columns.drop_column("arithmetic")
