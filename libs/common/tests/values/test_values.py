"""Values check themselves: a wrong route, pool or book cannot be built."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from dexlane.testing.builders import (
    USDC,
    V2_POOL,
    V3_POOL_500,
    WETH,
    a_block_ref,
    a_book,
    a_pool_v2,
    a_pool_v3,
    a_route,
    a_token,
    an_address,
    lane_limits,
)
from dexlane.values.base import Value, digest
from dexlane.values.books import Lane
from dexlane.values.chains import BlockRef
from dexlane.values.pools import (
    BalancesState,
    BalanceTerms,
    ConcentratedDelta,
    Pool,
    PoolKey,
    Protocol,
    ReservesDelta,
    Tick,
)
from dexlane.values.routes import Leg, Route


def a_key(**fields: Any) -> PoolKey:
    return PoolKey(**(a_pool_v2().key.model_dump() | fields))


def hop(token_in: str, token_out: str) -> Leg:
    return Leg(pool=V2_POOL, protocol=Protocol.UNISWAP_V2, fee_pips=3_000, token_in=token_in, token_out=token_out)


def test_route_knows_its_ends() -> None:
    third = an_address("third token")
    route = Route(legs=(hop(USDC.address, WETH.address), hop(WETH.address, third)))
    assert (route.token_in, route.token_out, route.is_cycle) == (USDC.address, third, False)


def test_route_that_returns_is_a_cycle() -> None:
    assert Route(legs=(hop(USDC.address, WETH.address), hop(WETH.address, USDC.address))).is_cycle


def test_route_whose_legs_do_not_meet_is_refused() -> None:
    with pytest.raises(ValidationError, match="must start with the token"):
        Route(legs=(hop(USDC.address, WETH.address), hop(USDC.address, WETH.address)))


@pytest.mark.parametrize("count", [0, 5])
def test_route_has_one_to_four_legs(count: int) -> None:
    ends = (USDC.address, WETH.address)
    legs = tuple(hop(ends[index % 2], ends[(index + 1) % 2]) for index in range(count))
    with pytest.raises(ValidationError, match=r"at least 1|at most 4"):
        Route(legs=legs)


def test_leg_between_the_same_token_is_refused() -> None:
    with pytest.raises(ValidationError, match="two different tokens"):
        hop(USDC.address, USDC.address)


def test_pool_tokens_are_sorted_as_the_factories_sort_them() -> None:
    with pytest.raises(ValidationError, match="sort before"):
        a_key(token0=WETH, token1=USDC)


def test_exactly_concentrated_pools_have_a_tick_spacing() -> None:
    with pytest.raises(ValidationError, match="tick spacing"):
        a_key(tick_spacing=10)
    with pytest.raises(ValidationError, match="tick spacing"):
        a_key(protocol=Protocol.UNISWAP_V3)
    assert a_pool_v3().key.tick_spacing > 0


def test_pool_names_its_other_token_and_no_strangers() -> None:
    key = a_pool_v2().key
    assert key.other(USDC.address) == WETH
    assert key.other(WETH.address) == USDC
    with pytest.raises(KeyError, match="does not trade"):
        key.token(an_address("stranger"))


def test_pool_of_more_tokens_sorts_them_all_and_leaves_the_pair_to_the_caller() -> None:
    third = a_token("THIRD", address="0x" + "f" * 40)
    key = a_key(protocol=Protocol.STABLESWAP, more_tokens=(third,))
    assert key.tokens == (USDC, WETH, third)
    assert key.token(third.address) == third
    assert key.trades(third.address, USDC.address)
    assert not key.trades(third.address, third.address)
    with pytest.raises(KeyError, match="name both"):
        key.other(USDC.address)
    with pytest.raises(ValidationError, match="sorted by address"):
        a_key(protocol=Protocol.STABLESWAP, more_tokens=(USDC,))


def test_tokens_beyond_the_second_are_on_the_wire_only_where_there_are_any() -> None:
    third = a_token("THIRD", address="0x" + "f" * 40)
    assert "more_tokens" not in a_pool_v2().key.model_dump_json()
    key = a_key(protocol=Protocol.STABLESWAP, more_tokens=(third,))
    assert PoolKey.model_validate_json(key.model_dump_json()) == key


def test_balances_need_a_scaling_factor_each_and_a_whole_order() -> None:
    terms = BalanceTerms(fee=4_000_000, scaling=(10**30, 10**18), order=(1, 0))
    assert BalancesState(balances=(1, 2), terms=terms).terms.order == (1, 0)
    with pytest.raises(ValidationError, match="scaling factor"):
        BalancesState(balances=(1, 2, 3), terms=terms)
    with pytest.raises(ValidationError, match="each token once"):
        BalancesState(balances=(1, 2), terms=terms.model_copy(update={"order": (1, 1)}))


def test_letter_case_of_addresses_carries_no_meaning() -> None:
    shouted = "0x" + V3_POOL_500[2:].upper()
    assert hop(shouted, WETH.address).token_in == V3_POOL_500
    assert BlockRef(number=1, hash="0x" + "AB" * 32) == BlockRef(number=1, hash="0x" + "ab" * 32)


@pytest.mark.parametrize("wrong", ["0x12", "b4e16d0168e52d35cacd2c6185b44281ec28c9dc", "0x" + "g" * 40, 5])
def test_malformed_address_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        a_token(address=wrong)


def test_misspelt_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="max_trades"):
        lane_limits(max_trades=1)


def test_largest_trade_may_not_exceed_the_capital_of_its_lane() -> None:
    with pytest.raises(ValidationError, match="max_trade may not exceed"):
        lane_limits(capital=100, max_trade=101)


def test_book_needs_limits_and_an_account_for_the_same_lanes() -> None:
    with pytest.raises(ValidationError, match="same lanes"):
        a_book(limits={Lane.FAST: lane_limits()})


def test_lanes_of_a_book_never_share_an_account() -> None:
    account = an_address("shared")
    with pytest.raises(ValidationError, match="account of its own"):
        a_book(accounts={Lane.FAST: account, Lane.SMART: account})


@pytest.mark.parametrize("fields", [{"level": 0}, {"level": 11}, {"id": "Main"}, {"strategies": ()}])
def test_book_outside_its_bounds_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        a_book(**fields)


def test_digest_depends_on_order_of_parts_and_not_of_keys() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest("a", "b") != digest("b", "a")
    assert digest("ab") != digest("a", "b")
    assert len(digest("a")) == 32


def test_route_builder_matches_the_default_pool() -> None:
    assert a_route().legs[0].pool == V2_POOL


@pytest.mark.parametrize("value", [a_block_ref(), a_pool_v2().key, a_route()])
def test_a_value_built_unchecked_is_like_the_validated_one_in_every_way(value: Value) -> None:
    twin = type(value).unchecked(dict(value))
    assert twin == value
    assert hash(twin) == hash(value)
    assert repr(twin) == repr(value)
    assert twin.model_dump_json() == value.model_dump_json()
    assert copy.deepcopy(twin) == copy.copy(twin) == twin
    name = next(iter(dict(value)))
    assert twin.model_copy(update={name: dict(value)[name]}) == value
    assert twin.model_fields_set == set(type(value).model_fields)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(twin, name, None)


MANY = [
    a_pool_v2(),
    a_pool_v2().state,
    a_pool_v3().state,
    ReservesDelta(pool=V2_POOL, reserve0=1, reserve1=2),
    ConcentratedDelta(pool=V2_POOL, sqrt_price_x96=3, tick=-1, liquidity=4, ticks=(Tick(-60, 5, 5), Tick(60, 5, -5))),
]
"""One of each class that is made by the thousand."""


@pytest.mark.parametrize("value", MANY)
def test_a_value_made_by_the_thousand_is_the_same_unchecked_and_has_no_dictionary(value: Any) -> None:
    wire = TypeAdapter(type(value))
    parts = {field.name: getattr(value, field.name) for field in fields(value)}
    twin = type(value).unchecked(**{name: part for name, part in parts.items() if name != "kind"})
    assert twin == value == wire.validate_json(wire.dump_json(twin)) == copy.deepcopy(twin)
    assert (hash(twin), repr(twin), wire.dump_json(twin)) == (hash(value), repr(value), wire.dump_json(value))
    assert not hasattr(twin, "__dict__")
    for name in parts:
        with pytest.raises(FrozenInstanceError):
            setattr(twin, name, None)
    with pytest.raises(ValidationError, match="unexpected"):
        type(value)(**parts, more=1)
    for name in set(parts) & {"reserve0", "liquidity"}:
        with pytest.raises(ValidationError, match="greater than or equal to 0"):
            replace(value, **{name: -1})


@pytest.mark.parametrize("state", [a_pool_v2().state, a_pool_v3().state])
def test_a_pool_at_another_state_is_the_same_pool(state: Any) -> None:
    pool = a_pool_v2().with_state(state)
    assert pool == Pool(key=a_pool_v2().key, state=state)
    assert pool.key == a_pool_v2().key
