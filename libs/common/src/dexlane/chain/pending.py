"""Swaps that wait to be included, as a node announces them. In memory, bounded, and never a reason to stop.

What is announced is a wish: it may change, fail or never be included, and what a node announces is a part of what there
is. Off unless a chain's settings ask for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from dexlane.chain.abi import AbiError
from dexlane.chain.answers import ChainTransaction, parse_transaction
from dexlane.chain.link import RpcError, RpcUnavailable
from dexlane.chain.subscriptions import Gap, Notification, Subscription, SubscriptionPolicy
from dexlane.chain.swap_calls import WantedSwap, wanted_swaps
from dexlane.runtime.clock import Clock
from dexlane.values.pools import Pool
from dexlane.values.pools import Protocol as PoolProtocol

SWAPS_KEPT = 4_096
HASHES_WAITING = 1_024
FETCHES_AT_ONCE = 8
KEPT_MS = 60_000
Mode = Literal["full", "hashes"]
Outcome = Literal["swap", "other", "unreadable", "gone", "dropped"]


@dataclass(frozen=True, slots=True)
class PendingSwap:
    """A transaction that wants to swap. Fees are wei per gas; ``seen_ms`` is Unix time."""

    tx_hash: str
    sender: str
    nonce: int
    router: str
    max_fee_per_gas_wei: int
    max_priority_fee_per_gas_wei: int
    swaps: tuple[WantedSwap, ...]
    seen_ms: int

    def pools_among(self, pools: Mapping[str, Pool]) -> list[str]:
        """Addresses of the known pools that it may touch, in the order of its hops. A V2 hop names no pool: every V2
        pool of the pair is one it may touch."""
        touched: dict[str, None] = {}
        for hop in (hop for swap in self.swaps for hop in swap.hops):
            pair = {hop.token_in, hop.token_out}
            for address, pool in pools.items():
                key = pool.key
                is_v2 = key.protocol is PoolProtocol.UNISWAP_V2
                right_kind = is_v2 if hop.fee_pips is None else not is_v2 and key.fee_pips == hop.fee_pips
                if right_kind and {key.token0.address, key.token1.address} == pair:
                    touched[address] = None
        return list(touched)


class TransactionSource(Protocol):
    """Where a transaction is looked up by its hash."""

    async def transaction(self, tx_hash: str) -> ChainTransaction | None:
        """The transaction; None when it is not known. Raises ``RpcError`` or ``RpcUnavailable``."""
        ...


class PendingMoments(Protocol):
    """What is worth counting."""

    def pending_seen(self, chain_id: int, outcome: Outcome) -> None:
        """A pending transaction was announced: a ``swap``, something ``other``, ``unreadable`` calldata, ``gone``
        before it could be looked up, or ``dropped`` because there were too many."""
        ...


class PendingSwaps:
    """The swaps of one chain that are known to be pending, and those who want to hear of each new one."""

    def __init__(
        self,
        chain_id: int,
        routers: Collection[str],
        *,
        source: TransactionSource,
        clock: Clock,
        moments: PendingMoments,
    ) -> None:
        self.chain_id = chain_id
        self._routers = frozenset(routers)
        self._source = source
        self._clock = clock
        self._moments = moments
        self._known: OrderedDict[str, PendingSwap] = OrderedDict()
        self._listeners: list[deque[PendingSwap]] = []
        self._hashes: asyncio.Queue[str] = asyncio.Queue(HASHES_WAITING)

    def waiting(self) -> Sequence[PendingSwap]:
        """What was announced in the last minute, oldest first, at most ``SWAPS_KEPT``."""
        self._forget_old()
        return tuple(self._known.values())

    def listen(self, capacity: int = 256) -> deque[PendingSwap]:
        """A queue that gets every new swap from now on; a reader that is too slow loses the oldest ones."""
        queue: deque[PendingSwap] = deque(maxlen=capacity)
        self._listeners.append(queue)
        return queue

    async def run(self, url: str, mode: Mode, policy: SubscriptionPolicy) -> None:
        """Listen for ever, on a connection of its own. ``full`` asks for whole transactions, ``hashes`` looks each one
        up."""
        topic = ("newPendingTransactions", True) if mode == "full" else ("newPendingTransactions",)
        announcements = Subscription(url, *topic, policy=policy, chain_id=self.chain_id)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(announcements.run())
            for _ in range(FETCHES_AT_ONCE if mode == "hashes" else 0):
                tasks.create_task(self._look_up())
            while True:
                self.take(await announcements.next())

    def take(self, announced: Notification) -> None:
        """Take one announcement: a transaction, a hash to be looked up, or a gap, which costs nothing here."""
        if isinstance(announced, Gap):
            return
        if isinstance(announced, str):
            if self._hashes.full():
                self._moments.pending_seen(self.chain_id, "dropped")
            else:
                self._hashes.put_nowait(announced)
            return
        self._moments.pending_seen(self.chain_id, self._read(announced))

    async def _look_up(self) -> None:
        while True:
            tx_hash = await self._hashes.get()
            try:
                found = await self._source.transaction(tx_hash)
            except (RpcError, RpcUnavailable):
                found = None
            outcome = "gone" if found is None or found.block is not None else self._keep(found)
            self._moments.pending_seen(self.chain_id, outcome)

    def _read(self, announced: Mapping[str, Any]) -> Outcome:
        try:
            return self._keep(parse_transaction(announced))
        except (KeyError, ValueError, TypeError, AttributeError):
            return "unreadable"

    def _keep(self, transaction: ChainTransaction) -> Outcome:
        if transaction.to not in self._routers:
            return "other"
        try:
            swaps = wanted_swaps(transaction.data, transaction.value_wei)
        except AbiError:
            return "unreadable"
        if not swaps:
            return "other"
        pending = PendingSwap(
            tx_hash=transaction.hash,
            sender=transaction.sender,
            nonce=transaction.nonce,
            router=transaction.to or "",
            max_fee_per_gas_wei=transaction.max_fee_per_gas_wei,
            max_priority_fee_per_gas_wei=transaction.max_priority_fee_per_gas_wei,
            swaps=tuple(swaps),
            seen_ms=self._clock.now_ms(),
        )
        self._known.pop(pending.tx_hash, None)
        self._known[pending.tx_hash] = pending
        self._forget_old()
        for queue in self._listeners:
            queue.append(pending)
        return "swap"

    def _forget_old(self) -> None:
        oldest_ms = self._clock.now_ms() - KEPT_MS
        while self._known:
            first = next(iter(self._known.values()))
            if first.seen_ms >= oldest_ms and len(self._known) <= SWAPS_KEPT:
                return
            del self._known[first.tx_hash]
