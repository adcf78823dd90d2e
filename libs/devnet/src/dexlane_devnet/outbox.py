"""Transactions of one account in a fixed order: its nonces, what is not mined yet, and how to recover.

anvil 1.7.1 orders a block by maximum fee *without regard to nonces of one account*: of two waiting transactions the
later one with the higher maximum fee is tried first, found to have a nonce too high and dropped without a word. The
same happens behind a transaction whose gas limit no longer fits in the block, if a later one's does. Hence the two
rules here: while anything is under way the fee cap never rises, and every transaction has the same gas limit.
"""

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import Any

from dexlane_devnet.rpc import Rpc, RpcError
from dexlane_devnet.tape import TapeEvent

TIP_WEI = 50_000_000
GAS_LIMIT = 1_500_000
"""Of every transaction of the flow; the swap back to the start of the day crosses up to forty ticks."""
STALLED_BLOCKS = 5
SETTLED_READS = 3
SETTLE_PAUSE_S = 0.02
REFUSAL_PAUSE_S = 0.2
MAX_OUTSTANDING = 200
"""Back-pressure: more unmined transactions than this are never sent (anvil's automine collapses at some 2,000)."""


def market_fee_cap(next_base_fee_wei: int) -> int:
    """Fee cap of market transactions in wei: one and a half times the base fee, and the tip.

    anvil orders blocks by maximum fee, so a trader who offers the usual twice the base fee goes first.
    """
    return max(next_base_fee_wei * 3 // 2, 10**9) + TIP_WEI


def fee_fields(cap_wei: int) -> dict[str, str]:
    """The fee fields of a transaction request."""
    return {"maxFeePerGas": hex(cap_wei), "maxPriorityFeePerGas": hex(TIP_WEI)}


@dataclass
class Sent:
    """One transaction under way; ``event`` is the recorded swap it replays, if it does."""

    nonce: int
    to: str
    data: str
    tx_hash: str
    event: TapeEvent | None


class Outbox:
    """Sends for one account, in order, and learns from each block what was mined."""

    def __init__(self, rpc: Rpc, sender: str) -> None:
        self._rpc = rpc
        self._sender = sender
        self._next_nonce = 0
        self._confirmed = 0
        self._stalled_blocks = 0
        self._cap_wei = 0
        self._lock = asyncio.Lock()
        self._room = asyncio.Condition()
        self.outstanding: deque[Sent] = deque()
        self.next_base_fee_wei = 2 * 10**9
        self.lost_to_reorg = 0
        self.resyncs = 0

    async def open(self) -> None:
        """Learn the account's nonce; forget transactions an earlier run left in the pool."""
        await self._rpc.call("anvil_removePoolTransactions", self._sender)
        # A node that mines each transaction at once goes on for a moment with what it took out of the pool before.
        nonce, reads = await self._mined_nonce("latest"), 0
        while reads < SETTLED_READS:
            await asyncio.sleep(SETTLE_PAUSE_S)
            before, nonce = nonce, await self._mined_nonce("latest")
            reads = reads + 1 if nonce == before else 0
        self._next_nonce = self._confirmed = nonce

    async def send(self, to: str, data: str, event: TapeEvent | None = None) -> None:
        """Send one transaction, after waiting until there is room for it and its fee cap."""
        while True:
            async with self._room:
                await self._room.wait_for(self._may_send)
            async with self._lock:
                if not self.outstanding:
                    self._cap_wei = market_fee_cap(self.next_base_fee_wei)
                self._cap_wei = min(self._cap_wei, market_fee_cap(self.next_base_fee_wei))
                sent = Sent(self._next_nonce, to, data, "", event)
                if await self._submit(sent):
                    self._next_nonce += 1
                    self.outstanding.append(sent)
                    return
            await self._after_refusal()

    async def _after_refusal(self) -> None:
        """The base fee was too high or the nonce used up: learn the nonce if none of ours is under way, and wait for
        the next block, but not for long: a node that mines on demand has no next block while we send nothing."""
        async with self._lock:
            if not self.outstanding:
                self._next_nonce = await self._mined_nonce("latest")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REFUSAL_PAUSE_S), self._room:
                await self._room.wait()

    def _may_send(self) -> bool:
        if not self.outstanding:
            return True
        worn_out = self._cap_wei < self.next_base_fee_wei * 5 // 4
        return len(self.outstanding) < MAX_OUTSTANDING and not worn_out

    async def drained(self) -> None:
        """Wait until everything sent is mined."""
        async with self._room:
            await self._room.wait_for(lambda: not self.outstanding)

    async def on_block(self, number: int) -> list[Sent]:
        """Transactions mined up to block ``number``; recovers when a reorganisation or the node lost some."""
        count = await self._mined_nonce(hex(number))
        async with self._lock:
            if count < self._confirmed:
                self.lost_to_reorg += self._confirmed - count
                await self._resync(count)
                return []
            mined = []
            while self.outstanding and self.outstanding[0].nonce < count:
                mined.append(self.outstanding.popleft())
            self._confirmed = count
            self._stalled_blocks = 0 if mined or not self.outstanding else self._stalled_blocks + 1
            if self._stalled_blocks >= STALLED_BLOCKS:
                await self._resync(count)
        async with self._room:
            self._room.notify_all()
        return mined

    async def _resync(self, count: int) -> None:
        """Send everything under way again from nonce ``count``, at today's fees."""
        self.resyncs += 1
        self._stalled_blocks = 0
        await self._rpc.call("anvil_removePoolTransactions", self._sender)
        self._confirmed = count
        self._cap_wei = market_fee_cap(self.next_base_fee_wei)
        for offset, sent in enumerate(self.outstanding):
            sent.nonce = count + offset
            await self._submit(sent)
        self._next_nonce = count + len(self.outstanding)

    async def _submit(self, sent: Sent) -> bool:
        request: dict[str, Any] = {
            "from": self._sender,
            "to": sent.to,
            "data": sent.data,
            "gas": hex(GAS_LIMIT),
            "nonce": hex(sent.nonce),
            **fee_fields(self._cap_wei),
        }
        try:
            sent.tx_hash = await self._rpc.call("eth_sendTransaction", request)
        except RpcError:
            return False
        return True

    async def _mined_nonce(self, block: str) -> int:
        return int(await self._rpc.call("eth_getTransactionCount", self._sender, block), 16)
