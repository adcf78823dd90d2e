"""Depth and volatility as measured from pool states."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.amm.adapters import Pair
from dexlane.domain.amm.deltas import delta_between
from dexlane.domain.amm.tick_math import sqrt_ratio_at_tick, tick_at_sqrt_ratio
from dexlane.domain.pool_table import PoolTable
from dexlane.domain.risk import pool_evidence
from dexlane.domain.risk.depth import TokenDepth, depth_between, depth_of, priced
from dexlane.domain.risk.evidence import Flag, TokenFacts, Volatility
from dexlane.domain.risk.pool_evidence import PoolEvidence
from dexlane.domain.risk.price_history import Price, PriceHistory, move_pips
from dexlane.domain.risk.token_changes import findings
from dexlane.events.market import BlockApplied
from dexlane.testing.builders import a_token
from dexlane.values.chains import BlockRef
from dexlane.values.pools import (
    BalancesState,
    BalanceTerms,
    ConcentratedState,
    ConstantProductState,
    Pool,
    PoolKey,
    Protocol,
    Tick,
)
from dexlane.values.routes import Leg, Route
from dexlane.values.tokens import Token

USDC = Token(address="0x" + "2" * 40, symbol="USDC", decimals=6)
WETH = Token(address="0x" + "3" * 40, symbol="WETH", decimals=18)
OTHER = Token(address="0x" + "4" * 40, symbol="OTH", decimals=18)
A, B, C = ("0x" + letter * 40 for letter in "abc")


def v2(address: str, reserve0: int, reserve1: int, tokens: tuple[Token, Token] = (USDC, WETH)) -> Pool:
    key = PoolKey(address=address, protocol=Protocol.UNISWAP_V2, token0=tokens[0], token1=tokens[1], fee_pips=3_000)
    return Pool(key=key, state=ConstantProductState(reserve0=reserve0, reserve1=reserve1))


def v3(address: str, tick: int, liquidity: int, width: int = 600) -> Pool:
    key = PoolKey(
        address=address, protocol=Protocol.UNISWAP_V3, token0=USDC, token1=WETH, fee_pips=500, tick_spacing=10
    )
    lower, upper = (tick - width) // 10 * 10, (tick + width) // 10 * 10
    price = sqrt_ratio_at_tick(tick)
    ticks = (Tick(lower, liquidity, liquidity), Tick(upper, liquidity, -liquidity))
    return Pool(
        key=key,
        state=ConcentratedState(sqrt_price_x96=price, tick=tick_at_sqrt_ratio(price), liquidity=liquidity, ticks=ticks),
    )


def block(number: int, before: dict[str, Pool] | None = None, after: dict[str, Pool] | None = None) -> BlockApplied:
    deltas = tuple(
        delta_between(address, pool.state, (after or {})[address].state) for address, pool in (before or {}).items()
    )
    ref = BlockRef(number=number, hash=f"0x{number:064x}")
    return BlockApplied(
        id=BlockApplied.make_id(1, ref.hash),
        chain_id=1,
        occurred_at_ms=0,
        block=ref,
        parent_hash=f"0x{number - 1:064x}",
        timestamp_s=number,
        base_fee_per_gas_wei=1,
        next_base_fee_per_gas_wei=1,
        gas_used=0,
        gas_limit=30_000_000,
        deltas=deltas,
        received_at_ns=0,
    )


@given(reserve0=st.integers(10**6, 10**24), reserve1=st.integers(10**6, 10**24))
def test_constant_product_depth_ends_just_where_the_price_has_moved(reserve0: int, reserve1: int) -> None:
    depth = depth_of(v2(A, reserve0, reserve1))
    spot = Fraction(reserve1, reserve0)
    product = reserve0 * reserve1
    kept0, kept1 = reserve0 - depth.out0, reserve1 - depth.out1
    assert Fraction(product, kept0 * kept0) <= spot * Fraction(102, 100)
    assert Fraction(product, (kept0 - 1) ** 2) > spot * Fraction(102, 100)
    assert Fraction(kept1 * kept1, product) >= spot * Fraction(98, 100)
    assert Fraction((kept1 - 1) ** 2, product) < spot * Fraction(98, 100)


def test_concentrated_and_constant_product_depth_agree_for_equal_virtual_reserves() -> None:
    tick, liquidity = 195_000, 10**19
    concentrated = v3(A, tick, liquidity, width=5_000)
    price = sqrt_ratio_at_tick(tick)
    plain = v2(B, (liquidity << 96) // price, liquidity * price >> 96)
    for one, other in zip(depth_of(concentrated), depth_of(plain), strict=True):
        assert one == pytest.approx(other, rel=1e-6)


def test_liquidity_outside_the_two_per_cent_does_not_count() -> None:
    narrow, wide = (depth_of(v3(A, 195_000, 10**19, width=width)) for width in (600, 6_000))
    assert narrow == wide
    assert depth_of(v3(A, 195_000, 10**19, width=50)).out0 < narrow.out0


def test_a_depth_is_that_of_its_own_state_and_move_however_many_were_asked_before() -> None:
    deeper = [depth_of(v3(A, 195_000, 10**18 * times)) for times in range(1, 2_500)]
    for one, other in pairwise(deeper):
        assert one.out0 < other.out0
        assert one.out1 < other.out1
    pool = v3(A, 195_000, 10**18)
    assert depth_of(pool, 100).out0 < depth_of(pool).out0
    assert depth_of(pool) == depth_of(pool) == deeper[0]


def test_empty_pool_has_no_depth() -> None:
    assert depth_of(v2(A, 0, 0)) == (0, 0)


def test_move_is_relative_and_without_sign() -> None:
    assert move_pips(Price(100, 1), Price(101, 1)) == 10_000
    assert move_pips(Price(100, 1), Price(99, 1)) == 10_000
    assert move_pips(Price(1, 3), Price(1, 3)) == 0


def test_history_follows_a_reorganisation_and_refuses_gaps() -> None:
    history = PriceHistory(window=3)
    for number, price in enumerate([100, 101, 102, 103, 200], start=1):
        history.record(number, {A: Price(price, 1)}, [A])
    volatility = history.volatility(A)
    assert volatility is not None
    assert volatility.samples == 3
    assert volatility.peak_move_pips > 900_000
    history.undo_to(4)
    calm = history.volatility(A)
    assert calm is not None
    assert calm.samples == 3
    assert calm.peak_move_pips == 10_000
    history.record(9, {A: Price(500, 1)}, [A])
    assert history.volatility(A) is None


def test_history_ignores_a_block_it_already_has() -> None:
    history = PriceHistory()
    history.record(1, {A: Price(100, 1)}, [A])
    history.record(2, {A: Price(101, 1)}, [A])
    before = history.volatility(A)
    history.record(2, {A: Price(150, 1)}, [A])
    assert history.volatility(A) == before


PRICES = st.sampled_from([None, *(Price(number, 7) for number in range(1, 10))])
MOVED = st.dictionaries(st.sampled_from([A, B]), PRICES, min_size=1, max_size=2)
UNDONE, AHEAD = st.integers(-6, -1), st.integers(2, 3)
STEPS = st.lists(st.one_of(MOVED, MOVED, MOVED, MOVED, MOVED, UNDONE, AHEAD), min_size=10, max_size=40)
"""A block with its prices, so many blocks undone, or a block so many ahead of the last."""


@given(STEPS, st.integers(1, 4))
def test_history_of_changes_says_what_all_prices_of_all_blocks_say(
    steps: list[dict[str, Price | None] | int], window: int
) -> None:
    history, said = PriceHistory(window, undo_depth=6), dict[int, dict[str, Price]]()
    prices, tip, highest, seen = dict[str, Price](), 0, 0, set[str]()
    for step in steps:
        if isinstance(step, int) and step < 0:
            tip = max(0, tip + step, highest - 6)
            history.undo_to(tip)
            said = {number: known for number, known in said.items() if number <= tip}
            back = said.get(tip, prices)
            seen, prices = {pool for pool in (A, B) if prices.get(pool) != back.get(pool)}, dict(back)
        else:
            if isinstance(step, int):
                tip, said = tip + step, {}
            else:
                tip += 1
                prices = {pool: price for pool, price in {**prices, **step}.items() if price is not None}
                seen |= step.keys()
            history.record(tip, prices, seen)
            said[tip], seen, highest = dict(prices), set(), max(highest, tip)
        for pool in (A, B):
            assert history.volatility(pool) == volatility_of(said, pool, window)


def volatility_of(said: dict[int, dict[str, Price]], pool: str, window: int) -> Volatility | None:
    """By the definition: the moves between blocks in a row, up to the last one with a price."""
    newest = max((number for number, prices in said.items() if pool in prices), default=0)
    first = newest
    while first - 1 in said and pool in said[first - 1] and newest - first < window:
        first -= 1
    rows = [said[number][pool] for number in range(first, newest + 1) if number in said]
    moves = [move_pips(before, after) for before, after in pairwise(rows)]
    return Volatility(-(-sum(moves) // len(moves)), max(moves), len(moves)) if moves else None


def test_depth_is_given_in_the_quote_token_on_both_sides() -> None:
    pools = PoolTable([v2(A, 2_000_000_000, 10**18)])
    evidence = PoolEvidence(USDC.address)
    evidence.applied(block(1), pools, at_ms=5)
    depth = evidence.depth(pools[A], pools)
    assert depth is not None
    assert (depth.block, depth.at_ms) == (1, 5)
    assert depth.value.side0 == pytest.approx(2_000_000_000 * 0.00985, rel=1e-3)
    assert depth.value.side1 == pytest.approx(depth.value.side0, rel=0.03)


def test_pool_without_the_quote_token_is_valued_through_the_deepest_pool_that_has_it() -> None:
    pools = PoolTable(
        [
            v2(A, 2_000_000_000_000, 10**21),
            v2(B, 1_000, 10**18),
            v2(C, 10**20, 10**22, (WETH, OTHER)),
        ]
    )
    evidence = PoolEvidence(USDC.address)
    evidence.applied(block(1), pools, at_ms=0)
    assert evidence.depth(pools[C], pools) is None
    pools.put(v2("0x" + "d" * 40, 2_000_000_000, 10**20, (USDC, OTHER)))
    evidence.applied(block(2), pools, at_ms=0)
    depth = evidence.depth(pools[C], pools)
    assert depth is not None
    assert depth.value.side0 == pytest.approx(10**20 * 0.00985 * 2_000e6 / 1e18, rel=1e-3)


def test_only_changed_pools_are_measured_again_and_undone_blocks_are_taken_back() -> None:
    before = PoolTable([v2(A, 2_000_000_000, 10**18)])
    after = PoolTable([v2(A, 2_200_000_000, 10**18 * 10 // 11)])
    evidence = PoolEvidence(USDC.address)
    evidence.applied(block(1), before, at_ms=0)
    evidence.applied(block(2, before, after), after, at_ms=0)
    moved = evidence.volatility(A)
    assert moved is not None
    assert moved.value.peak_move_pips > 100_000
    evidence.undone(1, before)
    evidence.applied(block(2), before, at_ms=1)
    back = evidence.volatility(A)
    assert back is not None
    assert back.value.peak_move_pips == 0
    assert evidence.block == 2


def test_pool_that_changed_in_a_gap_is_measured_again() -> None:
    shallow, deep = PoolTable([v2(A, 2_000_000_000, 10**18)]), PoolTable([v2(A, 4_000_000_000, 2 * 10**18)])
    evidence = PoolEvidence(USDC.address)
    evidence.applied(block(1), shallow, at_ms=0)
    evidence.applied(block(9), deep, at_ms=0)
    depth = evidence.depth(deep[A], deep)
    assert depth is not None
    assert depth.value.side0 == depth_of(deep[A]).out0
    assert evidence.volatility(A) is None


def test_drained_pool_loses_its_price_and_its_depth() -> None:
    full, empty = PoolTable([v2(A, 2_000_000_000, 10**18)]), PoolTable([v2(A, 0, 0)])
    evidence = PoolEvidence(USDC.address)
    for number in (1, 2, 3):
        evidence.applied(block(number), full, at_ms=0)
    evidence.applied(block(4), empty, at_ms=0)
    assert evidence.depth(empty[A], empty) is None
    last_known = evidence.volatility(A)
    assert last_known is not None
    assert last_known.block == 3


def test_route_through_an_unknown_or_exhausted_pool_has_no_impact_evidence() -> None:
    pools = PoolTable([v2(A, 2_000_000_000, 10**18)])
    evidence = PoolEvidence(USDC.address)
    evidence.applied(block(1), pools, at_ms=0)

    def route(pool: str) -> Route:
        leg = Leg(
            pool=pool, protocol=Protocol.UNISWAP_V2, fee_pips=3_000, token_in=USDC.address, token_out=WETH.address
        )
        return Route(legs=(leg,))

    assert evidence.impact(route(A), 1_000_000, pools) is not None
    assert evidence.impact(route(B), 1_000_000, pools) is None


def test_token_findings_name_what_is_wrong_and_what_changed() -> None:
    sound = TokenFacts(address=USDC.address, code_hash="0x" + "1" * 64, decimals=6, implementation=A, owner=B)
    assert findings(USDC, sound, sound, sanctioned=False) == ()
    changed = sound.model_copy(update={"implementation": C, "owner": None})
    flags = {finding.flag for finding in findings(USDC, changed, sound, sanctioned=True)}
    assert flags == {Flag.SANCTIONED, Flag.IMPLEMENTATION_CHANGED, Flag.OWNER_CHANGED}
    empty = TokenFacts(address=USDC.address, code_hash=None)
    assert Flag.NO_CODE in {finding.flag for finding in findings(USDC, empty, None, sanctioned=False)}
    wrong = sound.model_copy(update={"decimals": 8})
    assert [finding.flag for finding in findings(USDC, wrong, None, sanctioned=False)] == [Flag.WRONG_DECIMALS]


def test_depth_of_a_balance_based_pool_ends_where_the_price_has_moved_so_far() -> None:
    tokens = {"token0": a_token("A", address="0x" + "1" * 40), "token1": a_token("B", address="0x" + "2" * 40)}
    terms = BalanceTerms(fee=10**12, scaling=(10**18, 10**18), weights=(10**18 // 2, 10**18 // 2))
    state = BalancesState(balances=(10**24, 4 * 10**24), terms=terms)
    weighted = Pool(
        key=PoolKey(address="0x" + "3" * 40, protocol=Protocol.BALANCER_WEIGHTED, fee_pips=1, **tokens), state=state
    )
    pair = Pool(
        key=PoolKey(address="0x" + "4" * 40, protocol=Protocol.UNISWAP_V2, fee_pips=1, **tokens),
        state=ConstantProductState(reserve0=10**24, reserve1=4 * 10**24),
    )
    for found, exact in zip(depth_of(weighted), depth_of(pair), strict=True):
        assert exact * 98 // 100 <= found <= exact


def test_depth_between_any_two_of_several_tokens_is_that_of_their_own_balances() -> None:
    one, two, three = (a_token(name, address="0x" + name * 40) for name in "123")
    terms = BalanceTerms(fee=10**12, scaling=(10**18,) * 3, weights=(10**18 // 4, 10**18 // 4, 10**18 // 2))
    key = PoolKey(
        address="0x" + "4" * 40, protocol=Protocol.BALANCER_WEIGHTED, fee_pips=1, token0=one, token1=two,
        more_tokens=(three,),
    )  # fmt: skip
    pool = Pool(key=key, state=BalancesState(balances=(10**24, 10**22, 2 * 10**24), terms=terms))
    first, last = (
        depth_between(pool, Pair(*pair)) for pair in ((one.address, two.address), (one.address, three.address))
    )
    assert first == depth_of(pool)
    assert first.out1 < 10**21 < 10**22 < min(last)
    assert depth_between(pool, Pair(three.address, one.address)).out0 == pytest.approx(last.out1, rel=0.03)
    found = priced(pool, one.address, three.address)
    assert found is not None
    assert found.depth == pytest.approx(min(last), rel=0.03)


def test_the_sides_of_a_depth_follow_the_order_of_its_tokens() -> None:
    pool = v2(A, 2_000_000, 10**18)
    there, back = Pair(pool.key.token0.address, pool.key.token1.address), depth_of(pool)
    assert depth_between(pool, there) == back
    assert depth_between(pool, Pair(*reversed(there))) == (back.out1, back.out0)


def test_a_block_that_changes_nothing_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def counted(pool: Pool) -> TokenDepth:
        measured.append(pool.key.address)
        return depth_of(pool)

    monkeypatch.setattr(pool_evidence, "depth_of", counted)
    pools = PoolTable([v2(A, 2_000_000_000, 10**18), v2(B, 1_000, 10**18)])
    evidence = PoolEvidence(USDC.address)
    for number in range(1, 10):
        evidence.applied(block(number), pools, at_ms=number)
    assert sorted(measured) == [A, B]
    pools.put(v2(B, 2_000, 10**18))
    evidence.applied(block(10), pools, at_ms=10)
    assert measured[2:] == [B]


def test_of_a_pool_that_has_left_nothing_is_kept_and_it_begins_anew_when_it_comes_back() -> None:
    pools = PoolTable([v2(A, 2_000_000_000, 10**18), v2(B, 1_000, 10**18)])
    evidence = PoolEvidence(USDC.address)
    for number in (1, 2):
        evidence.applied(block(number), pools, at_ms=0)
    left = pools[B]
    pools.remove(B)
    evidence.applied(block(3), pools, at_ms=0)
    assert evidence.depth(left, pools) is None
    assert evidence.volatility(B) is None
    pools.put(left)
    for number, samples in ((4, None), (5, 1)):
        evidence.applied(block(number), pools, at_ms=0)
        found = evidence.volatility(B)
        assert (None if found is None else found.value.samples) == samples
