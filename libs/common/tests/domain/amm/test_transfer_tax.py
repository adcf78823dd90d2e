"""Tokens that tax transfers: what arrives is what is quoted, and what the receiver gets is what is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.quoting import quote_exact_in, quote_exact_out
from dexlane.domain.amm.transfer_tax import TransferTax, arriving, needed_for, taxed_exact_in, taxed_exact_out
from dexlane.testing.builders import USDC, WETH, a_pool_v2, a_pool_v3
from dexlane.values.pools import ConstantProductState

bps = st.integers(0, 9_999)


@given(st.integers(1, 1 << 112), bps)
def test_needed_for_is_the_smallest_transfer_that_arrives_in_full(arrived: int, tax_bps: int) -> None:
    needed = needed_for(arrived, tax_bps)
    assert arriving(needed, tax_bps) == arrived
    assert arriving(needed - 1, tax_bps) < arrived


@given(st.integers(10**4, 10**13), bps, bps)
def test_the_pool_is_quoted_for_what_arrives_and_the_receiver_gets_what_is_left(
    amount: int, one: int, other: int
) -> None:
    pool = a_pool_v2()
    taxed = taxed_exact_in(pool, USDC.address, amount, TransferTax(one, other))
    assert taxed.sent == amount
    assert taxed.pool == quote_exact_in(pool, USDC.address, arriving(amount, one))
    assert taxed.received == arriving(taxed.pool.amount_out, other)


@given(st.integers(1, 10**20), bps, bps)
def test_an_exact_output_is_what_arrives_at_the_receiver(amount: int, one: int, other: int) -> None:
    pool, tax = a_pool_v2(), TransferTax(one, other)
    try:
        bought = taxed_exact_out(pool, USDC.address, amount, tax)
    except InsufficientLiquidity:
        assert needed_for(amount, other) >= 10**22
        return
    assert bought.received == amount
    assert arriving(bought.sent, one) == bought.pool.amount_in
    assert taxed_exact_in(pool, USDC.address, bought.sent, tax).received >= amount


def test_without_a_tax_nothing_changes() -> None:
    for pool in (a_pool_v2(), a_pool_v3()):
        sold, bought = quote_exact_in(pool, USDC.address, 10**9), quote_exact_out(pool, USDC.address, 10**17)
        taxed = taxed_exact_in(pool, USDC.address, 10**9, TransferTax())
        assert (taxed.sent, taxed.received, taxed.pool) == (10**9, sold.amount_out, sold)
        taxed = taxed_exact_out(pool, USDC.address, 10**17, TransferTax())
        assert (taxed.sent, taxed.received, taxed.pool) == (bought.amount_in, 10**17, bought)


def test_a_pool_that_is_paid_in_a_callback_refuses_a_taxed_payment_but_not_a_taxed_purchase() -> None:
    pool = a_pool_v3()
    with pytest.raises(InsufficientLiquidity, match="refuses"):
        taxed_exact_in(pool, USDC.address, 10**9, TransferTax(in_bps=1))
    with pytest.raises(InsufficientLiquidity, match="refuses"):
        taxed_exact_out(pool, USDC.address, 10**9, TransferTax(in_bps=1))
    bought = taxed_exact_in(pool, USDC.address, 10**9, TransferTax(out_bps=500))
    assert bought.received == arriving(quote_exact_in(pool, USDC.address, 10**9).amount_out, 500)


def test_a_tax_on_the_way_in_does_not_reach_the_reserves() -> None:
    pool = a_pool_v2()
    before, after = pool.state, taxed_exact_in(pool, WETH.address, 10**18, TransferTax(in_bps=1_000)).pool.next_state
    assert isinstance(before, ConstantProductState)
    assert isinstance(after, ConstantProductState)
    assert after.reserve1 - before.reserve1 == 9 * 10**17


@pytest.mark.parametrize("tax", [TransferTax(in_bps=10_001), TransferTax(out_bps=-1)])
def test_a_tax_beyond_the_whole_is_refused(tax: TransferTax) -> None:
    with pytest.raises(ValueError, match="between"):
        taxed_exact_in(a_pool_v2(), USDC.address, 10**9, tax)


def test_a_token_that_keeps_everything_cannot_be_sold() -> None:
    with pytest.raises(InsufficientLiquidity, match="nothing"):
        taxed_exact_in(a_pool_v2(), USDC.address, 10**9, TransferTax(in_bps=10_000))
    with pytest.raises(InsufficientLiquidity, match="keeps all"):
        taxed_exact_out(a_pool_v2(), USDC.address, 1, TransferTax(out_bps=10_000))
