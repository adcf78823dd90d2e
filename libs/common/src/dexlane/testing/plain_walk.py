"""``UniswapV3Pool.swap`` as the contract writes it: a walk from stop to stop over a bitmap of ticks, nothing summed up.

The measure for ``dexlane.domain.amm.concentrated``: slow, line by line after v3-core 1.0.1 (``UniswapV3Pool``,
``TickBitmap``, ``SwapMath``), and sharing with it nothing but the arithmetic of prices.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dexlane.domain.amm import sqrt_price_math as maths
from dexlane.domain.amm.concentrated import Order, TickSwap
from dexlane.domain.amm.tick_math import MAX_SQRT_RATIO, MAX_TICK, MIN_SQRT_RATIO, MIN_TICK, sqrt_ratio_at_tick
from dexlane.values.pools import ConcentratedState


@dataclass
class PlainPool:
    """The tick mapping and bitmap of a pool, made once as the contract's storage is."""

    state: ConcentratedState
    fee_pips: int
    spacing: int
    nets: dict[int, int] = field(init=False)
    bitmap: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.nets = {tick.tick: tick.liquidity_net for tick in self.state.ticks}
        self.bitmap = {}
        for tick in self.nets:
            compressed = tick // self.spacing
            self.bitmap[compressed >> 8] = self.bitmap.get(compressed >> 8, 0) | 1 << (compressed & 255)

    def next_tick(self, tick: int, *, lte: bool) -> tuple[int, bool]:
        """``TickBitmap.nextInitializedTickWithinOneWord``."""
        compressed = tick // self.spacing
        if lte:
            bit = compressed & 255
            masked = self.bitmap.get(compressed >> 8, 0) & ((1 << bit) - 1 + (1 << bit))
            found = compressed - (bit - (masked.bit_length() - 1)) if masked else compressed - bit
            return found * self.spacing, masked != 0
        bit = (compressed + 1) & 255
        masked = self.bitmap.get(compressed + 1 >> 8, 0) & ~((1 << bit) - 1)
        lowest = (masked & -masked).bit_length() - 1
        found = compressed + 1 + (lowest - bit) if masked else compressed + 1 + (255 - bit)
        return found * self.spacing, masked != 0


def walk(pool: PlainPool, order: Order) -> TickSwap:
    """What the contract's loop does. ``ValueError`` where it refuses to begin."""
    down, exact_in, amount, asked = order
    limit = asked if asked is not None else MIN_SQRT_RATIO + 1 if down else MAX_SQRT_RATIO - 1
    price, tick, liquidity = pool.state.sqrt_price_x96, pool.state.tick, pool.state.liquidity
    if not (MIN_SQRT_RATIO < limit < price if down else price < limit < MAX_SQRT_RATIO):
        raise ValueError("SPL")
    remaining, paid, received, fees, crossed, words = amount, 0, 0, 0, 0, 0
    while remaining and price != limit:
        words += 1
        start_price = price
        stop, initialised = pool.next_tick(tick, lte=down)
        stop = min(max(stop, MIN_TICK), MAX_TICK)
        stop_price = sqrt_ratio_at_tick(stop)
        target = max(stop_price, limit) if down else min(stop_price, limit)
        price, amount_in, amount_out, fee = _swap_step((price, target), liquidity, remaining, order, pool.fee_pips)
        remaining -= amount_in + fee if exact_in else amount_out
        paid, received, fees = paid + amount_in + fee, received + amount_out, fees + fee
        if price == stop_price:
            if initialised:
                liquidity += -pool.nets[stop] if down else pool.nets[stop]
                crossed += 1
            tick = stop - 1 if down else stop
        elif price != start_price:
            tick = contract_tick(price)
    return TickSwap(paid, received, fees, remaining, crossed, words, price, tick, liquidity, pool.state.ticks)


def contract_tick(sqrt_price_x96: int) -> int:
    """``TickMath.getTickAtSqrtRatio`` by the contract's binary logarithm."""
    ratio = sqrt_price_x96 << 32
    msb = ratio.bit_length() - 1
    mantissa = ratio >> msb - 127 if msb >= 128 else ratio << 127 - msb
    log_2 = msb - 128 << 64
    for shift in range(63, 49, -1):
        mantissa = mantissa * mantissa >> 127
        carry = mantissa >> 128
        log_2 |= carry << shift
        mantissa >>= carry
    log_sqrt10001 = log_2 * 255738958999603826347141
    low = log_sqrt10001 - 3402992956809132418596140100660247210 >> 128
    high = log_sqrt10001 + 291339464771989622907027621153398088495 >> 128
    return low if low == high or sqrt_ratio_at_tick(high) > sqrt_price_x96 else high


def _swap_step(
    prices: tuple[int, int], liquidity: int, remaining: int, order: Order, fee_pips: int
) -> tuple[int, int, int, int]:
    """``SwapMath.computeSwapStep``: (price reached, amount in without fee, amount out, fee)."""
    (current, target), down, exact_in = prices, order.zero_for_one, order.exact_in
    amount_in = amount_out = 0
    if exact_in:
        after_fee = remaining * (1_000_000 - fee_pips) // 1_000_000
        amount_in = _input(target, current, liquidity, down=down)
        reached = target if after_fee >= amount_in else _after_input(current, liquidity, after_fee, down=down)
    else:
        amount_out = _output(target, current, liquidity, down=down)
        reached = target if remaining >= amount_out else _after_output(current, liquidity, remaining, down=down)
    whole = reached == target
    if not (whole and exact_in):
        amount_in = _input(reached, current, liquidity, down=down)
    if not (whole and not exact_in):
        amount_out = _output(reached, current, liquidity, down=down)
    if not exact_in:
        amount_out = min(amount_out, remaining)
    if exact_in and not whole:
        return reached, amount_in, amount_out, remaining - amount_in
    return reached, amount_in, amount_out, maths.div_rounding_up(amount_in * fee_pips, 1_000_000 - fee_pips)


def _input(target: int, current: int, liquidity: int, *, down: bool) -> int:
    if down:
        return maths.amount0_delta_rounding_up(target, current, liquidity)
    return maths.amount1_delta_rounding_up(current, target, liquidity)


def _output(target: int, current: int, liquidity: int, *, down: bool) -> int:
    if down:
        return maths.amount1_delta(target, current, liquidity)
    return maths.amount0_delta(current, target, liquidity)


def _after_input(current: int, liquidity: int, amount: int, *, down: bool) -> int:
    after = maths.sqrt_price_after_adding_0 if down else maths.sqrt_price_after_adding_1
    return after(current, liquidity, amount)


def _after_output(current: int, liquidity: int, amount: int, *, down: bool) -> int:
    after = maths.sqrt_price_after_removing_1 if down else maths.sqrt_price_after_removing_0
    return after(current, liquidity, amount)
