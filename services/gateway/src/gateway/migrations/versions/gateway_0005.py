"""The chain of decisions, and the documents that they were computed from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "gateway_0005"
down_revision = "gateway_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables. Decisions that are archived already are entered when the gateway starts."""
    op.create_table(
        "thought_chain",
        sa.Column("chain_id", sa.BigInteger, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("entry_hash", sa.String(64), nullable=False),
        sa.Column("decision_id", sa.String(32), nullable=True, unique=True),
        sa.Column("service", sa.String(32), nullable=True),
        sa.Column("outcome", sa.String(32), nullable=True),
        sa.Column("book_id", sa.String(32), nullable=True),
        sa.Column("occurred_at_ms", sa.BigInteger, nullable=True),
    )
    op.create_index("thought_chain_by_book", "thought_chain", ["book_id", "sequence"])
    op.create_index("thought_chain_by_outcome", "thought_chain", ["outcome", "sequence"])
    op.create_index("thought_chain_by_age", "thought_chain", ["occurred_at_ms"])
    op.create_table(
        "thought_tokens",
        sa.Column("token", sa.String(42), primary_key=True),
        sa.Column("chain_id", sa.BigInteger, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True),
    )
    op.create_table(
        "thought_documents",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("told_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("thought_documents_by_age", "thought_documents", ["told_ms"])


def downgrade() -> None:
    """Drop them."""
    for table in ("thought_documents", "thought_tokens", "thought_chain"):
        op.drop_table(table)
