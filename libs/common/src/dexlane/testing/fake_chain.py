"""A chain in memory for tests: blocks, reorganisations, a transaction pool and a fee market as strict as a real node.

chain = FakeChain(1)
chain.fund(account, 10**18)
rpc = chain.rpc()                  # implements dexlane.chain.rpc.Rpc
tx_hash = await rpc.send_raw_transaction(raw)
chain.mine()                       # includes what can pay, in order of the effective tip
chain.reorg(2, drop=[tx_hash])     # replaces two blocks; that transaction is gone from the pool as well
chain.execute = lambda tx: Outcome(success=False)
rpc.fail_next("send_raw_transaction", RpcUnavailable("lost"), after=True)    # accepted, but the answer is lost
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from dexlane.chain.answers import BlockId, Header, RawLog, Receipt
from dexlane.chain.signed_call import SignedCall
from dexlane.domain.fees import fee_parameters, next_base_fee
from dexlane.testing.fake_mempool import (
    Account,
    PooledTransaction,
    check_admission,
    check_replacement,
    decode_transaction,
    intrinsic_gas,
    refuse,
)
from dexlane.testing.fake_rpc import FakeRpc

GENESIS_TIME_S = 1_700_000_000
START_BASE_FEE_WEI = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeLog:
    """A log that a block or a transaction is to emit."""

    address: str
    topics: tuple[str, ...]
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What executing a transaction does. ``gas_used`` None means the intrinsic gas (half the limit with calldata)."""

    success: bool = True
    gas_used: int | None = None
    logs: tuple[FakeLog, ...] = ()


@dataclass(slots=True)
class FakeBlock:
    """A block with everything in it and the state after it."""

    header: Header
    logs: list[RawLog] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    transactions: list[PooledTransaction] = field(default_factory=list)
    nonces: dict[str, int] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)


class FakeChain:
    """The chain's side: make blocks, break them, decide what execution and calls give."""

    def __init__(self, chain_id: int = 1, *, block_time_s: int = 12, gas_limit: int = 30_000_000) -> None:
        self.id = chain_id
        self.block_time_s = block_time_s
        self.gas_limit = gas_limit
        self.blocks_to_finality = 2
        self.client_version = "anvil/v1.7.1"
        self.execute: Callable[[PooledTransaction], Outcome] = lambda tx: Outcome()
        """What a transaction does when it is included."""
        self.answer_call: Callable[[str, bytes, Header], bytes] = lambda to, data, header: b""
        """What ``eth_call`` gives; raise ``RpcError(3, "execution reverted", "0x...")`` for a revert."""
        self.answer_trial: Callable[[str, SignedCall, Header], None] = lambda sender, call, header: None
        """What trying out a signed call gives; raises as above."""
        self.codes: dict[str, bytes] = {}
        self.pool: dict[str, PooledTransaction] = {}
        self.next_base_fee_wei: int | None = None
        """Set to pin the base fee of the next block once, as ``anvil_setNextBlockBaseFeePerGas`` does."""
        self._salt = 0
        genesis = Header(
            0, self._hash(0, "0x" + "0" * 64), "0x" + "0" * 64, GENESIS_TIME_S, START_BASE_FEE_WEI, 0, gas_limit
        )
        self.blocks: list[FakeBlock] = [FakeBlock(genesis)]

    @property
    def tip(self) -> Header:
        """The newest header."""
        return self.blocks[-1].header

    def rpc(self) -> FakeRpc:
        """A client of its own faults, seeing this chain."""
        return FakeRpc(self)

    def fund(self, address: str, amount_wei: int) -> None:
        """Add to a balance at the tip; it survives reorganisations."""
        for block in self.blocks:
            block.balances[address.lower()] = block.balances.get(address.lower(), 0) + amount_wei

    def set_nonce(self, address: str, nonce: int) -> None:
        """Set the next nonce at the tip, as a foreign use of the key would."""
        self.blocks[-1].nonces[address.lower()] = nonce

    def mine(self, n: int = 1, *, logs: Sequence[FakeLog] = (), only: Collection[str] | None = None) -> list[Header]:
        """Add blocks. ``logs`` appear in the first; ``only`` restricts inclusion to these hashes (empty: none)."""
        made = []
        for index in range(n):
            block = self._next_block()
            self._include(block, only)
            for log in logs if index == 0 else ():
                self._add_log(block, log, "0x" + "f" * 64)
            self.blocks.append(block)
            made.append(block.header)
        return made

    def reorg(
        self,
        depth: int,
        *,
        drop: Iterable[str] = (),
        logs: Sequence[FakeLog] = (),
        reinclude: bool = True,
        longer: int = 0,
    ) -> list[Header]:
        """Replace the last ``depth`` blocks by as many others (and ``longer`` more).

        Transactions of the undone blocks return to the pool, except those in ``drop``, which vanish. With
        ``reinclude`` false the new blocks leave everything in the pool.
        """
        if not 0 < depth < len(self.blocks):
            raise ValueError(f"cannot undo {depth} of {len(self.blocks) - 1} blocks")
        undone, self.blocks = self.blocks[-depth:], self.blocks[:-depth]
        for block in undone:
            self.pool.update({tx.hash: tx for tx in block.transactions})
        for tx_hash in drop:
            self.pool.pop(tx_hash, None)
        self._salt += 1
        return self.mine(depth + longer, logs=logs, only=None if reinclude else ())

    def drop(self, tx_hash: str) -> None:
        """Evict a pending transaction from the pool."""
        self.pool.pop(tx_hash, None)

    def submit(self, raw: bytes) -> str:
        """Take a transaction into the pool, or raise the ``RpcError`` go-ethereum would answer."""
        tx = decode_transaction(raw)
        if tx.hash in self.pool:
            raise refuse("already known")
        state = self.blocks[-1]
        account = Account(state.nonces.get(tx.sender, 0), state.balances.get(tx.sender, 0))
        check_admission(tx, account, chain_id=self.id, gas_limit=self.gas_limit)
        for old in list(self.pool.values()):
            if (old.sender, old.nonce) == (tx.sender, tx.nonce):
                check_replacement(old, tx)
                del self.pool[old.hash]
        self.pool[tx.hash] = tx
        return tx.hash

    def resolve(self, block: BlockId) -> FakeBlock | None:
        """The block behind a number, tag or hash of the canonical chain."""
        if isinstance(block, str) and len(block) == 66:
            return next((known for known in self.blocks if known.header.hash == block), None)
        depth = {"latest": 0, "pending": 0, "safe": 1, "finalized": self.blocks_to_finality}
        number = (
            max(0, len(self.blocks) - 1 - depth[block]) if block in depth else 0 if block == "earliest" else int(block)
        )
        return self.blocks[number] if number < len(self.blocks) else None

    def _hash(self, number: int, parent: str) -> str:
        return "0x" + hashlib.sha256(f"{self.id}:{number}:{parent}:{self._salt}".encode()).hexdigest()

    def _next_block(self) -> FakeBlock:
        parent = self.blocks[-1]
        header = parent.header
        base_fee = self.next_base_fee_wei
        if base_fee is None:
            params = fee_parameters(self.id)
            base_fee = next_base_fee(header.base_fee_per_gas_wei, header.gas_used, header.gas_limit, params)
        self.next_base_fee_wei = None
        number = header.number + 1
        new = Header(
            number, self._hash(number, header.hash), header.hash, header.timestamp_s + self.block_time_s, base_fee, 0,
            self.gas_limit,
        )  # fmt: skip
        return FakeBlock(new, nonces=dict(parent.nonces), balances=dict(parent.balances))

    def _include(self, block: FakeBlock, only: Collection[str] | None) -> None:
        """Fill a block by effective tip, each sender's nonces in order, as far as gas and fee caps allow."""
        while True:
            ready = [tx for tx in self.pool.values() if self._can_include(tx, block, only)]
            if not ready:
                break
            base_fee = block.header.base_fee_per_gas_wei
            self._apply(max(ready, key=lambda tx: tx.effective_tip_wei(base_fee)), block)
        for tx in list(self.pool.values()):
            if tx.nonce < block.nonces.get(tx.sender, 0):
                del self.pool[tx.hash]

    def _can_include(self, tx: PooledTransaction, block: FakeBlock, only: Collection[str] | None) -> bool:
        return (
            (only is None or tx.hash in only)
            and tx.nonce == block.nonces.get(tx.sender, 0)
            and tx.max_fee_per_gas_wei >= block.header.base_fee_per_gas_wei
            and block.header.gas_used + tx.gas_limit <= block.header.gas_limit
            and block.balances.get(tx.sender, 0) >= tx.most_it_can_cost_wei
        )

    def _apply(self, tx: PooledTransaction, block: FakeBlock) -> None:
        outcome = self.execute(tx)
        default_gas = tx.gas_limit // 2 if tx.data else 0
        gas_used = max(intrinsic_gas(tx.data), outcome.gas_used or default_gas)
        base_fee = block.header.base_fee_per_gas_wei
        price = base_fee + tx.effective_tip_wei(base_fee)
        moved = tx.value_wei if outcome.success else 0
        block.balances[tx.sender] -= gas_used * price + moved
        if tx.to is not None:
            block.balances[tx.to] = block.balances.get(tx.to, 0) + moved
        block.nonces[tx.sender] = tx.nonce + 1
        block.header = replace(block.header, gas_used=block.header.gas_used + gas_used)
        logs = tuple(self._add_log(block, log, tx.hash) for log in (outcome.logs if outcome.success else ()))
        block.receipts.append(
            Receipt(tx.hash, block.header.ref, len(block.receipts), tx.sender, outcome.success, gas_used, price, logs)
        )
        block.transactions.append(tx)
        del self.pool[tx.hash]

    @staticmethod
    def _add_log(block: FakeBlock, log: FakeLog, tx_hash: str) -> RawLog:
        header = block.header
        raw = RawLog(
            log.address.lower(), log.topics, log.data, header.number, header.hash, tx_hash, len(block.logs)
        )  # fmt: skip
        block.logs.append(raw)
        return raw
