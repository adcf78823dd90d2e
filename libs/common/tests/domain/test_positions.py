"""Cost, realised result and rounding of positions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.positions import Holdings, MixedQuote, Origin, Position, add_fill, fold_fills, trade
from dexlane.events.execution import FillIncluded, Purpose
from dexlane.values.base import digest
from dexlane.values.books import Lane, Mode
from dexlane.values.chains import BlockRef
from dexlane.values.tokens import Token, TokenDelta

USDC = Token(address="0x" + "a" * 40, symbol="USDC", decimals=6)
WETH, DAI = "0x" + "c" * 40, "0x" + "d" * 40
ORIGIN = Origin(1, 1_000, "momentum")
DAY_MS = 86_400_000


def fill(at: int, *moves: tuple[str, int], intent: str = "", purpose: Purpose = Purpose.ENTRY) -> FillIncluded:
    name = intent or str(at)
    return FillIncluded(
        id=FillIncluded.make_id(digest(name), 1),
        chain_id=1,
        occurred_at_ms=at * DAY_MS,
        intent_id=digest(name),
        book_id="alpha",
        mode=Mode.PAPER,
        lane=Lane.FAST,
        account="0x" + "1" * 40,
        purpose=purpose,
        strategy="momentum",
        outcome_version=1,
        fee_paid_wei=10**15,
        block=BlockRef(number=at, hash=f"0x{at:064x}"),
        quote=USDC,
        deltas=tuple(TokenDelta(token=token, amount=amount) for token, amount in moves),
        quoted_out=1,
    )


def q(amount: int) -> tuple[str, int]:
    return USDC.address, amount


def test_buying_is_no_loss() -> None:
    held = fold_fills([fill(1, q(-1_000), (WETH, 5))])
    assert held.positions[WETH].quantity == 5
    assert held.positions[WETH].cost == 1_000
    assert held.realised == 0


def test_the_oldest_lots_are_sold_first() -> None:
    held = fold_fills([fill(1, q(-100), (WETH, 10)), fill(2, q(-300), (WETH, 10)), fill(3, q(220), (WETH, -11))])
    position = held.positions[WETH]
    assert position.realised == 220 - 100 - 30
    assert (position.quantity, position.cost, position.cost_in, position.cost_sold) == (9, 270, 400, 130)
    assert position.origin is not None
    assert position.origin.block_number == 2


def test_a_part_of_a_lot_releases_its_cost_rounded_down_and_the_rest_stays() -> None:
    position = trade(trade(Position(), 3, -100, ORIGIN), -1, 40, ORIGIN)
    assert (position.realised, position.cost) == (40 - 33, 67)


def test_gas_is_no_part_of_the_result() -> None:
    held = fold_fills([fill(1, q(-100), (WETH, 1)), fill(2, q(100), (WETH, -1))])
    assert held.realised == 0


def test_a_gap_realises_its_difference_at_once_and_leaves_no_lot() -> None:
    held = fold_fills([fill(1, q(7))])
    assert held.positions[USDC.address].realised == 7
    assert held.positions[USDC.address].lots == ()


def test_results_are_kept_by_day() -> None:
    held = fold_fills([fill(1, q(-100), (WETH, 2)), fill(2, q(60), (WETH, -1)), fill(3, q(40), (WETH, -1))])
    assert held.realised_by_day == {2: 10, 3: -10}


def test_what_was_sold_but_never_bought_claims_no_result() -> None:
    held = fold_fills([fill(1, q(50), (WETH, -1))])
    position = held.positions[WETH]
    assert (position.quantity, position.cost, position.realised) == (-1, -50, 0)
    covered = add_fill(held, fill(2, q(-45), (WETH, 1)))
    assert (covered.positions[WETH].quantity, covered.positions[WETH].realised) == (0, 5)


def test_a_sale_that_arrives_before_its_purchase_ends_the_same() -> None:
    buy, sell = fill(1, q(-100), (WETH, 2)), fill(2, q(120), (WETH, -2), purpose=Purpose.EXIT)
    assert fold_fills([sell, buy]) == fold_fills([buy, sell])
    assert fold_fills([sell, buy]).realised == 20


def test_within_one_block_exits_are_folded_last() -> None:
    buy = fill(1, q(-100), (WETH, 2), intent="z")
    sell = fill(1, q(120), (WETH, -2), intent="a", purpose=Purpose.EXIT)
    assert fold_fills([sell, buy]).realised == 20


def test_a_swap_without_quote_carries_the_cost_over() -> None:
    held = fold_fills([fill(1, q(-100), (WETH, 2)), fill(2, (WETH, -1), (DAI, 60))])
    assert held.realised == 0
    assert (held.positions[WETH].cost, held.positions[DAI].cost) == (50, 50)


def test_two_quote_tokens_in_one_account_are_refused() -> None:
    other = fill(2, (WETH, 1)).model_copy(update={"quote": Token(address=DAI, symbol="DAI", decimals=18)})
    with pytest.raises(MixedQuote):
        fold_fills([fill(1, q(-100), (WETH, 2)), other])


def test_a_fill_that_moved_nothing_leaves_no_trace() -> None:
    assert fold_fills([fill(1)]) == Holdings()


big = st.integers(min_value=-(10**40), max_value=10**40)


@given(st.lists(st.tuples(big.filter(bool), big), max_size=25))
def test_cost_and_money_are_conserved_to_the_last_unit(trades: list[tuple[int, int]]) -> None:
    position = Position()
    for quantity, flow in trades:
        position = trade(position, quantity, flow, ORIGIN)
        assert position.cost_in == position.cost + position.cost_sold
        assert len({lot.quantity > 0 for lot in position.lots}) <= 1
    assert position.quantity == sum(quantity for quantity, _ in trades)
    assert sum(flow for _, flow in trades) == position.realised - position.cost


@pytest.mark.parametrize("sign", [1, -1])
def test_a_return_stays_within_what_a_ledger_can_hold(sign: int) -> None:
    bought, sold = fill(1, (USDC.address, -1), (WETH, 5)), fill(2, (USDC.address, sign * 2**255), (WETH, -5))
    assert fold_fills([bought, sold]).trades[sold.intent_id].return_bps == sign * 1_000_000_000
