"""A chain with tokens, Permit2 and a router, whose blocks can be replaced: what trades do depends on the block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from coincurve import PublicKey

from dexlane.chain import abi
from dexlane.chain.answers import Header, Receipt
from dexlane.chain.permit2 import PERMIT2
from dexlane.testing.fake_chain import FakeBlock, FakeChain, Outcome
from dexlane.testing.fake_mempool import PooledTransaction, decode_transaction
from dexlane.testing.live_bench import ROUTER, transfer
from dexlane_signer import UNSIGNED, PermitSingle
from dexlane_signer.addresses import public_key_address
from dexlane_signer.router_calls import RouterCall, RouterPermit, RouterSwap, decode_execute

APPROVE, BALANCE, ALLOWANCE = "095ea7b3", "70a08231", "dd62ed3e"
MARKET = "0x" + "77" * 20
"""Who is on the other side of every trade."""


@dataclass
class Tokens:
    """Balances by (token, holder), allowances by (token, owner, spender), permit nonces by (owner, token, spender)."""

    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    allowances: dict[tuple[str, str, str], int] = field(default_factory=dict)
    permits: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def copy(self) -> Tokens:
        """The state that the next block begins with."""
        return Tokens(dict(self.balances), dict(self.allowances), dict(self.permits))


class SimulatedChain(FakeChain):
    """``luck(tx_hash, block_hash)`` gives what a trade brings beyond its minimum, in bps; None makes it revert."""

    def __init__(self, chain_id: int) -> None:
        super().__init__(chain_id, block_time_s=12)
        self.luck: Callable[[str, str], int | None] = lambda _tx, _block: 10
        self.base_fee_after: Callable[[Header], int] = lambda header: header.base_fee_per_gas_wei
        self.tokens: dict[str, Tokens] = {self.tip.hash: Tokens()}
        self.where: dict[str, tuple[Receipt, PooledTransaction]] = {}
        """Receipts of the canonical chain."""
        self.known: dict[str, PooledTransaction] = {}
        """Everything that was ever submitted."""
        self._decoded: dict[bytes, PooledTransaction] = {}
        self._calls: dict[str, tuple[RouterCall, PermitSingle, bool]] = {}
        self._building: FakeBlock | None = None
        self.codes[ROUTER] = b"\1"
        self.execute = self._execute
        self.answer_call = self._answer

    def give(self, token: str, holder: str, amount: int) -> None:
        """Put tokens into an account, at the tip."""
        self.tokens[self.tip.hash].balances[token, holder] = amount

    def decode(self, raw: bytes) -> PooledTransaction:
        """A raw transaction, decoded once."""
        tx = self._decoded.get(raw)
        if tx is None:
            tx = self._decoded[raw] = decode_transaction(raw)
        return tx

    def submit(self, raw: bytes) -> str:
        """Take a transaction into the pool."""
        tx = self.decode(raw)
        taken = super().submit(raw)
        self.known[tx.hash] = tx
        return taken

    def mine(self, *arguments: Any, **options: Any) -> list[Header]:
        """Add blocks."""
        first = len(self.blocks)
        made = super().mine(*arguments, **options)
        for block in self.blocks[first:]:
            for tx, receipt in zip(block.transactions, block.receipts, strict=True):
                self.where[tx.hash] = (receipt, tx)
        return made

    def reorg(self, depth: int, **options: Any) -> list[Header]:
        """Replace blocks."""
        for block in self.blocks[-depth:]:
            for tx in block.transactions:
                self.where.pop(tx.hash, None)
        return super().reorg(depth, **options)

    def _next_block(self) -> FakeBlock:
        self.next_base_fee_wei = self.base_fee_after(self.tip)
        block = super()._next_block()
        self.tokens[block.header.hash] = self.tokens[block.header.parent_hash].copy()
        self._building = block
        return block

    def _execute(self, tx: PooledTransaction) -> Outcome:
        block = self._building
        assert block is not None
        tokens = self.tokens[block.header.hash]
        selector = tx.data[:4].hex()
        if tx.to == ROUTER:
            return self._trade(tx, tokens, block.header)
        if selector == APPROVE and tx.to is not None:
            spender = "0x" + tx.data[16:36].hex()
            tokens.allowances[tx.to, tx.sender, spender] = int.from_bytes(tx.data[36:68], "big")
        return Outcome()

    def _trade(self, tx: PooledTransaction, tokens: Tokens, header: Header) -> Outcome:
        """As the router does it: deadline, permit, allowance, balance, minimum out; else everything reverts."""
        known = self._calls.get(tx.hash)
        if known is None:
            known = self._calls[tx.hash] = _read(tx)
        call, permit, is_permitted = known
        swaps = [step for step in call.steps if isinstance(step, RouterSwap)]
        token_in, amount_in = swaps[0].token_in, swaps[0].amount_in
        token_out, minimum = swaps[-1].token_out, swaps[-1].minimum_out
        bonus = self.luck(tx.hash, header.hash)
        nonce_key = (tx.sender, permit.token, permit.spender)
        fails = (
            bonus is None
            or not is_permitted
            or header.timestamp_s > call.deadline_s
            or permit.nonce != tokens.permits.get(nonce_key, 0)
            or permit.amount < amount_in
            or tokens.allowances.get((token_in, tx.sender, PERMIT2), 0) < amount_in
            or tokens.balances.get((token_in, tx.sender), 0) < amount_in
        )
        if fails or bonus is None:
            return Outcome(success=False)
        received = minimum + minimum * bonus // 10_000
        tokens.permits[nonce_key] = permit.nonce + 1
        tokens.allowances[token_in, tx.sender, PERMIT2] -= amount_in
        tokens.balances[token_in, tx.sender] -= amount_in
        tokens.balances[token_out, tx.sender] = tokens.balances.get((token_out, tx.sender), 0) + received
        return Outcome(
            logs=(transfer(token_in, tx.sender, MARKET, amount_in), transfer(token_out, MARKET, tx.sender, received))
        )

    def _answer(self, to: str, data: bytes, header: Header) -> bytes:
        tokens, selector = self.tokens[header.hash], data[:4].hex()
        first = "0x" + data[16:36].hex()
        if to == PERMIT2:
            token, spender = "0x" + data[48:68].hex(), "0x" + data[80:100].hex()
            return abi.uint(0) + abi.uint(0) + abi.uint(tokens.permits.get((first, token, spender), 0))
        if selector == BALANCE:
            return abi.uint(tokens.balances.get((to, first), 0))
        if selector == ALLOWANCE:
            return abi.uint(tokens.allowances.get((to, first, "0x" + data[48:68].hex()), 0))
        return b""


def _read(tx: PooledTransaction) -> tuple[RouterCall, PermitSingle, bool]:
    """The call, its permit, and whether that is signed by who sent it."""
    call = decode_execute(tx.data)
    step = next(step for step in call.steps if isinstance(step, RouterPermit))
    if step.signature == UNSIGNED:
        return call, step.permit, False
    recoverable = step.signature[:64] + bytes((step.signature[64] - 27,))
    digest = step.permit.digest(chain_id=tx.chain_id)
    signer = PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    return call, step.permit, public_key_address(signer.format(compressed=False)) == tx.sender
