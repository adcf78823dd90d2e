"""A token is judged by the pools that a route trades it in, and by the worst of them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.risk.evidence import Seen, TrialFacts
from dexlane.domain.risk.pool_trials import pairs_in, pairs_of, together
from dexlane.testing.builders import USDC, V2_POOL, WETH, a_gap_route, a_pool_v2, a_pool_v3, an_address
from dexlane.testing.builders.pools import V3_POOL_500

GRAVITY = ("safe", "unknown", "unsafe")
taxes = st.none() | st.integers(0, 10_000)
facts = st.builds(
    TrialFacts,
    address=st.just(WETH.address),
    verdict=st.sampled_from(GRAVITY),
    pool=st.sampled_from([V2_POOL, V3_POOL_500]),
    buy_tax_bps=taxes,
    sell_tax_bps=taxes,
    transfer_tax_bps=taxes,
    flags=st.lists(st.sampled_from(["proxy", "pausable"]), unique=True).map(lambda found: tuple(sorted(found))),
)
trials = st.lists(st.builds(Seen, facts, st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=4)


@given(trials)
def test_checks_of_several_pools_are_never_better_than_the_worst_of_them(found: list[Seen[TrialFacts]]) -> None:
    one = together(found)
    assert GRAVITY.index(one.value.verdict) == max(GRAVITY.index(each.value.verdict) for each in found)
    assert (one.block, one.at_ms) == (min(each.block for each in found), min(each.at_ms for each in found))
    for name in ("buy_tax_bps", "sell_tax_bps", "transfer_tax_bps"):
        measured = [getattr(each.value, name) for each in found]
        assert getattr(one.value, name) == (None if None in measured else max(measured))
    assert set(one.value.flags) == {flag for each in found for flag in each.value.flags}


def test_the_check_of_one_pool_stays_as_it_is() -> None:
    seen = Seen(TrialFacts(address=WETH.address, verdict="safe", pool=V2_POOL, sell_tax_bps=3), 5, 6)
    assert together([seen]) == seen


def test_a_route_names_every_token_with_every_pool_that_trades_it() -> None:
    route = a_gap_route()
    assert set(pairs_of(route)) == {(token.address, pool) for token in (USDC, WETH) for pool in (V2_POOL, V3_POOL_500)}
    assert len(pairs_of(route)) == 4


def test_pools_that_no_check_can_trade_in_are_not_tried() -> None:
    v2, v3 = a_pool_v2(), a_pool_v3()
    solidly = replace(v2, key=v2.key.model_copy(update={"protocol": "solidly_volatile"}))
    found = pairs_in({V2_POOL: solidly, V3_POOL_500: v3, an_address("x"): v2})
    assert set(found) == {(token.address, pool) for token in (USDC, WETH) for pool in (V2_POOL, V3_POOL_500)}
    assert pairs_in({V2_POOL: solidly}) == ()
