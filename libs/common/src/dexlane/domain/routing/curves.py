"""What a pool gives for an amount, fast enough to try thousands of pools: for choosing, never for trading.

Constant products are exact integers here too. Pools with ticks are followed in floating point, range by range and no
further than asked; that is right to about a part in ten million, and below :data:`_FINE` units, where single units
count, the exact quote is taken instead. Every other protocol is always quoted exactly.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from math import exp, floor, log
from operator import itemgetter
from types import MappingProxyType

from dexlane.domain.amm.adapters import ADAPTERS, Pair
from dexlane.domain.amm.adapters.uniswap_v2 import LEG_GAS as V2_LEG_GAS
from dexlane.domain.amm.adapters.uniswap_v3 import BITMAP_WORD_GAS, TICK_CROSSING_GAS
from dexlane.domain.amm.adapters.uniswap_v3 import LEG_GAS as V3_LEG_GAS
from dexlane.domain.amm.constant_product import MAX_RESERVE
from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.tick_math import MAX_TICK, MIN_TICK
from dexlane.values.amounts import PIPS_DENOMINATOR
from dexlane.values.pools import ConcentratedState, ConstantProductState, Pool, Protocol

Curve = Callable[[int], tuple[int, int]]
"""Amount in to (amount out, gas of the leg). ``NOTHING`` when the pool cannot take the whole amount."""

NOTHING = (0, 0)
_FINE = 1 << 24
_HALF_LOG_BASE = log(1.0001) / 2
"""The root price doubles its logarithm's count of ticks: ``sqrt(1.0001) ** tick`` is ``exp(tick * this)``."""


def curve_of(pool: Pool, pair: Pair) -> Curve:
    """The curve of a pool in one direction. It belongs to this state: a changed pool needs a new one."""
    build = _CURVES.get(pool.key.protocol, exact_curve)
    return build(pool, pair)


def exact_curve(pool: Pool, pair: Pair) -> Curve:
    """The exact quote as a curve."""
    adapter = ADAPTERS[pool.key.protocol]

    def quote(amount_in: int) -> tuple[int, int]:
        try:
            exact = adapter.exact_in(pool, pair, amount_in)
        except InsufficientLiquidity:
            return NOTHING
        return NOTHING if exact.partial else (exact.amount_out, exact.gas)

    return quote


def _constant_product(pool: Pool, pair: Pair) -> Curve:
    """``UniswapV2Library.getAmountOut`` (v2-periphery), the fee in millionths."""
    state = pool.state
    if not isinstance(state, ConstantProductState) or not (state.reserve0 and state.reserve1):
        return exact_curve(pool, pair)
    reserve_in, reserve_out = ADAPTERS[pool.key.protocol].virtual_reserves(pool, pair)
    room, base, keep = MAX_RESERVE - reserve_in, reserve_in * PIPS_DENOMINATOR, PIPS_DENOMINATOR - pool.key.fee_pips

    def quote(amount_in: int) -> tuple[int, int]:
        if amount_in > room:
            return NOTHING
        kept = amount_in * keep
        return kept * reserve_out // (base + kept), V2_LEG_GAS

    return quote


def _concentrated(pool: Pool, pair: Pair) -> Curve:
    state = pool.state
    if not isinstance(state, ConcentratedState) or state.sqrt_price_x96 == 0:
        return exact_curve(pool, pair)
    return _Ranges(pool, state, pair)


class _Ranges:
    """Ranges between initialised ticks in the direction of a swap, built as far as an order has reached.

    Range ``i`` lies behind ``i`` crossed ticks. Within it the pool is a constant product of its virtual reserves
    (Uniswap V3 whitepaper, 6.2), so out = rest * price * new price when token0 is sold, and its mirror otherwise.
    """

    __slots__ = (
        "_compressed",
        "_cursor",
        "_down",
        "_exact",
        "_got",
        "_keep",
        "_liquidities",
        "_liquidity",
        "_paid",
        "_price",
        "_prices",
        "_spacing",
        "_ticks",
        "_words",
    )

    def __init__(self, pool: Pool, state: ConcentratedState, pair: Pair) -> None:
        self._exact = exact_curve(pool, pair)
        self._down = pair.token_in == pool.key.token0.address
        self._keep = (PIPS_DENOMINATOR - pool.key.fee_pips) / PIPS_DENOMINATOR
        self._spacing = pool.key.tick_spacing
        self._ticks = state.ticks
        after = bisect_right(state.ticks, state.tick, key=itemgetter(0))
        self._cursor = after - 1 if self._down else after
        self._price = state.sqrt_price_x96 / (1 << 96)
        self._liquidity = state.liquidity
        self._paid, self._got = [0.0], [0.0]
        self._prices: list[float] = []
        self._liquidities: list[float] = []
        self._compressed: list[int] = [state.tick // self._spacing]
        self._words: list[int] = [0]

    def __call__(self, amount_in: int) -> tuple[int, int]:
        """(amount out, gas), or ``NOTHING`` when the ticks end before the amount does."""
        if amount_in < _FINE:
            return self._exact(amount_in)
        while amount_in > self._paid[-1]:
            if not self._extend():
                return NOTHING
        crossed = bisect_left(self._paid, amount_in) - 1
        price, liquidity = self._prices[crossed], self._liquidities[crossed]
        rest = (amount_in - self._paid[crossed]) * self._keep
        if self._down:
            reached = liquidity * price / (liquidity + rest * price)
            out = int(self._got[crossed] + rest * price * reached)
        else:
            reached = price + rest / liquidity
            out = int(self._got[crossed] + rest / (price * reached))
        if out < _FINE:
            return self._exact(amount_in)
        words = self._words[crossed]
        if self._words[crossed + 1] != words:
            words += self._edges(self._compressed[crossed], floor(log(reached) / _HALF_LOG_BASE) // self._spacing)
        return out, V3_LEG_GAS + TICK_CROSSING_GAS * crossed + BITMAP_WORD_GAS * words

    def _extend(self) -> bool:
        """Add the next range; False when there is none."""
        liquidity = self._liquidity
        known = 0 <= self._cursor < len(self._ticks)
        last = MIN_TICK if self._down else MAX_TICK
        if liquidity < 0 or not (known or (liquidity and self._compressed[-1] != last // self._spacing)):
            return False
        tick = self._ticks[self._cursor].tick if known else last
        price, end = self._price, exp(tick * _HALF_LOG_BASE)
        self._prices.append(price)
        self._liquidities.append(float(liquidity))
        low, high = (end, price) if self._down else (price, end)
        of_token0, of_token1 = max(0.0, liquidity / low - liquidity / high), max(0.0, liquidity * (high - low))
        paid, got = (of_token0, of_token1) if self._down else (of_token1, of_token0)
        self._paid.append(self._paid[-1] + paid / self._keep)
        self._got.append(self._got[-1] + got)
        compressed = tick // self._spacing
        edges = self._edges(self._compressed[-1], compressed - (not self._down)) if liquidity else 0
        self._words.append(self._words[-1] + edges)
        self._compressed.append(compressed - self._down)
        self._price = end
        if known:
            net = self._ticks[self._cursor].liquidity_net
            self._liquidity += -net if self._down else net
            self._cursor += -1 if self._down else 1
        return True

    def _edges(self, start: int, end: int) -> int:
        """How many ends of bitmap words lie between two compressed ticks."""
        return max(0, (start >> 8) - (end >> 8) if self._down else (end + 1 >> 8) - (start + 1 >> 8))


_CURVES: Mapping[Protocol, Callable[[Pool, Pair], Curve]] = MappingProxyType(
    {Protocol.UNISWAP_V2: _constant_product, Protocol.UNISWAP_V3: _concentrated}
)
