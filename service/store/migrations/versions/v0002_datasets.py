"""Datasets, and runs that take their embeddings from one."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create the tables and the columns."""
    position = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "dataset_contents",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("dim", sa.BigInteger, nullable=False),
        sa.Column("targets_dim", sa.BigInteger),
        sa.Column("bytes", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "datasets",
        sa.Column("position", position, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column(
            "digest", sa.String(64), sa.ForeignKey("dataset_contents.digest"), nullable=False
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_datasets_digest", "datasets", ["digest"])
    op.add_column("runs", sa.Column("dataset", sa.String(64)))
    op.add_column("runs", sa.Column("dataset_digest", sa.String(64)))
    op.add_column("runs", sa.Column("dataset_from", sa.BigInteger))
    op.create_index("ix_runs_dataset_digest", "runs", ["dataset_digest"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_runs_dataset_digest", "runs")
    op.drop_column("runs", "dataset_from")
    op.drop_column("runs", "dataset_digest")
    op.drop_column("runs", "dataset")
    op.drop_table("datasets")
    op.drop_table("dataset_contents")
