"""The newest fills of a book, without a look at every intent. An intent that is written is not in this index: it gets
there when it is filled, which is not on the way of a trade."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "execution_0005"
down_revision = "execution_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    filled = sa.text("filled_ms IS NOT NULL AND reserved != '0'")
    columns = ["chain_id", "book_id", "filled_ms"]
    op.create_index(
        "execution_intents_filled", "execution_intents", columns, sqlite_where=filled, postgresql_where=filled
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_index("execution_intents_filled", "execution_intents")
