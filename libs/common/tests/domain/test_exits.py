"""A position is judged by what selling all of it would bring."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.amm.quoting import quote_exact_in
from dexlane.domain.exits import ExecutableValue, HeldPosition, Warned, evaluate_exit, executable_value, warned
from dexlane.events.portfolio import ExitReason
from dexlane.events.risk import TokenFlagged
from dexlane.testing.builders import USDC as KNOWN
from dexlane.testing.builders import a_block_ref, an_address
from dexlane.values.books import ExitRules
from dexlane.values.pools import ConstantProductState, Pool, PoolKey, Protocol
from dexlane.values.tokens import Token

USDC = Token(address="0x" + "a" * 40, symbol="USDC", decimals=6)
WETH = Token(address="0x" + "c" * 40, symbol="WETH", decimals=18)
RULES = ExitRules(stop_loss_bps=300, take_profit_bps=500, max_age_s=3_600)
COST = 1_000_000_000
OTHER = an_address("another token")


def held(*, quantity: int = 10**18, cost: int = COST, age_s: int | None = 0) -> HeldPosition:
    return HeldPosition(WETH, USDC, quantity, cost, age_s)


def worth(proceeds: int) -> ExecutableValue:
    return ExecutableValue("0x" + "1" * 40, proceeds)


def v2_pool(number: int, usdc: int, weth: int) -> Pool:
    key = PoolKey(address=f"0x{number:040x}", protocol=Protocol.UNISWAP_V2, token0=USDC, token1=WETH, fee_pips=3_000)
    return Pool(key=key, state=ConstantProductState(reserve0=usdc, reserve1=weth))


@pytest.mark.parametrize(
    ("proceeds", "reason"),
    [
        (COST * 97 // 100, ExitReason.STOP_LOSS),
        (COST * 97 // 100 + 1, None),
        (COST, None),
        (COST * 105 // 100 - 1, None),
        (COST * 105 // 100, ExitReason.TAKE_PROFIT),
    ],
)
def test_a_limit_counts_as_reached_to_the_smallest_unit(proceeds: int, reason: ExitReason | None) -> None:
    signal = evaluate_exit(RULES, held(), worth(proceeds))
    assert (signal and signal.reason) == reason


def test_the_sentence_says_what_was_compared() -> None:
    signal = evaluate_exit(RULES, held(), worth(950_000_000))
    assert signal is not None
    assert signal.detail == "Selling 1 WETH now brings 950 USDC for a cost of 1000 USDC (-5 %); stop loss at -3 %."


def test_age_closes_a_position_without_a_price() -> None:
    assert evaluate_exit(RULES, held(age_s=3_599), None) is None
    signal = evaluate_exit(RULES, held(age_s=3_600), None)
    assert signal is not None
    assert signal.reason is ExitReason.MAX_AGE
    assert signal.detail == "WETH has been held for 3600 s; the limit is 3600 s."


def test_a_stop_loss_goes_before_age() -> None:
    signal = evaluate_exit(RULES, held(age_s=9_999), worth(1))
    assert signal is not None
    assert signal.reason is ExitReason.STOP_LOSS


def test_without_a_price_or_a_cost_the_price_rules_stay_silent() -> None:
    assert evaluate_exit(RULES, held(age_s=None), None) is None
    assert evaluate_exit(RULES, held(cost=0), worth(1)) is None


def a_flag(block: int, flag: str = "failed_trial", token: str = OTHER, tax: int | None = None) -> TokenFlagged:
    return TokenFlagged(
        id=TokenFlagged.make_id(1, token, flag, block), chain_id=1, occurred_at_ms=1, token=token, flag=flag,
        reason=f"because of {block}", block=a_block_ref(block), sell_tax_bps=tax,
    )  # fmt: skip


def test_an_unsafe_token_goes_before_everything_unless_the_book_keeps_it() -> None:
    warning = Warned(7, "a sale loses 3000 bps", 3_000)
    holding = replace(held(age_s=9_999), warning=warning)
    signal = evaluate_exit(RULES, holding, worth(1))
    assert signal is not None
    assert (signal.reason, signal.sell_tax_bps) == (ExitReason.TOKEN_FLAGGED, 3_000)
    assert signal.detail == "WETH is unsafe since block 7: a sale loses 3000 bps"
    keeping = evaluate_exit(RULES.model_copy(update={"flagged_tokens": False}), holding, worth(1))
    assert keeping is not None
    assert keeping.reason is ExitReason.STOP_LOSS


@given(st.permutations([(5, "failed_trial", 100), (7, "code_changed", None), (9, "tax_raised", 2_000)]))
def test_the_newest_warning_holds_in_whatever_order_flags_come(order: list[tuple[int, str, int | None]]) -> None:
    known = None
    for block, flag, tax in order:
        known = warned(known, a_flag(block, flag, tax=tax))
    assert known is not None
    assert (known.block_number, known.reason) == (7, "because of 7")


def test_a_raised_tax_is_no_reason_to_leave_and_changes_what_is_expected() -> None:
    assert warned(None, a_flag(5, "tax_raised", tax=900)) is None
    unsafe = warned(None, a_flag(5, tax=900))
    assert warned(unsafe, a_flag(6, "tax_raised", tax=1_500)) == Warned(5, "because of 5", 1_500)
    assert warned(unsafe, a_flag(6, "owner_changed")) == unsafe


@pytest.mark.parametrize(("flag", "leaves"), [("implementation_changed", False), ("failed_trial", True)])
def test_a_known_issuer_may_upgrade(flag: str, leaves: bool) -> None:
    assert (warned(None, a_flag(5, flag, token=KNOWN.address)) is not None) == leaves
    assert warned(None, a_flag(5, flag)) is not None


def test_what_is_not_held_is_never_closed() -> None:
    assert evaluate_exit(RULES, held(quantity=0, age_s=9_999), worth(1)) is None
    assert evaluate_exit(RULES, held(quantity=-5, cost=-5, age_s=9_999), worth(1)) is None


def test_the_value_is_the_exact_output_of_the_pool_that_pays_most() -> None:
    pools = {pool.key.address: pool for pool in (v2_pool(1, 10**12, 10**21), v2_pool(2, 2 * 10**12, 10**21))}
    value = executable_value(pools, WETH.address, USDC.address, 10**18)
    best = quote_exact_in(pools[f"0x{2:040x}"], WETH.address, 10**18)
    assert value == ExecutableValue(f"0x{2:040x}", best.amount_out)


def test_the_value_has_our_own_impact_in_it() -> None:
    pools = {pool.key.address: pool for pool in (v2_pool(1, 10**12, 10**21),)}
    small = executable_value(pools, WETH.address, USDC.address, 10**18)
    large = executable_value(pools, WETH.address, USDC.address, 100 * 10**18)
    assert small is not None
    assert large is not None
    assert large.proceeds < 100 * small.proceeds


def test_a_part_is_judged_as_what_all_of_it_brings_and_the_sentence_says_what_nobody_takes() -> None:
    signal = evaluate_exit(RULES, held(), replace(worth(950_000_000), pool=None, rest=3 * 10**17))
    assert signal is not None
    assert "(-5 %), and nobody takes 0.3 of it; stop loss at -3 %." in signal.detail


def test_what_nobody_takes_any_of_is_closed_by_no_price() -> None:
    assert evaluate_exit(RULES, held(age_s=None), replace(worth(0), pool=None, rest=10**18)) is None
