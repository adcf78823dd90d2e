"""Random pools of every protocol, for property tests.

A new adapter enters its pools in ``POOLS``; ``test_conformance.py`` then holds it to the rules that all adapters keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from dexlane.domain.amm.deltas import apply_mint
from dexlane.domain.amm.tick_math import sqrt_ratio_at_tick, tick_at_sqrt_ratio
from dexlane.values.pools import (
    BalancesState,
    BalanceTerms,
    ConcentratedState,
    ConstantProductState,
    Pool,
    PoolKey,
    PoolState,
    Protocol,
)
from dexlane.values.tokens import Token

ONE = 10**18
_SPACINGS = {100: 1, 500: 10, 2500: 50, 3000: 60, 10_000: 200}
_DECIMALS = st.sampled_from([6, 8, 18])
_POOL_ID = "0x" + "b7" * 32


def _of_any_size(fewest_digits: int, most_digits: int) -> st.SearchStrategy[int]:
    """Integers of so many digits after the first, every number of digits as likely as another."""
    return st.builds(
        lambda first, digits: first * 10**digits // 10**6,
        st.integers(10**6, 10**7),
        st.integers(fewest_digits, most_digits),
    )


def _pool(protocol: Protocol, state: PoolState, decimals: list[int], **fields: Any) -> Pool:
    tokens = [
        Token(address=f"0x{place + 1:040x}", symbol=f"T{place}", decimals=places)
        for place, places in enumerate(decimals)
    ]
    key: dict[str, Any] = {
        "address": _POOL_ID[:42],
        "protocol": protocol,
        "token0": tokens[0],
        "token1": tokens[1],
        "more_tokens": tuple(tokens[2:]),
        "fee_pips": 0,
    }
    return Pool(key=PoolKey(**(key | fields)), state=state)


@st.composite
def reserves_pools(draw: st.DrawFn, protocol: Protocol) -> Pool:
    """Two reserves, from dust to the size of large pools."""
    reserves, fee = _of_any_size(3, 26), draw(st.sampled_from([*_SPACINGS]))
    state = ConstantProductState(reserve0=draw(reserves), reserve1=draw(reserves))
    return _pool(protocol, state, [18, 18], fee_pips=fee)


@st.composite
def stable_reserves_pools(draw: st.DrawFn, protocol: Protocol) -> Pool:
    """Two reserves of like worth, with decimals."""
    decimals = [draw(_DECIMALS), draw(_DECIMALS)]
    reserve0, reserve1 = _balances(draw, decimals, 10)
    return _pool(
        protocol,
        ConstantProductState(reserve0=reserve0, reserve1=reserve1),
        decimals,
        fee_pips=draw(st.sampled_from([100, 500, 3000])),
    )


@st.composite
def ticked_pools(draw: st.DrawFn, protocol: Protocol) -> Pool:
    """Concentrated pools of one to six positions, with gaps in between and ticks that cancel out in net."""
    fee = draw(st.sampled_from([*_SPACINGS]))
    spacing = _SPACINGS[fee]
    centre = draw(st.integers(-200_000, 200_000)) // spacing * spacing
    price = draw(st.integers(sqrt_ratio_at_tick(centre), sqrt_ratio_at_tick(centre + spacing) - 1))
    state = ConcentratedState(sqrt_price_x96=price, tick=tick_at_sqrt_ratio(price), liquidity=0)
    steps = st.integers(-600, 600)
    for _ in range(draw(st.integers(1, 6))):
        lower, upper = sorted((draw(steps), draw(steps)))
        assume(lower < upper)
        liquidity = draw(_of_any_size(3, 24))
        state = apply_mint(state, centre + lower * spacing, centre + upper * spacing, liquidity)
    more = {"pool_id": _POOL_ID} if protocol is Protocol.UNISWAP_V4 else {}
    return _pool(protocol, state, [18, 18], fee_pips=fee, tick_spacing=spacing, **more)


@st.composite
def weighted_pools(draw: st.DrawFn) -> Pool:
    """Two to five tokens of any weight, contracts of either revision."""
    decimals = draw(st.lists(_DECIMALS, min_size=2, max_size=5))
    parts = draw(st.lists(st.integers(1, 60), min_size=len(decimals), max_size=len(decimals)))
    weights = [max(ONE // 100, ONE * part // sum(parts)) for part in parts]
    weights[weights.index(max(weights))] += ONE - sum(weights)
    terms = BalanceTerms(
        fee=draw(st.integers(10**12, 10**17)),
        scaling=tuple(10 ** (36 - places) for places in decimals),
        weights=tuple(weights),
        revision=draw(st.sampled_from([0, 1])),
    )
    state = BalancesState(balances=_balances(draw, decimals, 1_000), terms=terms)
    return _pool(Protocol.BALANCER_WEIGHTED, state, decimals)


@st.composite
def balancer_stable_pools(draw: st.DrawFn) -> Pool:
    """Two to five tokens of like worth, some with a rate."""
    decimals = draw(st.lists(_DECIMALS, min_size=2, max_size=5))
    terms = BalanceTerms(
        fee=draw(st.integers(10**12, 10**17)),
        scaling=_scaling(draw, decimals),
        amplification=draw(st.integers(1_000, 5_000_000)),
        amplification_precision=1_000,
    )
    state = BalancesState(balances=_balances(draw, decimals, 10), terms=terms)
    return _pool(Protocol.BALANCER_STABLE, state, decimals)


@st.composite
def stableswap_pools(draw: st.DrawFn) -> Pool:
    """Two to four coins in any order, of either revision, also without a fee."""
    decimals = draw(st.lists(_DECIMALS, min_size=2, max_size=4))
    precision = draw(st.sampled_from([1, 100]))
    terms = BalanceTerms(
        fee=draw(st.integers(0, 10**8)),
        admin_fee=draw(st.integers(0, 10**10)),
        scaling=_scaling(draw, decimals),
        amplification=draw(st.integers(2 * precision, 5_000 * precision)),
        amplification_precision=precision,
        order=tuple(draw(st.permutations(range(len(decimals))))),
        revision=draw(st.sampled_from([0, 1])),
    )
    state = BalancesState(balances=_balances(draw, decimals, 10), terms=terms)
    return _pool(Protocol.STABLESWAP, state, decimals)


def _scaling(draw: st.DrawFn, decimals: list[int]) -> tuple[int, ...]:
    rates = st.one_of(st.just(ONE), st.integers(ONE, 2 * ONE))
    return tuple(10 ** (36 - places) * draw(rates) // ONE for places in decimals)


def _balances(draw: st.DrawFn, decimals: list[int], most: int) -> tuple[int, ...]:
    """Balances of 1 to 10 ** 9 tokens, the largest worth up to ``most`` times the smallest."""
    size = draw(st.integers(10**3, 10**12))
    shares = st.integers(10**6, most * 10**6)
    return tuple(size * draw(shares) * 10**places // 10**9 for places in decimals)


POOLS: Mapping[Protocol, st.SearchStrategy[Pool]] = MappingProxyType(
    {
        Protocol.UNISWAP_V2: reserves_pools(Protocol.UNISWAP_V2),
        Protocol.UNISWAP_V3: ticked_pools(Protocol.UNISWAP_V3),
        Protocol.PANCAKESWAP_V3: ticked_pools(Protocol.PANCAKESWAP_V3),
        Protocol.UNISWAP_V4: ticked_pools(Protocol.UNISWAP_V4),
        Protocol.SOLIDLY_VOLATILE: reserves_pools(Protocol.SOLIDLY_VOLATILE),
        Protocol.SOLIDLY_STABLE: stable_reserves_pools(Protocol.SOLIDLY_STABLE),
        Protocol.BALANCER_WEIGHTED: weighted_pools(),
        Protocol.BALANCER_STABLE: balancer_stable_pools(),
        Protocol.STABLESWAP: stableswap_pools(),
    }
)
"""A strategy for each protocol."""
