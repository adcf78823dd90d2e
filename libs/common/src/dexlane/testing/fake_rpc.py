"""A node client in memory: ``dexlane.chain.rpc.Rpc`` answered by a ``FakeChain``, with faults on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dexlane.chain.answers import BlockId, ChainTransaction, FeeHistory, Header, RawLog, Receipt
from dexlane.chain.rpc import RpcError
from dexlane.chain.signed_call import SignedCall
from dexlane.domain.fees import fee_parameters, next_base_fee
from dexlane.testing.fake_mempool import PooledTransaction

if TYPE_CHECKING:
    from dexlane.testing.fake_chain import FakeBlock, FakeChain


@dataclass(slots=True)
class _Fault:
    method: str
    error: Exception
    after: bool


class Faults:
    """Every call of a client, and which of them fail."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        """Every method called, in order."""
        self._faults: list[_Fault] = []

    def fail_next(self, method: str, error: Exception, *, after: bool = False) -> None:
        """Make the next call of a method fail, before it has an effect or ``after`` it (the answer is lost)."""
        self._faults.append(_Fault(method, error, after))

    def _enter(self, method: str) -> None:
        self.calls.append(method)
        self._raise_fault(method, after=False)

    def _raise_fault(self, method: str, *, after: bool) -> None:
        for fault in self._faults:
            if fault.method == method and fault.after == after:
                self._faults.remove(fault)
                raise fault.error


class FakeLogs(Faults):
    """Logs of a ``FakeChain`` over several blocks."""

    def __init__(self, chain: FakeChain) -> None:
        super().__init__()
        self.chain = chain

    def _state(self, block: BlockId) -> FakeBlock:
        found = self.chain.resolve(block)
        if found is None:
            raise RpcError(-32000, "header not found")
        return found

    async def logs(self, block_hash: str, addresses: Sequence[str]) -> list[RawLog]:
        """Logs of one canonical block."""
        self._enter("logs")
        found = self.chain.resolve(block_hash)
        if found is None:
            raise RpcError(-32000, "unknown block")
        return [log for log in found.logs if not addresses or log.address in addresses]

    async def logs_between(self, first: int, last: int, topics: Sequence[Sequence[str]]) -> list[RawLog]:
        """Logs of canonical blocks by their topics."""
        self._enter("logs_between")
        return [
            log
            for block in self.chain.blocks[first : last + 1]
            for log in block.logs
            if len(log.topics) >= len(topics)
            and all(topic in wanted for topic, wanted in zip(log.topics, topics, strict=False))
        ]


class FakeRpc(FakeLogs):
    """A client's side: ``dexlane.chain.rpc.Rpc`` on a ``FakeChain``, with faults on demand."""

    async def chain_id(self) -> int:
        """The chain's id."""
        self._enter("chain_id")
        return self.chain.id

    async def client_version(self) -> str:
        """What the chain says it is."""
        self._enter("client_version")
        return self.chain.client_version

    async def block_number(self) -> int:
        """Number of the tip."""
        self._enter("block_number")
        return self.chain.tip.number

    async def block(self, block: BlockId) -> Header | None:
        """A canonical header."""
        self._enter("block")
        found = self.chain.resolve(block)
        return None if found is None else found.header

    async def eth_call(
        self, to: str, data: bytes, *, block: BlockId = "latest", sender: str | None = None, value_wei: int = 0
    ) -> bytes:
        """What ``FakeChain.answer_call`` says."""
        self._enter("eth_call")
        return self.chain.answer_call(to, data, self._state(block).header)

    async def try_out(self, sender: str, call: SignedCall, *, block: BlockId = "latest") -> None:
        """What ``FakeChain.answer_trial`` says."""
        self._enter("try_out")
        self.chain.answer_trial(sender, call, self._state(block).header)

    async def eth_calls(
        self, calls: Sequence[tuple[str, bytes]], *, block: BlockId = "latest"
    ) -> list[bytes | RpcError]:
        """The same for many."""
        self._enter("eth_calls")
        header = self._state(block).header
        answers: list[bytes | RpcError] = []
        for to, data in calls:
            try:
                answers.append(self.chain.answer_call(to, data, header))
            except RpcError as error:
                answers.append(error)
        return answers

    async def fee_history(self, count: int, newest: BlockId, percentiles: Sequence[int]) -> FeeHistory:
        """Base fees, gas ratios, and tips of the included transactions weighted by gas."""
        self._enter("fee_history")
        last = self._state(newest).header.number
        rows = self.chain.blocks[max(0, last - count + 1) : last + 1]
        tip = rows[-1].header
        following = next_base_fee(tip.base_fee_per_gas_wei, tip.gas_used, tip.gas_limit, fee_parameters(self.chain.id))
        return FeeHistory(
            oldest_block=rows[0].header.number,
            base_fees_per_gas_wei=(*(row.header.base_fee_per_gas_wei for row in rows), following),
            gas_used_ratios=tuple(row.header.gas_used / row.header.gas_limit for row in rows),
            tips_per_gas_wei=tuple(_tips(row, percentiles) for row in rows),
        )

    async def transaction_count(self, address: str, *, block: BlockId = "latest") -> int:
        """Next nonce; ``pending`` counts what is executable in the pool."""
        self._enter("transaction_count")
        nonce = self._state(block).nonces.get(address.lower(), 0)
        if block == "pending":
            waiting = {tx.nonce for tx in self.chain.pool.values() if tx.sender == address.lower()}
            while nonce in waiting:
                nonce += 1
        return nonce

    async def balance(self, address: str, *, block: BlockId = "latest") -> int:
        """Balance in wei."""
        self._enter("balance")
        return self._state(block).balances.get(address.lower(), 0)

    async def code(self, address: str, *, block: BlockId = "latest") -> bytes:
        """What ``FakeChain.codes`` holds."""
        self._enter("code")
        return self.chain.codes.get(address.lower(), b"")

    async def send_raw_transaction(self, raw: bytes, *, on_sent: Callable[[], None] | None = None) -> str:
        """Submit to the pool."""
        self._enter("send_raw_transaction")
        if on_sent is not None:
            on_sent()
        tx_hash = self.chain.submit(raw)
        self._raise_fault("send_raw_transaction", after=True)
        return tx_hash

    async def receipt(self, tx_hash: str) -> Receipt | None:
        """The receipt in the canonical chain."""
        self._enter("receipt")
        return next((r for block in self.chain.blocks for r in block.receipts if r.tx_hash == tx_hash), None)

    async def transaction(self, tx_hash: str) -> ChainTransaction | None:
        """A pending or included transaction."""
        self._enter("transaction")
        for block in self.chain.blocks:
            for tx in block.transactions:
                if tx.hash == tx_hash:
                    return _view(tx, block)
        return _view(self.chain.pool[tx_hash], None) if tx_hash in self.chain.pool else None


def _view(tx: PooledTransaction, block: FakeBlock | None) -> ChainTransaction:
    return ChainTransaction(
        hash=tx.hash,
        sender=tx.sender,
        nonce=tx.nonce,
        to=tx.to,
        value_wei=tx.value_wei,
        data=tx.data,
        gas_limit=tx.gas_limit,
        max_fee_per_gas_wei=tx.max_fee_per_gas_wei,
        max_priority_fee_per_gas_wei=tx.max_priority_fee_per_gas_wei,
        block=None if block is None else block.header.ref,
    )


def _tips(block: FakeBlock, percentiles: Sequence[int]) -> tuple[int, ...]:
    """Gas-weighted percentiles of the effective tips, as ``eth_feeHistory`` gives them; zeros for an empty block."""
    base_fee = block.header.base_fee_per_gas_wei
    rows = sorted((receipt.effective_gas_price_wei - base_fee, receipt.gas_used) for receipt in block.receipts)
    found = []
    for percentile in percentiles:
        threshold, total, tip = block.header.gas_used * percentile // 100, 0, 0
        for paid, gas in rows:
            total, tip = total + gas, paid
            if total >= threshold:
                break
        found.append(tip)
    return tuple(found)
