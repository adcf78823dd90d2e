"""Somebody else uses one of our keys: its executor must stop, say why, and open nothing from then on."""

from __future__ import annotations

from typing import Any

from dexlane.testing.builders import CHAIN_ID
from dexlane.values.books import Lane
from dexlane_signer import DynamicFeeTransaction, PrivateKey
from simulation.chain import MARKET
from simulation.lives import Life
from simulation.processes import ACCOUNTS, KEYS

PAYS_WEI = 400 * 10**9
"""Fee cap of a stolen transaction: it replaces whatever of ours waits in its slot."""
WORDS = ("somebody else holds its key", "somebody else uses its key")
NOTICED_AFTER_BLOCKS = 20
TRADES = "SELECT count(*) FROM execution_attempts WHERE kind = 'trade'"


class Thefts:
    """At most one in a world."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._executor = ""
        self._hash = ""
        self._trades_at_stop: int | None = None

    @property
    def happened(self) -> bool:
        """Whether a key was used, in a block or not."""
        return bool(self._hash)

    @property
    def holds(self) -> bool:
        """Whether the stolen transaction is in the canonical chain."""
        return self._hash in self._world.chain.where

    @property
    def is_over(self) -> bool:
        """Whether it holds and its executor has stopped for it some blocks ago."""
        if not self.holds or self._trades_at_stop is None:
            return False
        receipt, _ = self._world.chain.where[self._hash]
        return bool(self._world.chain.tip.number - receipt.block.number >= NOTICED_AFTER_BLOCKS)

    def happen(self, lane: Lane) -> None:
        """Send a transaction with the key of a lane, at its next nonce."""
        world, account = self._world, ACCOUNTS[lane]
        transaction = DynamicFeeTransaction(
            chain_id=CHAIN_ID,
            nonce=world.chain.blocks[-1].nonces.get(account, 0),
            max_priority_fee_per_gas_wei=PAYS_WEI,
            max_fee_per_gas_wei=PAYS_WEI,
            gas_limit=21_000,
            to=MARKET,
            value_wei=1,
            data=b"",
        )
        self._executor = f"{lane}-executor"
        self._hash = world.chain.submit(PrivateKey.from_hex(KEYS[lane]).sign_transaction(transaction).raw)
        world.counts["thefts"] += 1
        world.effect("somebody uses the key of", self._executor, self._hash[:10], transaction.nonce)

    def explains(self, life: Life, reason: str) -> bool:
        """Whether a process stopped because of it."""
        if life.name != self._executor or not self.happened or not any(words in reason for words in WORDS):
            return False
        if self._trades_at_stop is None:
            self._trades_at_stop = self._trades()
        return True

    def check(self) -> None:
        """It was noticed, and nothing was opened any more."""
        monitor = self._world.monitor
        if self._trades_at_stop is None:
            monitor.violated("foreign use", f"{self._executor} never noticed that somebody else uses its key")
        elif self._trades() != self._trades_at_stop:
            monitor.violated("foreign use", f"{self._executor} signed trades after it had stopped for it")

    def _trades(self) -> int:
        return int(self._world.monitor.rows(self._executor, TRADES)[0][0])
