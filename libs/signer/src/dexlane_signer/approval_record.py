"""Which intent used an approval: one approval, one intent per account, for ever."""

from __future__ import annotations

import sqlite3

from dexlane_signer.approvals import Statement
from dexlane_signer.denials import Denial, DenialReason

SCHEMA = """
CREATE TABLE IF NOT EXISTS approvals (
    chain_id INTEGER NOT NULL, address TEXT NOT NULL, approval_id TEXT NOT NULL, intent_id TEXT NOT NULL,
    PRIMARY KEY (chain_id, address, approval_id)
) STRICT, WITHOUT ROWID;
"""


def use_approval(
    db: sqlite3.Connection, statement: Statement, chain_id: int, address: str, intent_id: str
) -> Denial | None:
    """Give an approval to an intent of an account, inside the transaction of ``db``; or say who had it before."""
    key = (chain_id, address, statement.id)
    if db.execute("INSERT INTO approvals VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (*key, intent_id)).rowcount:
        return None
    [user] = db.execute(
        "SELECT intent_id FROM approvals WHERE chain_id = ? AND address = ? AND approval_id = ?", key
    ).fetchone()
    if user == intent_id:
        return None
    return Denial(DenialReason.APPROVAL_USED, f"the approval was used by intent {user}")
