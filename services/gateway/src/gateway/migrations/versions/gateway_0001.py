"""Books, statuses, positions and the archive."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "gateway_0001"
down_revision = None
branch_labels = ("gateway",)
depends_on = "journal_0001"


def upgrade() -> None:
    """Create the gateway's tables."""
    _create_what_people_set()
    _create_what_happened()


def _create_what_people_set() -> None:
    op.create_table(
        "book_versions",
        sa.Column("book_id", sa.String(32), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "loaded_files",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("loaded_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "statuses",
        sa.Column("chain_id", sa.BigInteger, primary_key=True),
        sa.Column("source", sa.String(48), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )


def _create_what_happened() -> None:
    op.create_table(
        "positions",
        sa.Column("book_id", sa.String(32), primary_key=True),
        sa.Column("account", sa.String(42), primary_key=True),
        sa.Column("token", sa.String(42), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "archive",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.String(32), nullable=False, unique=True),
        sa.Column("name", sa.String(48), nullable=False),
        sa.Column("chain_id", sa.BigInteger, nullable=False),
        sa.Column("book_id", sa.String(32), nullable=True),
        sa.Column("intent_id", sa.String(32), nullable=True),
        sa.Column("subject_id", sa.String(64), nullable=True),
        sa.Column("occurred_at_ms", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("archive_by_name", "archive", ["name", "sequence"])
    op.create_index("archive_by_intent", "archive", ["intent_id"])
    op.create_index("archive_by_subject", "archive", ["subject_id"])
    op.create_index("archive_by_age", "archive", ["occurred_at_ms"])


def downgrade() -> None:
    """Drop them."""
    for table in ("archive", "positions", "statuses", "loaded_files", "book_versions"):
        op.drop_table(table)
