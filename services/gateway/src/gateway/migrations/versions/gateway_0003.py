"""What was last heard of every live transaction."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "gateway_0003"
down_revision = "gateway_0002"
branch_labels = None
depends_on = None

ON_ITS_WAY = frozenset({"planned", "signed", "submitted", "pending", "bumped", "replaced", "dropped", "reorged"})


def upgrade() -> None:
    """Create the table, and fill it from what the archive still knows."""
    table = op.create_table(
        "live_transactions",
        sa.Column("intent_id", sa.String(32), primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("occurred_at_ms", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("live_transactions_open", "live_transactions", ["is_open"])
    newest: dict[str, tuple[int, str]] = {}
    for (body,) in op.get_bind().execute(sa.text("SELECT body FROM archive WHERE name = 'tx'")):
        event = json.loads(body)
        if event["mode"] == "live" and newest.get(event["intent_id"], (0, ""))[0] < event["sequence"]:
            newest[event["intent_id"]] = (event["sequence"], body)
    rows = [_row(body) for _, body in newest.values()]
    if rows:
        op.bulk_insert(table, rows)


def _row(body: str) -> dict[str, object]:
    event = json.loads(body)
    return {
        "intent_id": event["intent_id"],
        "sequence": event["sequence"],
        "is_open": event["state"] in ON_ITS_WAY,
        "occurred_at_ms": event["occurred_at_ms"],
        "body": body,
    }


def downgrade() -> None:
    """Drop it."""
    op.drop_table("live_transactions")
