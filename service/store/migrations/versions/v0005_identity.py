"""The id by which the index and its data directory recognise each other."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create the table; a start gives it its row."""
    op.create_table("identity", sa.Column("id", sa.String(32), primary_key=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_table("identity")
