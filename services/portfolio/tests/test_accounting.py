"""Outcomes become exact books, once, whatever the order and repetition of their delivery."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from dexlane.domain.ledger import AccountKind, LedgerAccount, Outcome
from dexlane.domain.positions import DAY_MS, fold_fills
from dexlane.events.execution import Purpose
from dexlane.events.portfolio import ExposureChanged, PositionChanged
from dexlane.runtime.errors import Fatal, InvalidEvent
from dexlane.testing.builders import (
    BOOK_ID,
    ENTRY_IN,
    ENTRY_OUT,
    NOW_MS,
    USDC,
    WETH,
    a_block_ref,
    a_confirmed_fill,
    a_failure,
    a_fill,
    a_reversed_fill,
    an_account,
    an_intent,
    an_opened_account,
)
from dexlane.values.base import digest
from dexlane.values.chains import NATIVE
from dexlane.values.tokens import TokenDelta
from portfolio.accounting import same_holdings
from portfolio.store.entries import EntryStore
from portfolio.store.positions import PositionStore
from portfolio.store.tables import balances

if TYPE_CHECKING:
    from conftest import Portfolio

ACCOUNT = an_account()
ASSETS = LedgerAccount(AccountKind.ASSETS, BOOK_ID, ACCOUNT).path
FEE = 105_000 * 11 * 10**9


async def test_a_duplicate_delivery_books_once(portfolio: Portfolio) -> None:
    fill = a_fill()
    await portfolio.book(fill, fill)
    assert (await portfolio.balances())[ASSETS, USDC.address] == -ENTRY_IN
    assert len(await portfolio.emitted(PositionChanged)) == 1


async def test_a_confirmation_before_its_inclusion_ends_the_same(portfolio: Portfolio) -> None:
    await portfolio.book(a_confirmed_fill(), a_fill())
    held = await portfolio.balances()
    assert held[ASSETS, WETH.address] == ENTRY_OUT
    assert held[ASSETS, NATIVE] == -FEE
    async with portfolio.journal.reading() as conn:
        assert await EntryStore(conn).not_final() == 0


async def test_a_confirmation_of_the_same_content_changes_no_position(portfolio: Portfolio) -> None:
    await portfolio.book(a_fill(), a_confirmed_fill())
    assert [event.position_version for event in await portfolio.emitted(PositionChanged)] == [1]
    async with portfolio.journal.reading() as conn:
        assert await EntryStore(conn).counts() == (1, 6)
        assert await EntryStore(conn).not_final() == 0


async def test_a_reversal_takes_the_fill_back(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_fill(), a_reversed_fill())
    opened = {(ASSETS, USDC.address): 20_000 * 10**6, (ASSETS, NATIVE): 10**18}
    assert {key: amount for key, amount in (await portfolio.balances()).items() if key[0] == ASSETS} == opened
    last = (await portfolio.emitted(PositionChanged))[-1]
    assert (last.position_version, last.quantity, last.cost, last.unrealised) == (2, 0, 0, 0)
    assert (await portfolio.emitted(ExposureChanged))[-1].at_work == 0


async def test_a_fill_included_again_in_another_block_moves_its_date(portfolio: Portfolio) -> None:
    again = a_fill(outcome_version=3, block=a_block_ref(104))
    await portfolio.book(a_fill(), a_reversed_fill(), again)
    assert await portfolio.balances(103) == {}
    assert (await portfolio.balances(104))[ASSETS, WETH.address] == ENTRY_OUT


async def test_buying_is_no_loss(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_fill())
    position = (await portfolio.emitted(PositionChanged))[-1]
    assert (position.quantity, position.cost, position.realised) == (ENTRY_OUT, ENTRY_IN, 0)
    exposure = (await portfolio.emitted(ExposureChanged))[-1]
    assert (exposure.at_work, exposure.open_positions) == (ENTRY_IN, 1)
    assert (exposure.realised_today, exposure.realised_total) == (0, 0)
    assert exposure.fees_paid_wei == FEE
    assert exposure.native_balance_wei == 10**18 - FEE
    # Twice the pool's fee and our own impact, and nothing more, separates equity from the opening balance.
    assert exposure.equity is not None
    assert 20_000 * 10**6 - 7 * 10**6 < exposure.equity < 20_000 * 10**6
    assert position.unrealised == exposure.equity - 20_000 * 10**6


async def test_equity_says_no_data_when_a_price_is_missing(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    portfolio.clock.advance(120_000)
    await portfolio.book(a_fill())
    assert (await portfolio.emitted(ExposureChanged))[-1].equity is None
    assert (await portfolio.emitted(PositionChanged))[-1].unrealised is None


async def test_dust_is_worth_nothing_and_hides_no_equity(portfolio: Portfolio) -> None:
    dust = TokenDelta(token=WETH.address, amount=1)
    opened = an_opened_account()
    await portfolio.accounting.open_account(an_opened_account(balances=(*opened.balances, dust)))
    assert (await portfolio.emitted(ExposureChanged))[-1].equity == 20_000 * 10**6


async def test_a_token_that_lost_its_liquidity_adds_nothing_and_hides_no_equity(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_fill())
    for number in range(101, 107):
        await portfolio.block(number, usdc=0)
    assert (await portfolio.emitted(ExposureChanged))[-1].equity == 20_000 * 10**6 - ENTRY_IN


async def test_an_account_opens_once(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    twice = an_opened_account(id=digest("another id"))
    await portfolio.accounting.open_account(twice)
    assert (await portfolio.balances())[ASSETS, USDC.address] == 20_000 * 10**6


async def test_a_failure_books_only_its_gas(portfolio: Portfolio) -> None:
    await portfolio.book(a_failure())
    assert (await portfolio.balances())[ASSETS, NATIVE] == -50_000 * 11 * 10**9
    assert await portfolio.emitted(PositionChanged) == []


async def test_a_success_that_turned_into_a_revert_is_corrected(portfolio: Portfolio) -> None:
    await portfolio.book(a_fill(), a_failure(outcome_version=2))
    held = await portfolio.balances()
    assert (ASSETS, WETH.address) not in held
    assert held[ASSETS, NATIVE] == -50_000 * 11 * 10**9
    assert (await portfolio.position(BOOK_ID, ACCOUNT, WETH.address)).position.quantity == 0


async def test_a_price_gap_realises_in_quote(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    gain = (TokenDelta(token=USDC.address, amount=5 * 10**6),)
    await portfolio.book(a_fill(an_intent(purpose=Purpose.GAP), deltas=gain))
    changed = (await portfolio.emitted(PositionChanged))[-1]
    assert (changed.token, changed.quantity, changed.realised) == (USDC, 0, 5 * 10**6)
    exposure = (await portfolio.emitted(ExposureChanged))[-1]
    assert (exposure.realised_today, exposure.open_positions) == (5 * 10**6, 0)


async def test_a_result_that_is_confirmed_after_midnight_is_no_fault_of_the_books(portfolio: Portfolio) -> None:
    before_midnight = (NOW_MS // DAY_MS + 1) * DAY_MS - 1_000
    gap, gain = an_intent(purpose=Purpose.GAP), (TokenDelta(token=USDC.address, amount=5 * 10**6),)
    included = a_fill(gap, deltas=gain, occurred_at_ms=before_midnight)
    await portfolio.book(included, a_confirmed_fill(gap, deltas=gain, occurred_at_ms=before_midnight + 12_000))
    await portfolio.accounting.verify()
    async with portfolio.journal.transaction() as tx:
        await tx.conn.execute(sa.text("UPDATE daily_results SET realised = '1'"))
    with pytest.raises(Fatal, match="differ from a rebuild"):
        await portfolio.accounting.verify()
    async with portfolio.journal.transaction() as tx:
        await tx.conn.execute(sa.text("UPDATE daily_results SET realised = '5000000'"))


async def test_contradicting_outcomes_of_one_version_are_set_aside(portfolio: Portfolio) -> None:
    await portfolio.book(a_fill())
    other = a_fill(id=digest("other"), deltas=(TokenDelta(token=USDC.address, amount=-1),))
    with pytest.raises(InvalidEvent, match="two different"):
        await portfolio.book(other)
    assert (await portfolio.balances())[ASSETS, USDC.address] == -ENTRY_IN


async def test_a_token_no_pool_knows_is_booked_and_not_told(portfolio: Portfolio) -> None:
    stranger = "0x" + "9" * 40
    deltas = (TokenDelta(token=USDC.address, amount=-7), TokenDelta(token=stranger, amount=3))
    await portfolio.book(a_fill(deltas=deltas))
    assert (await portfolio.balances())[ASSETS, stranger] == 3
    assert await portfolio.emitted(PositionChanged) == []


def history(rng: random.Random) -> list[Outcome]:
    """Outcomes of a dozen intents: bought, sold, reversed, included again, failed, confirmed."""
    events: list[Outcome] = []
    for number in range(12):
        purpose = rng.choice([Purpose.ENTRY, Purpose.EXIT])
        intent = an_intent().model_copy(update={"id": digest("intent", number), "purpose": purpose})
        sign = 1 if purpose is Purpose.ENTRY else -1
        deltas = (
            TokenDelta(token=USDC.address, amount=-sign * rng.randrange(1, 10**9)),
            TokenDelta(token=WETH.address, amount=sign * rng.randrange(1, 10**20)),
        )
        more = {"deltas": deltas, "occurred_at_ms": rng.randrange(1, 10**10)}
        events.append(a_fill(intent, block=a_block_ref(100 + rng.randrange(8)), **more))
        fate = rng.choice(["stays", "reversed", "again", "failed", "confirmed"])
        if fate in {"reversed", "again"}:
            events.append(a_reversed_fill(intent))
        if fate == "again":
            events.append(a_confirmed_fill(intent, outcome_version=3, block=a_block_ref(109), **more))
        if fate == "failed":
            events.append(a_failure(intent, outcome_version=2))
        if fate == "confirmed":
            # Finality is noticed later than inclusion, and says so.
            more["occurred_at_ms"] = events[-1].occurred_at_ms + 12_000
            events.append(a_confirmed_fill(intent, block=events[-1].block, **more))
    return events


@pytest.mark.parametrize("seed", range(4))
async def test_incremental_books_equal_a_rebuild_in_any_order(portfolio: Portfolio, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  (a reproducible shuffle)
    events = history(rng)
    delivered = events + rng.choices(events, k=8)
    rng.shuffle(delivered)
    await portfolio.book(*delivered)
    await portfolio.accounting.verify()
    in_order = {event.intent_id: event for event in sorted(events, key=lambda event: event.outcome_version)}
    async with portfolio.journal.reading() as conn:
        stored = await PositionStore(conn).holdings(BOOK_ID, ACCOUNT)
        fills = await EntryStore(conn).standing_fills(BOOK_ID, ACCOUNT)
    assert {fill.id for fill in fills} == {e.id for e in in_order.values() if e.NAME.startswith("fill.") and e.block}
    assert same_holdings(stored, fold_fills(fills))
    versions = [event.position_version for event in await portfolio.emitted(PositionChanged)]
    assert all(later == earlier + 1 for earlier, later in itertools.pairwise(versions))


async def test_books_that_do_not_balance_stop_the_service(portfolio: Portfolio) -> None:
    await portfolio.book(a_fill())
    async with portfolio.journal.transaction() as tx:
        spoiled = balances.update().where(balances.c.token == NATIVE).values(amount=1)
        await tx.conn.execute(spoiled)
    with pytest.raises(Fatal, match="running balances"):
        await portfolio.accounting.verify()
    async with portfolio.journal.transaction() as tx:
        await tx.conn.execute(sa.text("UPDATE postings SET amount = '5' WHERE ordinal = 0"))
    with pytest.raises(Fatal, match="does not balance"):
        await portfolio.accounting.verify()
    async with portfolio.journal.transaction() as tx:
        for table in ("trades", "balances", "outcomes", "postings", "entries", "lots", "positions"):
            await tx.conn.execute(sa.text(f"DELETE FROM {table}"))  # noqa: S608
