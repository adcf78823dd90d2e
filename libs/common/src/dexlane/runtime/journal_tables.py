"""The tables of every journal, as ``migrations/versions`` creates them."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()
inbox = sa.Table(
    "inbox",
    metadata,
    sa.Column("consumer", sa.String(64), primary_key=True),
    sa.Column("message_id", sa.String(64), primary_key=True),
    sa.Column("received_ms", sa.BigInteger, nullable=False),
)
breakers = sa.Table(
    "breakers",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True),
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
)
breaker_probes = sa.Table(
    "breaker_probes",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True),
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Column("round", sa.BigInteger, primary_key=True),
    sa.Column("intent_id", sa.String(32), primary_key=True),
)
"""Entries that were begun while a breaker was half-open."""
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("event_id", sa.String(64), nullable=False),
    sa.Column("subject", sa.String(160), nullable=False),
    sa.Column("stream", sa.String(32), nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("sent_ms", sa.BigInteger, nullable=True),
)

own_fact = sa.select(outbox.c.sequence).where(
    outbox.c.sequence == sa.bindparam("sequence"), outbox.c.event_id == sa.bindparam("event_id")
)
own_note = sa.select(inbox.c.message_id).where(
    inbox.c.consumer == sa.bindparam("consumer"), inbox.c.message_id == sa.bindparam("message_id")
)
"""A row of the outbox, or of the inbox, that one transaction alone writes."""
