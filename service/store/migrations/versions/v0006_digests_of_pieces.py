"""Digests of the pieces of the files of datasets and runs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels: str | None = None
depends_on: str | None = None

COLUMNS = {"dataset_contents": "pieces", "runs": "digests"}


def upgrade() -> None:
    """Add the columns.

    Those of datasets are filled when their rows are first read; runs so far have none.
    """
    for table, column in COLUMNS.items():
        op.add_column(table, sa.Column(column, sa.LargeBinary))


def downgrade() -> None:
    """Drop them."""
    for table, column in COLUMNS.items():
        with op.batch_alter_table(table) as columns:
            columns.drop_column(column)
