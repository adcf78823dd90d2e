"""What the ledger says about trades: their results, how many were good, and what is at work by token and strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from dexlane.domain.exits import ExecutableValue
from dexlane.events.execution import Purpose
from dexlane.events.portfolio import FILLS_TOLD, ExposureChanged, TradeResults
from dexlane.runtime.errors import Fatal, InvalidEvent
from dexlane.runtime.migrate import upgrade
from dexlane.testing.builders import (
    BOOK_ID,
    ENTRY_IN,
    ENTRY_OUT,
    NOW_MS,
    USDC,
    V2_POOL,
    WETH,
    a_block_ref,
    a_confirmed_fill,
    a_fill,
    a_reversed_fill,
    an_account,
    an_exit,
    an_exit_intent,
    an_intent,
    an_opened_account,
)
from dexlane.values.base import digest
from dexlane.values.tokens import TokenDelta
from portfolio.marks import RESULTS_EVERY, Marks
from portfolio.store.positions import AccountRef, PositionStore
from portfolio.store.tables import trades

if TYPE_CHECKING:
    from conftest import Portfolio
    from dexlane.domain.ledger import Fill


async def told(portfolio: Portfolio) -> ExposureChanged:
    """What the portfolio says about the account at the next mark."""
    account = await the_account(portfolio)
    async with portfolio.journal.transaction() as tx:
        await portfolio.accounting.announcer.exposure(tx, account, None)
    return (await portfolio.emitted(ExposureChanged))[-1]


async def results(portfolio: Portfolio) -> TradeResults:
    """What the results are now, for one who heard of all that was told."""
    await told(portfolio)
    found: ExposureChanged | None = None
    for exposure in await portfolio.emitted(ExposureChanged):
        found = exposure.joined(found)
    assert found is not None
    assert found.results is not None
    return found.results


async def test_results_are_told_when_they_changed_and_now_and_then(portfolio: Portfolio) -> None:
    async def versions() -> list[int]:
        """Of the exposures that told results."""
        told = await portfolio.emitted(ExposureChanged)
        assert all((one.results is None) != (one.results_version == one.exposure_version) for one in told)
        return [one.exposure_version for one in told if one.results is not None]

    await portfolio.accounting.open_account(an_opened_account())
    for _ in range(3):
        await told(portfolio)
    assert await versions() == [1]
    await portfolio.book(a_fill(an_intent()))
    await told(portfolio)
    assert await versions() == [1, 5]
    await portfolio.book(a_confirmed_fill(an_intent(), outcome_version=2))
    await told(portfolio)
    assert await versions() == [1, 5, 7], "what is final changes how many are good"
    for _ in range(RESULTS_EVERY):
        await told(portfolio)
    assert await versions() == [1, 5, 7, 7 + RESULTS_EVERY]


async def test_results_of_a_transaction_that_failed_are_told_by_the_next_one(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_fill(an_intent()))
    account = await the_account(portfolio)
    await portfolio.book(a_confirmed_fill(an_intent(), outcome_version=2))

    async def failing() -> None:
        async with portfolio.journal.transaction() as tx:
            await portfolio.accounting.announcer.exposure(tx, account, None)
            raise InvalidEvent("anything")

    with pytest.raises(InvalidEvent):
        await failing()
    assert (await told(portfolio)).results is not None


async def test_a_holding_is_valued_once_for_an_exposure(portfolio: Portfolio, monkeypatch: pytest.MonkeyPatch) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_fill(an_intent()))
    asked: list[tuple[str, int]] = []
    value = Marks.value

    def counted(marks: Marks, account: AccountRef, token: str, quantity: int) -> ExecutableValue | None:
        asked.append((token, quantity))
        return value(marks, account, token, quantity)

    monkeypatch.setattr(Marks, "value", counted)
    exposure = await told(portfolio)
    assert exposure.equity is not None
    assert asked == [(WETH.address, ENTRY_OUT)]


async def the_account(portfolio: Portfolio) -> AccountRef:
    async with portfolio.journal.reading() as conn:
        account = await PositionStore(conn).account(BOOK_ID, an_account())
    assert account is not None
    return account


def sale(brings: int, *, final: bool = True, version: int = 1) -> Fill:
    """The position of the default entry, sold for so much in block 103."""
    make = a_confirmed_fill if final else a_fill
    deltas = (TokenDelta(token=WETH.address, amount=-ENTRY_OUT), TokenDelta(token=USDC.address, amount=brings))
    return make(
        an_exit_intent(an_exit()),
        purpose=Purpose.EXIT,
        deltas=deltas,
        block=a_block_ref(103),
        outcome_version=version,
    )


async def test_an_entry_is_at_work_by_token_strategy_and_the_pool_it_would_be_sold_in(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_fill(an_intent()))
    exposure = await told(portfolio)
    assert exposure.parts is not None
    (part,) = exposure.parts
    assert (part.token, part.strategy, part.cost, part.pool) == (WETH.address, "momentum", ENTRY_IN, V2_POOL)
    assert part.worth is not None
    assert ENTRY_IN * 99 // 100 < part.worth < ENTRY_IN
    assert part.newest_block == 101
    assert sum(one.cost for one in exposure.parts) == exposure.at_work


async def test_a_part_is_worth_nothing_known_while_no_block_is_current(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_fill(an_intent()))
    portfolio.clock.advance(120_000)
    exposure = await told(portfolio)
    assert exposure.parts is not None
    assert (exposure.parts[0].pool, exposure.parts[0].worth) == (None, None)


async def test_a_good_trade_is_a_final_sale_with_a_gain(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_confirmed_fill(an_intent()), sale(ENTRY_IN + 10, final=False))
    assert (await results(portfolio)).good == 0, "it may still be taken back"
    await portfolio.book(sale(ENTRY_IN + 10, version=2))
    found = await results(portfolio)
    assert (found.trades, found.good, found.tokens) == (1, 1, (WETH.address,))
    assert found.returns_bps == (10 * 10_000 // ENTRY_IN,)


async def test_a_sale_at_a_loss_is_told_and_not_good(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_confirmed_fill(an_intent()), sale(ENTRY_IN * 9 // 10))
    found = await results(portfolio)
    assert (found.good, found.returns_bps) == (0, (-1_000,))


async def test_what_a_reorganisation_takes_back_was_no_trade(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    intent = an_intent()
    await portfolio.book(a_fill(intent))
    assert (await results(portfolio)).trades == 1
    await portfolio.book(a_reversed_fill(intent))
    assert await results(portfolio) == TradeResults(trades=0, good=0, fills=())
    assert (await told(portfolio)).parts == ()


async def test_the_fills_that_are_named_are_final_and_hold(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    intent = an_intent()
    first, last = a_confirmed_fill(intent, outcome_version=2), a_confirmed_fill(intent, outcome_version=5)
    outcomes = (
        (a_fill(intent), ()),
        (first, (first.fill,)),
        (first, (first.fill,)),
        (a_reversed_fill(intent, outcome_version=3), ()),
        (last, (last.fill,)),
        (a_fill(intent, outcome_version=4), (last.fill,)),
    )
    for event, named in outcomes:
        await portfolio.book(event)
        assert (await results(portfolio)).fills == named


async def test_every_final_fill_that_is_booked_is_contained_and_no_other(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    fills = [
        a_confirmed_fill(an_intent(id=digest(number)), block=a_block_ref(101 + number // 2))
        for number in range(FILLS_TOLD + 4)
    ]
    late, *others = fills
    unbooked = a_confirmed_fill(an_intent(id=digest("unbooked")), block=a_block_ref(110))
    for one in others[:-3]:
        await portfolio.book(one)
        assert not (await results(portfolio)).contain(unbooked.fill)
    assert not (await results(portfolio)).contain(others[-1].fill)
    await portfolio.book(*others[-3:], late)
    found = await results(portfolio)
    assert [one.block for one in found.fills or ()] == [one.fill.block for one in reversed(fills[4:])]
    assert all(found.contain(one.fill) for one in fills)
    assert not found.contain(unbooked.fill)


async def test_the_first_exposure_after_an_update_names_the_fills(portfolio: Portfolio, database_url: str) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_confirmed_fill(an_intent()))
    assert (await told(portfolio)).results is None
    async with portfolio.journal.transaction() as tx:
        before = "UPDATE alembic_version SET version_num = 'portfolio_0003' WHERE version_num = 'portfolio_0004'"
        await tx.conn.execute(sa.text(before))
    await upgrade(database_url, "portfolio")
    found = (await told(portfolio)).results
    assert found is not None
    assert found.fills == (a_confirmed_fill(an_intent()).fill,)


async def test_results_do_not_depend_on_the_order_of_arrival(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(sale(ENTRY_IN + 5_000_000), a_confirmed_fill(an_intent()))
    assert (await results(portfolio)).returns_bps == (50,)


async def test_a_ledger_of_an_earlier_version_is_completed(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_confirmed_fill(an_intent()), sale(ENTRY_IN + 5_000_000))
    before = await results(portfolio)
    async with portfolio.journal.transaction() as tx:
        await tx.conn.execute(sa.delete(trades))
    await portfolio.accounting.verify()
    assert await results(portfolio) == before
    async with portfolio.journal.reading() as conn:
        assert (await conn.execute(sa.select(sa.func.count()).select_from(trades))).scalar_one() == 2


SPOILT = {
    "a result": trades.update().values(realised=10**12),
    "a return": trades.update().values(return_bps=9_000),
    "what counts as good": trades.update().values(is_good=True),
    "a purpose": trades.update().values(purpose="gap"),
    "a token": trades.update().values(token=USDC.address),
    "a trade that is gone": trades.delete().where(trades.c.purpose == "exit"),
    "a trade that never was": trades.insert().values(
        intent_id="0" * 32, book_id=BOOK_ID, address=an_account(), purpose="exit", token=None,
        occurred_at_ms=1, realised=1, return_bps=1, is_good=True,
    ),
    "one of an account that never traded": trades.insert().values(
        intent_id="0" * 32, book_id="another", address=an_account(), purpose="exit", token=None,
        occurred_at_ms=1, realised=1, return_bps=1, is_good=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("spoilt", SPOILT)
async def test_noted_trades_that_differ_from_the_outcomes_stop_the_service(portfolio: Portfolio, spoilt: str) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_confirmed_fill(an_intent()), sale(ENTRY_IN - 5_000_000))
    await portfolio.accounting.verify()
    async with portfolio.journal.transaction() as tx:
        await tx.conn.execute(SPOILT[spoilt])
    with pytest.raises(Fatal, match="differs from a rebuild of its outcomes"):
        await portfolio.accounting.verify()
    async with portfolio.journal.transaction() as tx:
        await tx.conn.execute(trades.delete())


async def test_a_trade_that_was_confirmed_after_its_inclusion_proves_as_well(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_fill(an_intent()))
    await portfolio.book(a_confirmed_fill(an_intent(), outcome_version=2, occurred_at_ms=NOW_MS + 60_000))
    await portfolio.accounting.verify()
