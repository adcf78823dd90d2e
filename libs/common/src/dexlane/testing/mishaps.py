"""What befalls an executor in tests: the end of its process at one instruction, a signer that is halted, and somebody
else who has its key."""

from __future__ import annotations

from typing import Any

from dexlane.testing.live_bench import ACCOUNT, KEY, Home
from dexlane_signer import DynamicFeeTransaction, Level, NonceGuard, PrivateKey


class ProcessDiedError(Exception):
    """The process is gone at this instruction."""


async def dies(*_: Any, **__: Any) -> Any:
    """Whatever this stands for never happens."""
    raise ProcessDiedError


async def accepted_and_dies(rpc: Any, raw: bytes, **_: Any) -> Any:
    """In the place of ``submission.submit``: the node has the bytes, and nobody hears of it."""
    await rpc.send_raw_transaction(raw)
    raise ProcessDiedError


def foreign_transaction(nonce: int) -> bytes:
    """What somebody else who has the key signs in one of our slots."""
    transaction = DynamicFeeTransaction(
        chain_id=1,
        nonce=nonce,
        max_priority_fee_per_gas_wei=10**9,
        max_fee_per_gas_wei=10**10,
        gas_limit=21_000,
        to=ACCOUNT,
        value_wei=1,
        data=b"",
    )
    return PrivateKey.from_hex(KEY).sign_transaction(transaction).raw


def latch_signer(home: Home, level: Level) -> None:
    """Halt the signer by its record, or let it go on, as an operator's command does."""
    guard = NonceGuard(home.folder / "guard.db")
    if level is Level.ACTIVE:
        guard.resume("all is well")
    else:
        guard.halt("looked at", level=level)
    guard.close()
