"""Positions that no single pool takes: what they are worth, when that is believed, and how they are closed in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dexlane.domain.amm.quoting import quote_exact_in
from dexlane.domain.circumstances import Holdings, Planned, PlanningRules
from dexlane.domain.planning import plan
from dexlane.domain.simulation import PaperWorld, Result, Scene, SimulationModel, execute
from dexlane.domain.thoughts.recording import decided_again
from dexlane.events.execution import IntentCreated, Purpose
from dexlane.events.portfolio import ExitReason, ExitTriggered, ExposureChanged, PositionChanged
from dexlane.events.risk import DecisionRecorded, TokenFlagged
from dexlane.events.thoughts import DocumentsRecorded
from dexlane.testing.builders import (
    BOOK_ID,
    CHAIN_ID,
    ENTRY_IN,
    ENTRY_OUT,
    NOW_MS,
    USDC,
    V2_POOL,
    WETH,
    a_block,
    a_block_ref,
    a_book,
    a_fill,
    a_market,
    a_one_tick_pool,
    an_exit_intent,
    an_exposure,
    an_opened_account,
)
from dexlane.values.chains import NATIVE
from dexlane.values.pools import Pool
from dexlane.values.tokens import TokenDelta
from portfolio.marks import ExitWatch

if TYPE_CHECKING:
    from conftest import Portfolio

TICK = 200_311
CRASHED = TICK + 1_054
"""The price fell by a tenth."""
PATIENCE = 10
"""That of the portfolio under test, in blocks."""
STANDS = 3


def narrow(name: str, tick: int = TICK, liquidity: int = 5 * 10**17) -> Pool:
    """Takes rather more than half of the position that the default entry opened."""
    return a_one_tick_pool(tick, liquidity, name)


def watch_only(portfolio: Portfolio, *pools: Pool) -> None:
    """Let these pools be all that the mirror knows, between two blocks."""
    book = portfolio.mirror.book
    for address in list(book.pools):
        book.leave(address)
    assert book.tip is not None
    for pool in pools:
        book.join(pool, book.tip)


async def blocks(portfolio: Portfolio, first: int, last: int) -> list[ExitReason]:
    """Apply blocks in which no pool changes; the exits that were triggered so far."""
    for number in range(first, last + 1):
        event = a_block(number)
        portfolio.clock.advance(max(0, event.occurred_at_ms - portfolio.clock.now_ms()))
        await portfolio.mirror.apply(event)
    return [one.reason for one in await portfolio.emitted(ExitTriggered)]


async def is_decided_again(portfolio: Portfolio) -> bool:
    """Whether the one exit comes out the same from what is on record of it."""
    (decision,) = await portfolio.emitted(DecisionRecorded)
    texts: dict[str, str] = {}
    for told in await portfolio.emitted(DocumentsRecorded):
        texts |= told.documents
    return decided_again(decision.inputs_id or "", texts.get).to_wire() == decision.to_wire()


async def holding(portfolio: Portfolio) -> None:
    """A position in a market of two narrow pools, seen whole in one block."""
    await portfolio.accounting.open_account(an_opened_account())
    watch_only(portfolio, narrow("one"), narrow("two"))
    await portfolio.book(a_fill())
    taken = [quote_exact_in(pool, WETH.address, ENTRY_OUT) for pool in portfolio.mirror.book.pools.values()]
    assert all(one.partial for one in taken)
    assert await blocks(portfolio, 101, 101) == []


async def test_a_position_over_two_narrow_pools_has_a_price_and_stays_open_while_it_is_healthy(
    portfolio: Portfolio,
) -> None:
    await holding(portfolio)
    assert await blocks(portfolio, 102, 120) == []
    told = (await portfolio.emitted(ExposureChanged))[-1]
    assert told.parts is not None
    (part,) = told.parts
    assert part.pool is None, "of which no single pool takes all"
    assert part.worth is not None
    assert 0.99 * ENTRY_IN < part.worth < ENTRY_IN
    assert told.equity is not None
    assert portfolio.metrics.registry.get_sample_value("dexlane_portfolio_unsellable_total", {"book": BOOK_ID}) is None


async def test_a_stop_loss_closes_a_position_over_two_narrow_pools_at_once(portfolio: Portfolio) -> None:
    await holding(portfolio)
    watch_only(portfolio, narrow("one", CRASHED), narrow("two", CRASHED))
    assert await blocks(portfolio, 102, 102) == [ExitReason.STOP_LOSS]
    (triggered,) = await portfolio.emitted(ExitTriggered)
    assert triggered.quantity == ENTRY_OUT
    assert await is_decided_again(portfolio)


async def test_liquidity_that_is_gone_for_a_moment_closes_nothing(portfolio: Portfolio) -> None:
    await holding(portfolio)
    watch_only(portfolio, narrow("one"), narrow("two", liquidity=0))
    assert await blocks(portfolio, 102, 101 + STANDS) == []
    watch_only(portfolio, narrow("one"), narrow("two"))
    assert await blocks(portfolio, 102 + STANDS, 102 + STANDS) == []
    watch_only(portfolio, narrow("one"), narrow("two", liquidity=0))
    assert await blocks(portfolio, 103 + STANDS, 102 + 2 * STANDS) == []


async def test_liquidity_that_has_left_closes_a_position_with_what_is_left_for_it(portfolio: Portfolio) -> None:
    await holding(portfolio)
    watch_only(portfolio, narrow("one"), narrow("two", liquidity=0))
    assert await blocks(portfolio, 102, 102 + STANDS) == [ExitReason.STOP_LOSS]
    (triggered,) = await portfolio.emitted(ExitTriggered)
    assert "and nobody takes 0." in triggered.detail
    assert await is_decided_again(portfolio)
    await blocks(portfolio, 103 + STANDS, 108 + STANDS)
    assert portfolio.metrics.registry.get_sample_value("dexlane_portfolio_unsellable_total", {"book": BOOK_ID}) == 2


async def test_a_pool_that_is_not_told_of_for_a_while_closes_nothing(portfolio: Portfolio) -> None:
    await holding(portfolio)
    watch_only(portfolio, narrow("one"))
    assert await blocks(portfolio, 102, 101 + PATIENCE) == []
    watch_only(portfolio, narrow("one"), narrow("two"))
    assert await blocks(portfolio, 102 + PATIENCE, 110 + PATIENCE) == []


async def test_what_is_not_watched_for_long_cannot_be_sold_in_either(portfolio: Portfolio) -> None:
    await holding(portfolio)
    watch_only(portfolio, narrow("one"))
    assert await blocks(portfolio, 102, 102 + PATIENCE) == [ExitReason.STOP_LOSS]


async def test_a_restart_with_a_pool_missing_closes_nothing_at_first(portfolio: Portfolio) -> None:
    await holding(portfolio)
    watch = ExitWatch(portfolio.journal, portfolio.accounting.announcer, portfolio.deps.sides, 5, PATIENCE)
    watch_only(portfolio, narrow("one"))
    for number in range(102, 102 + PATIENCE):
        await watch.on_block(a_block(number))
    assert await portfolio.emitted(ExitTriggered) == []
    await watch.on_block(a_block(102 + PATIENCE))
    assert [one.reason for one in await portfolio.emitted(ExitTriggered)] == [ExitReason.STOP_LOSS]


@pytest.mark.parametrize("known", [True, False])
async def test_age_needs_no_believed_price(portfolio: Portfolio, known: bool) -> None:
    await holding(portfolio)
    watch_only(portfolio, narrow("one"), *([narrow("two", liquidity=0)] if known else []))
    await portfolio.book(a_fill(occurred_at_ms=1, outcome_version=2, block=a_block_ref(90)))
    assert await blocks(portfolio, 102, 102) == [ExitReason.MAX_AGE]
    assert await is_decided_again(portfolio)


async def test_parts_of_an_unsafe_token_that_were_sold_are_no_tries_in_vain(portfolio: Portfolio) -> None:
    await holding(portfolio)
    portfolio.watch.flagged_attempts = 2
    flag, block = "failed_trial", a_block_ref(101)
    portfolio.deps.sides.note_flag(
        TokenFlagged(
            id=TokenFlagged.make_id(CHAIN_ID, WETH.address, flag, block.number), chain_id=CHAIN_ID,
            occurred_at_ms=NOW_MS, token=WETH.address, flag=flag, reason="a sale loses too much", block=block,
        )
    )  # fmt: skip
    part = (TokenDelta(token=WETH.address, amount=-ENTRY_OUT // 8), TokenDelta(token=USDC.address, amount=100 * 10**6))
    for number in range(102, 106):
        assert len(await blocks(portfolio, number, number)) == number - 101
        exit_ = (await portfolio.emitted(ExitTriggered))[-1]
        await portfolio.book(a_fill(an_exit_intent(exit_), block=a_block_ref(number), deltas=part))


async def test_a_position_is_closed_in_parts_until_nothing_is_left(portfolio: Portfolio) -> None:
    """On paper, as the fast lane does it: one pool for each sale, and pools as the chain shows them afterwards."""
    await holding(portfolio)
    world, book, model = PaperWorld(), a_book(), SimulationModel()
    account = an_opened_account().account
    world.balances |= {(account, WETH.address): ENTRY_OUT, (account, NATIVE): 10**18}
    watch_only(portfolio, narrow("one", CRASHED), narrow("two", CRASHED, 6 * 10**17))
    number, sold = 102, []
    while (await portfolio.position(BOOK_ID, account, WETH.address)).position.quantity:
        await blocks(portfolio, number, number)
        exit_ = (await portfolio.emitted(ExitTriggered))[-1]
        assert (exit_.block.number, exit_.quantity) == (number, ENTRY_OUT - sum(sold))
        pools = dict(portfolio.mirror.book.pools)
        market = a_market(*pools.values(), block=a_block_ref(number))
        planned = plan(exit_, book, Holdings(exposure=an_exposure()), market, PlanningRules())
        assert isinstance(planned, Planned), planned
        intent = an_exit_intent(exit_, plan=planned.plan, id=IntentCreated.make_id(BOOK_ID, exit_.id, Purpose.EXIT))
        outcome = execute(intent, Scene(a_block(number + 1, base_fee_per_gas_wei=10**9), pools), world, model)
        assert outcome.result is Result.FILLED
        sold.append(planned.plan.amount_in)
        block = a_block_ref(number + 1)
        await portfolio.book(a_fill(intent, block=block, deltas=outcome.deltas, fee_paid_wei=outcome.fee_paid_wei))
        watch_only(portfolio, *world.pools_seen_by(BOOK_ID, pools).values())
        world.impacts.clear()
        number += 1
    assert [0 < one < ENTRY_OUT for one in sold] == [True, True]
    assert (world.balance(account, WETH.address), sum(sold)) == (0, ENTRY_OUT)
    changes = [one for one in await portfolio.emitted(PositionChanged) if one.token == WETH]
    assert [one.quantity for one in changes] == [ENTRY_OUT, ENTRY_OUT - sold[0], 0]
    exposure = (await portfolio.emitted(ExposureChanged))[-1]
    assert (exposure.open_positions, exposure.at_work) == (0, 0)
    assert exposure.realised_total == world.balance(account, USDC.address) - ENTRY_IN
    assert await blocks(portfolio, number, number + 5) == [ExitReason.STOP_LOSS] * 2
    assert V2_POOL not in portfolio.mirror.book.pools
