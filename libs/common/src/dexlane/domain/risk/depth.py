"""How much a pool gives before its price has moved by two per cent.

The same measure for all kinds of pool, so that a deep narrow range and a shallow wide one compare. For a
concentrated pool it is the swap of ``dexlane.domain.amm.concentrated`` stopped at a price limit; for a
constant-product pool the closed form of ``x * y = k``, for pools of other curves a search on exact quotes between their
first two tokens.
"""

from __future__ import annotations

from math import isqrt
from typing import NamedTuple

from dexlane.domain.amm.adapters import ADAPTERS, Pair
from dexlane.domain.amm.concentrated import Order, swap
from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.quoting import spot_price_ratio, virtual_reserves
from dexlane.domain.amm.tick_math import MAX_SQRT_RATIO, MIN_SQRT_RATIO
from dexlane.values.amounts import BPS_DENOMINATOR
from dexlane.values.pools import ConcentratedState, ConstantProductState, Pool, Protocol

DEPTH_BPS = 200
"""The price move that bounds the measure: 2 %."""

_MORE_THAN_ANY_POOL = 1 << 200


class TokenDepth(NamedTuple):
    """What comes out of a pool on either side, in each token's smallest unit."""

    out0: int
    out1: int


class Priced(NamedTuple):
    """A price, and how much of the token priced would change hands on the poorer side before it moved by two per cent:
    money that is there, however narrow the range it is offered in."""

    depth: int
    numerator: int
    denominator: int


_MOST_KNOWN = 1_024
_KNOWN: dict[tuple[int, int, int, int], tuple[ConcentratedState, TokenDepth]] = {}
"""Depths of concentrated pools: a decision asks the same pool for its collar and for the price of gas, and the next one
asks again for what no block has changed. A bounded cache, and no result depends on what it holds; an entry keeps its
state, so that no other one can have its identity."""


def priced(pool: Pool, token: str, other: str) -> Priced | None:
    """Units of ``other`` for one of ``token`` in a pool that trades both, before fees; None where it has no price."""
    try:
        numerator, denominator = spot_price_ratio(pool, token, other)
        out, paid = depth_between(pool, Pair(token, other))
    except InsufficientLiquidity:
        return None
    return Priced(min(out, paid * denominator // numerator), numerator, denominator)


def depth_of(pool: Pool, move_bps: int = DEPTH_BPS) -> TokenDepth:
    """Token0 that buyers get until the price rose by ``move_bps``, token1 that sellers get until it fell by it."""
    return depth_between(pool, Pair(pool.key.token0.address, pool.key.token1.address), move_bps)


def depth_between(pool: Pool, pair: Pair, move_bps: int = DEPTH_BPS) -> TokenDepth:
    """The same of any two tokens of a pool, in the order of the pair."""
    if not 0 < move_bps < BPS_DENOMINATOR:
        raise ValueError("the price move lies between 0 and 10,000 basis points")
    state = pool.state
    if isinstance(state, ConstantProductState) and pool.key.protocol is not Protocol.SOLIDLY_STABLE:
        depth = _constant_product(state, move_bps)
    elif isinstance(state, ConcentratedState):
        depth = _concentrated(pool, state, move_bps)
    else:
        return TokenDepth(
            _searched(pool, Pair(*reversed(pair)), (BPS_DENOMINATOR, BPS_DENOMINATOR + move_bps)),
            _searched(pool, pair, (BPS_DENOMINATOR - move_bps, BPS_DENOMINATOR)),
        )
    return depth if pair[0] == pool.key.token0.address else TokenDepth(depth.out1, depth.out0)


def _constant_product(state: ConstantProductState, move_bps: int) -> TokenDepth:
    kept0 = _ceil_sqrt(state.reserve0**2 * BPS_DENOMINATOR, BPS_DENOMINATOR + move_bps)
    kept1 = _ceil_sqrt(state.reserve1**2 * (BPS_DENOMINATOR - move_bps), BPS_DENOMINATOR)
    return TokenDepth(max(0, state.reserve0 - kept0), max(0, state.reserve1 - kept1))


def _concentrated(pool: Pool, state: ConcentratedState, move_bps: int) -> TokenDepth:
    key = (id(state), pool.key.fee_pips, pool.key.tick_spacing, move_bps)
    known = _KNOWN.get(key)
    if known is None:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        known = _KNOWN[key] = state, _swapped(pool, state, move_bps)
    return known[1]


def _swapped(pool: Pool, state: ConcentratedState, move_bps: int) -> TokenDepth:
    price = state.sqrt_price_x96
    higher = isqrt(price * price * (BPS_DENOMINATOR + move_bps) // BPS_DENOMINATOR)
    lower = isqrt(price * price * (BPS_DENOMINATOR - move_bps) // BPS_DENOMINATOR)
    bought = Order(False, True, _MORE_THAN_ANY_POOL, min(higher, MAX_SQRT_RATIO - 1))
    sold = Order(True, True, _MORE_THAN_ANY_POOL, max(lower, MIN_SQRT_RATIO + 1))
    return TokenDepth(_out(pool, state, bought), _out(pool, state, sold))


def _out(pool: Pool, state: ConcentratedState, order: Order) -> int:
    try:
        return swap(state, pool.key.fee_pips, pool.key.tick_spacing, order).amount_out
    except InsufficientLiquidity:
        return 0


def _searched(pool: Pool, pair: Pair, kept: tuple[int, int]) -> int:
    """What comes out before the price of ``token_in`` has fallen to the ratio ``kept`` of what it is.

    Exact quotes, closing in until the input is known within 1/256.
    """
    adapter = ADAPTERS[pool.key.protocol]
    best, low, high = 0, 0, max(1, virtual_reserves(pool, *pair)[0])
    start_numerator, start_denominator = adapter.spot_price(pool, pair)
    while high - low > max(1, high >> 8):
        amount = (low + high) // 2
        try:
            quote = adapter.exact_in(pool, pair, amount)
        except InsufficientLiquidity:
            high = amount
            continue
        numerator, denominator = adapter.spot_price(pool.with_state(quote.next_state), pair)
        if numerator * start_denominator * kept[1] >= start_numerator * denominator * kept[0]:
            best, low = quote.amount_out, amount
        else:
            high = amount
    return best


def _ceil_sqrt(numerator: int, denominator: int) -> int:
    """The smallest integer whose square is at least ``numerator / denominator``."""
    quotient = -(-numerator // denominator)
    root = isqrt(quotient)
    return root if root * root == quotient else root + 1
