"""Recordings made by the maths itself: a pool with random positions, traded at random, event by event."""

from __future__ import annotations

import random
from collections.abc import Sequence

from dexlane.domain.amm.concentrated import Order, swap
from dexlane.domain.amm.deltas import after_liquidity_change
from dexlane.domain.amm.tick_math import sqrt_ratio_at_tick
from dexlane.domain.tapes.tape import LiquidityRecord, PoolStart, Record, SwapRecord, Tape, TapePool
from dexlane.values.pools import ConcentratedState, Protocol

FEE_PIPS, SPACING = 500, 10


class Recorder:
    """A pool that logs what happens to it."""

    def __init__(self, seed: int, positions: int = 30) -> None:
        self.chance = random.Random(seed)  # noqa: S311  a repeatable course of events, no secret
        self.state = ConcentratedState(sqrt_price_x96=sqrt_ratio_at_tick(1_234) + 5, tick=1_234, liquidity=0)
        self.records: list[Record] = []
        self._change(-5_000, 6_000, 10**18)
        for _ in range(positions):
            self.mint()
        self.start = self.state
        self.records.clear()

    def _place(self) -> tuple[int, int, int, int]:
        number = len(self.records)
        return 100 + number // 3, 7 * (number % 3), 1_700_000_000 + 12 * (number // 3), 0

    def _change(self, lower: int, upper: int, liquidity: int) -> None:
        self.state = after_liquidity_change(self.state, lower, upper, liquidity)
        self.records.append(LiquidityRecord(*self._place(), lower, upper, liquidity, 1, 1))

    def mint(self) -> None:
        lower = SPACING * self.chance.randint(60, 180)
        self._change(lower, lower + SPACING * self.chance.randint(1, 40), self.chance.randint(10**16, 10**18))

    def burn(self) -> None:
        mints = [one for one in self.records if isinstance(one, LiquidityRecord) and one.liquidity_delta > 0]
        burnt = [one[4:6] for one in self.records if isinstance(one, LiquidityRecord) and one.liquidity_delta < 0]
        left = [one for one in mints if one[4:6] not in burnt]
        if left:
            one = self.chance.choice(left)
            self._change(one.tick_lower, one.tick_upper, -one.liquidity_delta)

    def trade(self) -> None:
        price = self.state.sqrt_price_x96
        zero_for_one = self.state.tick > 1_234
        amount, exact_in = int(10 ** self.chance.uniform(10, 16.5)), self.chance.random() < 0.5
        limit = None
        if self.chance.random() < 0.3:
            share = self.chance.randint(1, 10**6)
            limit = price - price * share // 10**9 if zero_for_one else price + price * share // 10**9
            amount, exact_in = 1 << 128, True
        result = swap(self.state, FEE_PIPS, SPACING, Order(zero_for_one, exact_in, amount, limit))
        amounts = (result.amount_in, -result.amount_out)
        self.state = result.state
        after = (self.state.sqrt_price_x96, self.state.liquidity, self.state.tick)
        self.records.append(SwapRecord(*self._place(), *(amounts if zero_for_one else amounts[::-1]), *after))

    def run(self, events: int) -> Recorder:
        for _ in range(events):
            self.chance.choices((self.trade, self.mint, self.burn), (10, 1, 1))[0]()
        return self

    def tape(self, records: Sequence[Record] | None = None, *, complete: bool) -> Tape:
        start = PoolStart(block_number=99, state=self.start, complete=True) if complete else PoolStart()
        pool = TapePool(protocol=Protocol.UNISWAP_V3, fee_pips=FEE_PIPS, tick_spacing=SPACING, start=start)
        return Tape((pool,), tuple(self.records if records is None else records), "made by a test", 1)
