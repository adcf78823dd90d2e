"""Swaps in concentrated-liquidity pools, equal to the wei to ``UniswapV3Pool.swap`` (v3-core 1.0.1).

The contract looks for the next tick one bitmap word (256 ticks of its spacing) at a time and rounds at every stop, also
where the word ends without an initialised tick. Those stops are kept: leaving them out is wrong by some units in one
quote out of five.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter
from typing import NamedTuple

from dexlane.domain.amm import sqrt_price_math as maths
from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.tick_math import (
    MAX_SQRT_RATIO,
    MAX_TICK,
    MIN_SQRT_RATIO,
    MIN_TICK,
    sqrt_ratio_at_tick,
    tick_at_sqrt_ratio,
)
from dexlane.values.amounts import PIPS_DENOMINATOR
from dexlane.values.pools import ConcentratedState, Tick

_MAX_INT256 = (1 << 255) - 1
_TICK_INDEX = itemgetter(0)


class TickSwap(NamedTuple):
    """A swap through ticks. ``amount_in`` includes ``fee_amount``, in the token paid in.

    ``remaining`` is what the pool could not carry before its price reached the limit: unspent input of an exact-in
    order, missing output of an exact-out order. ``ticks_crossed`` and ``words_read`` drive the gas estimate.
    """

    amount_in: int
    amount_out: int
    fee_amount: int
    remaining: int
    ticks_crossed: int
    words_read: int
    state: ConcentratedState


class Order(NamedTuple):
    """What is asked of a pool. ``amount`` counts the token paid in when ``exact_in``, else the token taken out.

    ``sqrt_price_limit_x96`` stops the swap at a price; None lets it use the whole pool, as the routers do.
    """

    zero_for_one: bool
    exact_in: bool
    amount: int
    sqrt_price_limit_x96: int | None = None


class _Step(NamedTuple):
    sqrt_price: int
    amount_in: int
    amount_out: int
    fee_amount: int


def swap(state: ConcentratedState, fee_pips: int, tick_spacing: int, order: Order) -> TickSwap:
    """Carry out an order as ``UniswapV3Pool.swap`` does and return what moved and the state after it.

    Raises ``InsufficientLiquidity`` where the contract refuses: pool not initialised, or price already at the limit.
    """
    if not 0 < order.amount <= _MAX_INT256:
        raise ValueError("an order's amount is a positive int256")
    return _Walk(state, fee_pips, tick_spacing, order).run()


class _Walk:
    """The loop of ``UniswapV3Pool.swap`` with its local variables."""

    __slots__ = ("cursor", "fee_pips", "limit", "liquidity", "order", "spacing", "sqrt_price", "state", "tick", "ticks")

    def __init__(self, state: ConcentratedState, fee_pips: int, spacing: int, order: Order) -> None:
        self.state = state
        self.ticks: tuple[Tick, ...] = state.ticks
        self.fee_pips = fee_pips
        self.spacing = spacing
        self.order = order
        self.sqrt_price = state.sqrt_price_x96
        self.tick = state.tick
        self.liquidity = state.liquidity
        self.limit = _price_limit(state, order)
        after = bisect_right(self.ticks, state.tick, key=_TICK_INDEX)
        self.cursor = after - 1 if order.zero_for_one else after
        """Index of the next initialised tick in the direction of the swap."""

    def run(self) -> TickSwap:
        zero_for_one, exact_in = self.order.zero_for_one, self.order.exact_in
        remaining, paid, received, fees, crossed, words = self.order.amount, 0, 0, 0, 0, 0
        compute = _step_in if exact_in else _step_out
        while remaining > 0 and self.sqrt_price != self.limit:
            next_tick, initialised = self._next_stop()
            stop_price = sqrt_ratio_at_tick(next_tick)
            target = max(stop_price, self.limit) if zero_for_one else min(stop_price, self.limit)
            step = compute(self, target, remaining)
            remaining -= step.amount_in + step.fee_amount if exact_in else step.amount_out
            paid += step.amount_in + step.fee_amount
            received += step.amount_out
            fees += step.fee_amount
            words += 1
            self.sqrt_price = step.sqrt_price
            if step.sqrt_price == stop_price:
                crossed += self._pass(next_tick, initialised=initialised)
        return TickSwap(paid, received, fees, remaining, crossed, words, self._state_after())

    def _next_stop(self) -> tuple[int, bool]:
        """The next initialised tick within the current bitmap word, else the last tick of the word.

        (``TickBitmap.nextInitializedTickWithinOneWord``.) Without liquidity nothing is rounded at the stops between,
        so the walk goes straight to the next initialised tick, unless a price limit may coincide with such a stop.
        """
        known = 0 <= self.cursor < len(self.ticks)
        by_word = self.liquidity > 0 or self.order.sqrt_price_limit_x96 is not None
        if self.order.zero_for_one:
            edge = (self.tick // self.spacing >> 8 << 8) * self.spacing if by_word else MIN_TICK
            if known and self.ticks[self.cursor].tick >= edge:
                return self.ticks[self.cursor].tick, True
            return max(edge, MIN_TICK), False
        edge = (self.tick // self.spacing + 1 | 255) * self.spacing if by_word else MAX_TICK
        if known and self.ticks[self.cursor].tick <= edge:
            return self.ticks[self.cursor].tick, True
        return min(edge, MAX_TICK), False

    def _pass(self, tick: int, *, initialised: bool) -> int:
        """Step over a tick; returns how many initialised ticks that crossed."""
        zero_for_one = self.order.zero_for_one
        self.tick = tick - 1 if zero_for_one else tick
        if not initialised:
            return 0
        net = self.ticks[self.cursor].liquidity_net
        self.liquidity += -net if zero_for_one else net
        self.cursor += -1 if zero_for_one else 1
        if self.liquidity < 0:
            raise ValueError(f"liquidity below zero after tick {tick}: the tick list contradicts the active liquidity")
        return 1

    def _state_after(self) -> ConcentratedState:
        # Only the last step can end between two stops; the contract's own tick is then recomputed from the price.
        boundary = self.tick + 1 if self.order.zero_for_one else self.tick
        at_stop = boundary <= MAX_TICK and self.sqrt_price == sqrt_ratio_at_tick(boundary)
        moved = self.sqrt_price != self.state.sqrt_price_x96
        tick = self.tick if at_stop or not moved else tick_at_sqrt_ratio(self.sqrt_price)
        return ConcentratedState.model_construct(
            kind="concentrated",
            sqrt_price_x96=self.sqrt_price,
            tick=tick,
            liquidity=self.liquidity,
            ticks=self.ticks,
        )


def _price_limit(state: ConcentratedState, order: Order) -> int:
    price = state.sqrt_price_x96
    if price == 0:
        raise InsufficientLiquidity("the pool is not initialised")
    widest = MIN_SQRT_RATIO + 1 if order.zero_for_one else MAX_SQRT_RATIO - 1
    limit = widest if order.sqrt_price_limit_x96 is None else order.sqrt_price_limit_x96
    allowed = widest <= limit < price if order.zero_for_one else price < limit <= widest
    if not allowed:
        raise InsufficientLiquidity(f"the price {price} has no room before the limit {limit}")
    return limit


def _step_in(walk: _Walk, target: int, remaining: int) -> _Step:
    """``SwapMath.computeSwapStep`` for an exact input."""
    current, liquidity, fee_pips = walk.sqrt_price, walk.liquidity, walk.fee_pips
    after_fee = remaining * (PIPS_DENOMINATOR - fee_pips) // PIPS_DENOMINATOR
    if walk.order.zero_for_one:
        amount_in = maths.amount0_delta_rounding_up(target, current, liquidity)
        reached = after_fee >= amount_in
        price = target if reached else maths.sqrt_price_after_adding_0(current, liquidity, after_fee)
        if not reached:
            amount_in = maths.amount0_delta_rounding_up(price, current, liquidity)
        amount_out = maths.amount1_delta(price, current, liquidity)
    else:
        amount_in = maths.amount1_delta_rounding_up(current, target, liquidity)
        reached = after_fee >= amount_in
        price = target if reached else maths.sqrt_price_after_adding_1(current, liquidity, after_fee)
        if not reached:
            amount_in = maths.amount1_delta_rounding_up(current, price, liquidity)
        amount_out = maths.amount0_delta(current, price, liquidity)
    if price != target:
        return _Step(price, amount_in, amount_out, remaining - amount_in)
    return _Step(price, amount_in, amount_out, _fee_on_top(amount_in, fee_pips))


def _step_out(walk: _Walk, target: int, remaining: int) -> _Step:
    """``SwapMath.computeSwapStep`` for an exact output; the amount out is capped at what was asked."""
    current, liquidity = walk.sqrt_price, walk.liquidity
    if walk.order.zero_for_one:
        amount_out = maths.amount1_delta(target, current, liquidity)
        reached = remaining >= amount_out
        price = target if reached else maths.sqrt_price_after_removing_1(current, liquidity, remaining)
        if price != target:
            amount_out = maths.amount1_delta(price, current, liquidity)
        amount_in = maths.amount0_delta_rounding_up(price, current, liquidity)
    else:
        amount_out = maths.amount0_delta(current, target, liquidity)
        reached = remaining >= amount_out
        price = target if reached else maths.sqrt_price_after_removing_0(current, liquidity, remaining)
        if price != target:
            amount_out = maths.amount0_delta(current, price, liquidity)
        amount_in = maths.amount1_delta_rounding_up(current, price, liquidity)
    return _Step(price, amount_in, min(amount_out, remaining), _fee_on_top(amount_in, walk.fee_pips))


def _fee_on_top(amount_in: int, fee_pips: int) -> int:
    return maths.div_rounding_up(amount_in * fee_pips, PIPS_DENOMINATOR - fee_pips)
