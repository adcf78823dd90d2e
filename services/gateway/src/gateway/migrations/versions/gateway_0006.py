"""Tokens of decisions by their place in the chain, for what forgets them."""

from __future__ import annotations

from alembic import op

revision = "gateway_0006"
down_revision = "gateway_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index("thought_tokens_by_entry", "thought_tokens", ["chain_id", "sequence"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("thought_tokens_by_entry", "thought_tokens")
