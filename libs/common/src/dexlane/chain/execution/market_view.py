"""The market as planning sees it, put together from the mirror, the last values and the clock."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from dexlane.chain.execution.side_values import SideValues
from dexlane.domain.breakers.admission import Admission
from dexlane.domain.circumstances import Market
from dexlane.events.control import strictest
from dexlane.events.market import BlockApplied
from dexlane.runtime.clock import Clock
from dexlane.runtime.errors import Transient
from dexlane.runtime.pool_mirror import PoolMirror

REACH_S = 0.25
"""How long a verdict waits for its block, or for the pass over it."""
BLOCK_TIMES = 32
DEFAULT_BLOCK_TIME_S = 12


class Milestone:
    """A block number that grows, and those who wait for it."""

    def __init__(self) -> None:
        self._number = -1
        self._changed = asyncio.Event()

    def reached(self, number: int) -> None:
        """The number is now this; after a reorganisation it may be lower than before."""
        self._number = number
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_for(self, number: int) -> None:
        """Wait a moment until at least this number is reached; return in any case."""
        if self._number >= number:
            return
        try:
            async with asyncio.timeout(REACH_S):
                while self._number < number:
                    await self._changed.wait()
        except TimeoutError:
            return


def held_market(market: Market, admitted: Admission) -> Market:
    """The market as the breakers leave it to one book."""
    held_by = "; ".join(one for one in (market.held_by, admitted.reason) if one)
    status = strictest([market.status, admitted.status])
    return replace(market, status=status, held_by=held_by, entry_size_bps=admitted.size_bps)


class MarketView:
    """One chain's market. ``on_block`` must be told of every block that the mirror applied."""

    def __init__(
        self, mirror: PoolMirror, side: SideValues, clock: Clock, taxes: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        self._taxes = taxes
        self._mirror = mirror
        self._side = side
        self._clock = clock
        self._times_s: deque[int] = deque(maxlen=BLOCK_TIMES)
        self._received_ms = 0
        self._applied = Milestone()

    @property
    def tip(self) -> BlockApplied | None:
        """The block that the mirror shows; None before the first, and while a reorganisation is being followed."""
        event, tip = self._mirror.tip_event, self._mirror.tip
        # Mostly it is the very same value, and comparing two costs more.
        return event if event is not None and (event.block is tip or event.block == tip) else None

    async def on_block(self, event: BlockApplied) -> None:
        """The mirror applied a block."""
        self._times_s.append(event.timestamp_s)
        self._received_ms = self._clock.now_ms()
        self._applied.reached(event.block.number)

    async def reach(self, block_number: int) -> None:
        """Wait a moment until the mirror has reached a block; return in any case."""
        await self._applied.wait_for(block_number)

    def market(self) -> Market:
        """The market now, which stays so: the pools go on changing with every block, and a record is written later.
        ``Transient`` while there is no consistent state to plan on."""
        tip = self.tip
        if tip is None:
            raise Transient(f"the pool states of chain {self._mirror.chain_id} are not known at this moment")
        return Market(
            chain_id=self._mirror.chain_id,
            block=tip.block,
            timestamp_s=tip.timestamp_s,
            next_base_fee_wei=tip.next_base_fee_per_gas_wei,
            age_ms=max(0, self._clock.now_ms() - self._received_ms),
            block_time_s=self._block_time_s(),
            pool_book=self._mirror.book.frozen(),
            fee_quote=self._side.fee_quote(self._mirror.chain_id),
            status=self._side.status(self._mirror.chain_id),
            held_by=self._side.why_held(self._mirror.chain_id),
            taxes=self._taxes,
        )

    def _block_time_s(self) -> int:
        """Mean distance of the last blocks, rounded up, at least one second."""
        if len(self._times_s) < 2:
            return DEFAULT_BLOCK_TIME_S
        distance, steps = self._times_s[-1] - self._times_s[0], len(self._times_s) - 1
        return max(1, -(-distance // steps))
