"""The tables of an executor, as ``migrations/versions`` creates them. Amounts are decimal text."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

intents = sa.Table(
    "execution_intents",
    metadata,
    sa.Column("intent_id", sa.String(32), primary_key=True),
    sa.Column("chain_id", sa.BigInteger),
    sa.Column("book_id", sa.String(32)),
    sa.Column("mode", sa.String(8)),
    sa.Column("purpose", sa.String(16)),
    sa.Column("reserved", sa.String(80)),
    sa.Column("is_open", sa.Boolean),
    sa.Column("created_ms", sa.BigInteger),
    sa.Column("payload", sa.LargeBinary),
    sa.Column("filled_ms", sa.BigInteger),
    sa.Column("filled_version", sa.BigInteger),
    sa.Column("filled_block", sa.BigInteger),
)
slots = sa.Table(
    "execution_slots",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True),
    sa.Column("account", sa.String(42), primary_key=True),
    sa.Column("nonce", sa.BigInteger, primary_key=True),
    sa.Column("intent_id", sa.String(32)),
    sa.Column("is_open", sa.Boolean),
    sa.Column("record", sa.Text),
    sa.Column("calldata", sa.LargeBinary),
)
attempts = sa.Table(
    "execution_attempts",
    metadata,
    sa.Column("intent_id", sa.String(32), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(8)),
    sa.Column("tx_hash", sa.String(66)),
    sa.Column("max_fee_per_gas_wei", sa.String(80)),
    sa.Column("max_priority_fee_per_gas_wei", sa.String(80)),
    sa.Column("raw", sa.LargeBinary),
    sa.Column("signed_ms", sa.BigInteger),
    sa.Column("block", sa.BigInteger),
)
accounts = sa.Table(
    "execution_accounts",
    metadata,
    sa.Column("book_id", sa.String(32), primary_key=True),
    sa.Column("account", sa.String(42), primary_key=True),
    sa.Column("block_number", sa.BigInteger),
    sa.Column("block_hash", sa.String(66)),
    sa.Column("opened_ms", sa.BigInteger),
)
leases = sa.Table(
    "execution_leases",
    metadata,
    sa.Column("service", sa.String(32), primary_key=True),
    sa.Column("chain_id", sa.BigInteger, primary_key=True),
    sa.Column("holder", sa.String(160)),
    sa.Column("epoch", sa.BigInteger),
    sa.Column("ttl_ms", sa.Integer),
    sa.Column("revision", sa.BigInteger),
)
