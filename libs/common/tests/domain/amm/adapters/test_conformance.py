"""The rules that every adapter keeps, on random pools of every protocol in ``ADAPTERS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from dexlane.domain.amm.adapters import ADAPTERS, Pair, Quote
from dexlane.domain.amm.deltas import apply_delta, delta_between
from dexlane.domain.amm.quoting import (
    InsufficientLiquidity,
    quote_exact_in,
    quote_exact_out,
    spot_price_ratio,
    virtual_reserves,
)
from dexlane.domain.amm.stable_math import Curve, invariant
from dexlane.testing.builders import an_address
from dexlane.testing.pool_strategies import POOLS
from dexlane.values.pools import BalancesState, ConcentratedState, ConstantProductState, Pool, PoolState, Protocol

every_protocol = pytest.mark.parametrize("protocol", [*ADAPTERS], ids=str)
WIRE = TypeAdapter(Pool)
EXAMPLES = settings(max_examples=40)
"""Of every rule and protocol: there are near a hundred such pairs."""
LEAST_INPUT = {Protocol.STABLESWAP, Protocol.SOLIDLY_VOLATILE, Protocol.SOLIDLY_STABLE}
"""Protocols whose contracts know no exact output: the adapter finds the least input."""


class Order(NamedTuple):
    """A pool, a pair of its tokens, and two amounts of it."""

    pool: Pool
    pair: Pair
    amount: int
    other_amount: int

    @property
    def back(self) -> Pair:
        """The pair the other way round."""
        return Pair(self.pair.token_out, self.pair.token_in)


def an_order(data: st.DataObject, protocol: Protocol) -> Order:
    """A random order; amounts from one unit to all that a pool may hold and more."""
    pool = data.draw(POOLS[protocol])
    paid, bought = data.draw(st.permutations([token.address for token in pool.key.tokens]))[:2]
    held = max(_held(pool.state))
    amounts = st.one_of(st.integers(1, held), st.integers(1, max(1, held // 10**4)), st.integers(1, 10**27))
    return Order(pool, Pair(paid, bought), data.draw(amounts), data.draw(amounts))


def sell(pool: Pool, pair: Pair, amount: int) -> Quote:
    try:
        return quote_exact_in(pool, pair.token_in, amount, pair.token_out)
    except InsufficientLiquidity:
        reject()


def buy(pool: Pool, pair: Pair, amount: int) -> Quote:
    try:
        return quote_exact_out(pool, pair.token_in, amount, pair.token_out)
    except InsufficientLiquidity:
        reject()


def after(pool: Pool, quote: Quote) -> Pool:
    return pool.with_state(quote.next_state)


def noise(order: Order) -> int:
    """Units of the token bought by which a contract's own approximations may move an answer.

    Weighted pools grant their power function 10 ** -14 of the balance on either side. Balancer's stable pools divide
    by ``Ann`` before they multiply, so the more amplified, the coarser; StableSwap's are good to a few units of the
    eighteenth decimal; the others are exact.
    """
    state = order.pool.state
    if not isinstance(state, BalancesState):
        return 0
    place = [token.address for token in order.pool.key.tokens].index(order.pair.token_out)
    if order.pool.key.protocol is Protocol.BALANCER_WEIGHTED:
        return state.balances[place] // 10**11 + 2
    units = 4
    if order.pool.key.protocol is Protocol.BALANCER_STABLE:
        units *= state.terms.amplification * len(state.balances) + state.terms.amplification_precision
    return units * 10**18 // state.terms.scaling[place] + 2


def test_every_protocol_has_an_adapter_and_a_strategy() -> None:
    assert set(ADAPTERS) == set(Protocol)
    assert set(POOLS) == set(ADAPTERS)


@every_protocol
@EXAMPLES
@given(data=st.data())
def test_a_round_trip_never_profits(protocol: Protocol, data: st.DataObject) -> None:
    order = an_order(data, protocol)
    there = sell(order.pool, order.pair, order.amount)
    assume(there.amount_out > 0)
    back = sell(after(order.pool, there), order.back, there.amount_out)
    assert back.amount_out <= there.amount_in


@every_protocol
@EXAMPLES
@given(data=st.data())
def test_output_never_falls_when_the_input_grows(protocol: Protocol, data: st.DataObject) -> None:
    order = an_order(data, protocol)
    less, more = sorted((order.amount, order.other_amount))
    slack = noise(order) if protocol is Protocol.BALANCER_WEIGHTED else 0
    assert sell(order.pool, order.pair, less).amount_out <= sell(order.pool, order.pair, more).amount_out + slack


@every_protocol
@EXAMPLES
@given(data=st.data())
def test_exact_out_asks_for_enough(protocol: Protocol, data: st.DataObject) -> None:
    order = an_order(data, protocol)
    bought = buy(order.pool, order.pair, order.amount)
    assume(not bought.partial and bought.amount_in > 0)
    assert bought.amount_out >= order.amount
    assert sell(order.pool, order.pair, bought.amount_in).amount_out + noise(order) >= order.amount


@pytest.mark.parametrize("protocol", sorted(LEAST_INPUT))
@EXAMPLES
@given(data=st.data())
def test_exact_out_asks_for_no_unit_too_many_where_contracts_have_no_such_function(
    protocol: Protocol, data: st.DataObject
) -> None:
    order = an_order(data, protocol)
    bought = buy(order.pool, order.pair, order.amount)
    assume(bought.amount_in > 1)
    try:
        less = quote_exact_in(order.pool, order.pair.token_in, bought.amount_in - 1, order.pair.token_out)
    except InsufficientLiquidity:
        return
    assert less.amount_out < order.amount


@every_protocol
@EXAMPLES
@given(data=st.data())
def test_the_invariant_never_falls(protocol: Protocol, data: st.DataObject) -> None:
    order = an_order(data, protocol)
    measure = INVARIANTS[protocol]
    before = measure(order.pool)
    for quote in (sell(order.pool, order.pair, order.amount), buy(order.pool, order.pair, order.amount)):
        assert measure(after(order.pool, quote)) + ROUNDING.get(protocol, 0) >= before


@every_protocol
@EXAMPLES
@given(data=st.data())
def test_only_what_a_swap_moves_changes_and_it_moves_as_quoted(protocol: Protocol, data: st.DataObject) -> None:
    order = an_order(data, protocol)
    quote = sell(order.pool, order.pair, order.amount)
    before, state = order.pool.state, quote.next_state
    assert type(state) is type(before)
    if isinstance(before, BalancesState) and isinstance(state, BalancesState):
        assert state.terms == before.terms
        for token, held, held_after in zip(order.pool.key.tokens, before.balances, state.balances, strict=True):
            if token.address == order.pair.token_in:
                assert held_after == held + quote.amount_in
            elif token.address == order.pair.token_out:
                assert 0 <= held_after <= held - quote.amount_out
            else:
                assert held_after == held
    elif isinstance(before, ConcentratedState) and isinstance(state, ConcentratedState):
        assert state.ticks == before.ticks
    assert quote.gas > 0
    assert 0 <= quote.fee_amount <= quote.amount_in


@every_protocol
@EXAMPLES
@given(data=st.data())
def test_a_quote_is_always_the_same_and_leaves_the_pool_alone(protocol: Protocol, data: st.DataObject) -> None:
    order = an_order(data, protocol)
    written = WIRE.dump_json(order.pool)
    first = sell(order.pool, order.pair, order.amount)
    assert sell(order.pool, order.pair, order.amount) == first
    assert WIRE.dump_json(order.pool) == written


@every_protocol
@EXAMPLES
@given(data=st.data())
def test_the_next_state_travels_and_follows_from_its_delta(protocol: Protocol, data: st.DataObject) -> None:
    order = an_order(data, protocol)
    assert WIRE.validate_json(WIRE.dump_json(order.pool)) == order.pool
    later = after(order.pool, sell(order.pool, order.pair, order.amount))
    assert WIRE.validate_json(WIRE.dump_json(later)) == later
    delta = delta_between(order.pool.key.address, order.pool.state, later.state)
    assert apply_delta(order.pool, delta) == later


@every_protocol
@EXAMPLES
@given(data=st.data(), amount=st.integers(-5, 0))
def test_amounts_below_one_and_foreign_tokens_are_refused(protocol: Protocol, data: st.DataObject, amount: int) -> None:
    order = an_order(data, protocol)
    paid, bought = order.pair
    stranger = an_address("stranger")
    for quote in (quote_exact_in, quote_exact_out):
        with pytest.raises(ValueError, match="at least one"):
            quote(order.pool, paid, amount, bought)
        for pair in ((stranger, bought), (paid, stranger), (paid, paid)):
            with pytest.raises(KeyError):
                quote(order.pool, pair[0], 1, pair[1])
    with pytest.raises(KeyError):
        spot_price_ratio(order.pool, stranger, bought)


@every_protocol
@EXAMPLES
@given(data=st.data())
def test_spot_price_less_fee_is_the_price_of_a_small_trade(protocol: Protocol, data: st.DataObject) -> None:
    order = an_order(data, protocol)
    amount, quote = a_small_trade(order, 10**5)
    price = Fraction(*spot_price_ratio(order.pool, *order.pair))
    expected = amount * price * (1 - fee_of(order.pool))
    assert abs(quote.amount_out - expected) <= expected / 10**4 + expected / amount + noise(order) + 2


@every_protocol
@EXAMPLES
@given(data=st.data())
def test_virtual_reserves_foretell_the_impact_of_a_small_trade(protocol: Protocol, data: st.DataObject) -> None:
    order = an_order(data, protocol)
    amount, quote = a_small_trade(order, 10**4)
    reserve_in, reserve_out = virtual_reserves(order.pool, *order.pair)
    after_fee = amount * (1 - fee_of(order.pool))
    expected = after_fee * reserve_out / (reserve_in + after_fee)
    impact = after_fee / reserve_in
    rounding = 2 * expected / amount + 2 * noise(order) + 4
    # Where Solidly's curve is flat its virtual reserves are capped: they then promise less than the pool gives.
    above = impact if protocol is Protocol.SOLIDLY_STABLE else impact / 8
    assert -expected * impact / 8 - rounding <= quote.amount_out - expected <= expected * above + rounding


def a_small_trade(order: Order, part: int) -> tuple[int, Quote]:
    """A trade of a part of the virtual reserve (and of the real one), large enough to be measured by."""
    reserve_in, _ = virtual_reserves(order.pool, *order.pair)
    amount = reserve_in // part
    held = dict(zip((token.address for token in order.pool.key.tokens), _held(order.pool.state), strict=False))
    if not isinstance(order.pool.state, ConcentratedState):
        amount = min(amount, held[order.pair.token_in] // part)
    assume(amount > 10**4)
    quote = sell(order.pool, order.pair, amount)
    assume(quote.amount_out > 10**4)
    if isinstance(order.pool.state, ConcentratedState) and isinstance(quote.next_state, ConcentratedState):
        # Beyond the end of a range there may be a gap, and then as much liquidity as before it.
        low, high = sorted((order.pool.state.tick, quote.next_state.tick))
        assume(not quote.partial and not any(low < tick.tick <= high for tick in order.pool.state.ticks))
    return amount, quote


def fee_of(pool: Pool) -> Fraction:
    if not isinstance(pool.state, BalancesState):
        return Fraction(pool.key.fee_pips, 10**6)
    return Fraction(pool.state.terms.fee, 10**10 if pool.key.protocol is Protocol.STABLESWAP else 10**18)


def _held(state: PoolState) -> tuple[int, ...]:
    if isinstance(state, BalancesState):
        return state.balances
    if isinstance(state, ConstantProductState):
        return state.reserve0, state.reserve1
    return (max(1, state.liquidity),)


def _product(pool: Pool) -> int:
    state = pool.state
    assert isinstance(state, ConstantProductState)
    return state.reserve0 * state.reserve1


def _solidly(pool: Pool) -> int:
    """``x ** 3 * y + y ** 3 * x`` as the contract checks it (``Pool._k``): it rounds, and so may the true one fall."""
    state = pool.state
    assert isinstance(state, ConstantProductState)
    x = state.reserve0 * 10 ** (18 - pool.key.token0.decimals)
    y = state.reserve1 * 10 ** (18 - pool.key.token1.decimals)
    return (x * y // 10**18) * (x * x // 10**18 + y * y // 10**18) // 10**18


def _weighted(pool: Pool) -> Decimal:
    """The logarithm of the product of balances to their weights, to sixty digits."""
    state = pool.state
    assert isinstance(state, BalancesState)
    with localcontext(prec=60):
        pairs = zip(state.balances, state.terms.weights, strict=True)
        return sum((Decimal(balance).ln() * weight for balance, weight in pairs), Decimal(0))


def _stable(pool: Pool) -> int:
    """D of balances with thirty decimals: its rounding is far below a unit of any token."""
    state = pool.state
    assert isinstance(state, BalancesState)
    balances = [balance * factor // 10**6 for balance, factor in zip(state.balances, state.terms.scaling, strict=True)]
    return _precise_invariant(balances, state.terms.amplification, state.terms.amplification_precision)


def _precise_invariant(balances: list[int], amplification: int, precision: int) -> int:
    """Newton's method without a limit on the size of numbers; it may end between two neighbours of the root."""
    count, total, ann = len(balances), sum(balances), amplification * len(balances)
    found = total
    for _ in range(1_000):
        product, before = found, found
        for balance in balances:
            product = product * found // (balance * count)
        numerator = (ann * total + product * count * precision) * found
        found = numerator // ((ann - precision) * found + (count + 1) * product * precision)
        if abs(found - before) <= 1:
            break
    return found


def _liquidity_below(pool: Pool) -> int:
    """Net liquidity up to the tick: what must be active. Round trips tell the rest about pools with ticks."""
    state = pool.state
    assert isinstance(state, ConcentratedState)
    return state.liquidity - sum(tick.liquidity_net for tick in state.ticks if tick.tick <= state.tick)


INVARIANTS: Mapping[Protocol, Callable[[Pool], int | Decimal]] = {
    Protocol.UNISWAP_V2: _product,
    Protocol.SOLIDLY_VOLATILE: _product,
    Protocol.SOLIDLY_STABLE: _solidly,
    Protocol.UNISWAP_V3: _liquidity_below,
    Protocol.PANCAKESWAP_V3: _liquidity_below,
    Protocol.UNISWAP_V4: _liquidity_below,
    Protocol.BALANCER_WEIGHTED: _weighted,
    Protocol.BALANCER_STABLE: _stable,
    Protocol.STABLESWAP: _stable,
}


ROUNDING = {Protocol.BALANCER_STABLE: 10**12, Protocol.STABLESWAP: 10**12}
"""One unit of the contract's own D, which it rounds down before every swap, in the suite's thirty decimals."""


def test_the_invariant_of_the_suite_is_that_of_the_contracts() -> None:
    balances = [10**24, 2 * 10**24, 5 * 10**23]
    precise = _precise_invariant([balance * 10**12 for balance in balances], 85_000, 1_000)
    assert abs(precise // 10**12 - invariant(Curve(balances, 85_000, 1_000))) <= 1
