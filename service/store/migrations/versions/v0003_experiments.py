"""Experiments, and runs that are their trials."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create the table, the columns and the indexes."""
    position = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "experiments",
        sa.Column("position", position, primary_key=True, autoincrement=True),
        sa.Column("experiment_id", sa.String(64), nullable=False, unique=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("cancelling", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("ended_at", sa.Float),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("trained", sa.Boolean, nullable=False),
        sa.Column("coord_version", sa.Integer, nullable=False),
        sa.Column("dataset", sa.String(64), nullable=False),
        sa.Column("dataset_digest", sa.String(64), nullable=False),
        sa.Column("dataset_from", sa.BigInteger, nullable=False),
        sa.Column("samples", sa.BigInteger, nullable=False),
        sa.Column("trials", sa.Integer, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("counts", sa.JSON),
        sa.Column("samples_done", sa.BigInteger, nullable=False),
        sa.Column("flow_steps", sa.BigInteger, nullable=False),
        sa.Column("warnings", sa.JSON, nullable=False),
        sa.Column("error", sa.JSON),
        sa.Column("last_event_id", sa.BigInteger, nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("idempotency_digest", sa.String(64)),
        sa.UniqueConstraint("idempotency_key", name="experiments_idempotency_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_experiments_state", "experiments", ["state", "position"])
    op.create_index("ix_experiments_kind", "experiments", ["kind", "position"])
    op.create_index("ix_experiments_model", "experiments", ["model"])
    op.create_index("ix_experiments_dataset", "experiments", ["dataset"])
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("experiment_id", sa.String(64)))
        runs.add_column(sa.Column("trial", sa.Integer))
        runs.create_unique_constraint("runs_trial", ["experiment_id", "trial"])
        runs.drop_index("ix_runs_state")
        runs.create_index("ix_runs_state", ["state", "position"])
        runs.create_index("ix_runs_kind", ["kind", "position"])
        runs.create_index("ix_runs_experiment_state", ["experiment_id", "state"])


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("runs") as runs:
        runs.drop_index("ix_runs_experiment_state")
        runs.drop_index("ix_runs_kind")
        runs.drop_index("ix_runs_state")
        runs.create_index("ix_runs_state", ["state"])
        runs.drop_constraint("runs_trial", type_="unique")
        runs.drop_column("trial")
        runs.drop_column("experiment_id")
    op.drop_table("experiments")
