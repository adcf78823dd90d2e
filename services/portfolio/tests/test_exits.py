"""Positions are closed at executable prices, once, and again only after the first try came to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dexlane.domain.thoughts.recording import Recorded, Recorder
from dexlane.events.control import Status
from dexlane.events.execution import Purpose
from dexlane.events.portfolio import ExitReason, ExitTriggered, ExposureChanged, PositionChanged
from dexlane.events.risk import DecisionRecorded, TokenFlagged
from dexlane.runtime.errors import Transient
from dexlane.testing.builders import (
    BOOK_ID,
    CHAIN_ID,
    ENTRY_OUT,
    NOW_MS,
    USDC,
    V2_POOL,
    WETH,
    a_block,
    a_block_ref,
    a_book,
    a_failure,
    a_fill,
    a_pool_v2,
    a_reversed_fill,
    a_status,
    a_token,
    an_exit,
    an_exit_intent,
    an_opened_account,
)
from dexlane.values.chains import NATIVE
from dexlane.values.tokens import TokenDelta
from portfolio.handlers import routes
from portfolio.marks import ExitWatch
from portfolio.marks.records import ExitRecords

if TYPE_CHECKING:
    from conftest import Portfolio

CRASHED = 18_000_000
"""USDC in the pool after the price fell by a tenth."""
SOARED = 22_000_000


async def holding(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_fill())


@pytest.mark.parametrize(("usdc", "reason"), [(CRASHED, ExitReason.STOP_LOSS), (SOARED, ExitReason.TAKE_PROFIT)])
async def test_a_rule_closes_the_whole_position(portfolio: Portfolio, usdc: int, reason: ExitReason) -> None:
    await holding(portfolio)
    block = await portfolio.block(101, usdc=usdc)
    (triggered,) = await portfolio.emitted(ExitTriggered)
    assert (triggered.reason, triggered.quantity, triggered.token) == (reason, ENTRY_OUT, WETH)
    assert triggered.received_at_ns == block.received_at_ns
    (decision,) = await portfolio.emitted(DecisionRecorded)
    assert (decision.outcome, decision.subject_id) == ("exit_triggered", triggered.id)
    assert decision.reasons == (triggered.detail,)


async def test_a_book_in_native_coin_is_valued_and_closed_where_the_coin_is_traded_wrapped(
    portfolio: Portfolio,
) -> None:
    native = a_token(address=NATIVE, symbol="ETH", decimals=18)
    portfolio.use(a_book(quote=native))
    await portfolio.accounting.open_account(an_opened_account(quote=native))
    paid, bought = TokenDelta(token=NATIVE, amount=-(10**18)), TokenDelta(token=USDC.address, amount=1_994 * 10**6)
    await portfolio.book(a_fill(quote=native, deltas=(paid, bought)))
    told = (await portfolio.emitted(ExposureChanged))[-1]
    assert told.equity is not None
    assert told.parts is not None
    assert told.parts[0].worth is not None
    await portfolio.block(101, usdc=SOARED)
    assert [exit_.reason for exit_ in await portfolio.emitted(ExitTriggered)] == [ExitReason.STOP_LOSS]


async def test_a_position_whose_pool_is_gone_is_told_as_unsellable_without_a_price_and_closed_once_there_is_one(
    portfolio: Portfolio,
) -> None:
    def unsellable() -> float | None:
        return portfolio.metrics.registry.get_sample_value("dexlane_portfolio_unsellable_total", {"book": BOOK_ID})

    async def blocks(first: int, last: int, usdc: int = 20_000_000) -> None:
        for number in range(first, last + 1):
            await portfolio.block(number, usdc=usdc)

    await holding(portfolio)
    await blocks(101, 105)
    assert unsellable() is None
    portfolio.mirror.book.leave(V2_POOL)
    await blocks(106, 110, CRASHED)
    told = (await portfolio.emitted(ExposureChanged))[-1]
    assert told.parts is not None
    assert [(part.pool, part.worth) for part in told.parts] == [(None, None)]
    assert (told.equity, told.block, unsellable()) == (None, a_block_ref(110), 1)
    assert await portfolio.emitted(ExitTriggered) == []
    portfolio.mirror.book.join(a_pool_v2(), a_block_ref(110))
    await blocks(111, 115, CRASHED)
    assert [exit_.reason for exit_ in await portfolio.emitted(ExitTriggered)] == [ExitReason.STOP_LOSS]
    assert unsellable() == 1


async def test_a_position_within_its_limits_stays_open(portfolio: Portfolio) -> None:
    await holding(portfolio)
    await portfolio.block(101)
    assert await portfolio.emitted(ExitTriggered) == []


async def test_age_closes_a_position(portfolio: Portfolio) -> None:
    await holding(portfolio)
    for number in range(101, 104):
        await portfolio.block(number)
    assert await portfolio.emitted(ExitTriggered) == []
    old = a_fill(occurred_at_ms=1, outcome_version=2, block=a_block_ref(90))
    await portfolio.book(old)
    await portfolio.block(104)
    assert [event.reason for event in await portfolio.emitted(ExitTriggered)] == [ExitReason.MAX_AGE]


def flagged(block: int, flag: str = "failed_trial", token: str = WETH.address, **fields: Any) -> TokenFlagged:
    return TokenFlagged(
        id=TokenFlagged.make_id(CHAIN_ID, token, flag, block),
        chain_id=CHAIN_ID,
        occurred_at_ms=NOW_MS,
        token=token,
        flag=flag,
        reason="a sale loses up to 3000 bps to the token",
        block=a_block_ref(block),
        **fields,
    )


async def test_a_token_that_is_found_unsafe_while_it_is_held_is_sold_at_its_tax(portfolio: Portfolio) -> None:
    await holding(portfolio)
    handlers = {route.event_type: route.handler for route in routes(portfolio.deps).followers}
    await handlers[TokenFlagged](flagged(101, sell_tax_bps=3_000), None)
    await portfolio.block(101)
    await portfolio.block(102)
    (triggered,) = await portfolio.emitted(ExitTriggered)
    assert (triggered.reason, triggered.quantity) == (ExitReason.TOKEN_FLAGGED, ENTRY_OUT)
    assert triggered.sell_tax_bps == 3_000
    assert "unsafe since block 101: a sale loses up to 3000 bps" in triggered.detail


async def test_what_was_known_before_a_position_was_opened_closes_nothing(portfolio: Portfolio) -> None:
    await holding(portfolio)
    opened = (await portfolio.position("paper-one", an_opened_account().account, WETH.address)).position.origin
    assert opened is not None
    portfolio.deps.sides.note_flag(flagged(opened.block_number - 1))
    portfolio.deps.sides.note_flag(flagged(opened.block_number, token=USDC.address))
    await portfolio.block(101)
    assert await portfolio.emitted(ExitTriggered) == []


async def test_a_book_may_keep_flagged_tokens(portfolio: Portfolio) -> None:
    await holding(portfolio)
    book = a_book()
    portfolio.use(book.model_copy(update={"exits": book.exits.model_copy(update={"flagged_tokens": False})}))
    portfolio.deps.sides.note_flag(flagged(101))
    await portfolio.block(101)
    assert await portfolio.emitted(ExitTriggered) == []


async def test_a_token_that_cannot_be_sold_is_not_tried_for_ever(portfolio: Portfolio) -> None:
    await holding(portfolio)
    portfolio.watch.flagged_attempts = 2
    portfolio.deps.sides.note_flag(flagged(101, sell_tax_bps=10_000))
    for number in range(101, 106):
        await portfolio.block(number)
        for triggered in (await portfolio.emitted(ExitTriggered))[number - 101 :]:
            await portfolio.book(a_failure(an_exit_intent(triggered)))
    assert [event.reason for event in await portfolio.emitted(ExitTriggered)] == [ExitReason.TOKEN_FLAGGED] * 2
    labels = {"reason": "token_flagged", "step": "given_up"}
    assert portfolio.metrics.registry.get_sample_value("dexlane_portfolio_exits_total", labels) == 1
    portfolio.deps.sides.note_flag(flagged(106, sell_tax_bps=500))
    await portfolio.block(106)
    assert len(await portfolio.emitted(ExitTriggered)) == 3


async def decisions(portfolio: Portfolio) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.subject_id, one.reasons) for one in await portfolio.emitted(DecisionRecorded)]


async def test_an_exit_goes_out_before_its_record_and_the_record_follows(
    portfolio: Portfolio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Recorded:
        raise Transient("the disk is full")

    await holding(portfolio)
    monkeypatch.setattr(Recorder, "recorded", full)
    await portfolio.block(101, usdc=CRASHED)
    (triggered,) = await portfolio.emitted(ExitTriggered)
    assert await decisions(portfolio) == []
    monkeypatch.undo()
    await portfolio.watch.on_block(a_block(102))
    assert await decisions(portfolio) == [(triggered.id, (triggered.detail,))]


async def test_an_exit_without_a_record_is_recorded_after_a_restart_once(
    portfolio: Portfolio, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ended(*_: object) -> None:
        raise Transient("the process ended here")

    await holding(portfolio)
    monkeypatch.setattr(ExitRecords, "write", ended)
    await portfolio.block(101, usdc=CRASHED)
    monkeypatch.undo()
    (triggered,) = await portfolio.emitted(ExitTriggered)
    for _ in range(2):
        watch = ExitWatch(portfolio.journal, portfolio.accounting.announcer, portfolio.deps.sides, 5, 10)
        await watch.on_block(a_block(102))
        ((subject, reasons),) = await decisions(portfolio)
        assert subject == triggered.id
        assert reasons == ("the rule stop loss fired, and the process ended before what it saw was written down",)


async def test_an_exit_of_a_person_gets_no_record_here(portfolio: Portfolio) -> None:
    await holding(portfolio)
    await portfolio.accounting.adopt_exit(an_exit(reason=ExitReason.MANUAL))
    await portfolio.block(101)
    assert await decisions(portfolio) == []


async def test_an_exit_is_triggered_once(portfolio: Portfolio) -> None:
    await holding(portfolio)
    for number in range(101, 106):
        await portfolio.block(number, usdc=CRASHED)
    assert len(await portfolio.emitted(ExitTriggered)) == 1


async def test_a_failed_exit_is_triggered_again_under_a_new_version(portfolio: Portfolio) -> None:
    await holding(portfolio)
    await portfolio.block(101, usdc=CRASHED)
    (first,) = await portfolio.emitted(ExitTriggered)
    failure = a_failure(an_exit_intent(first))
    await portfolio.book(failure, failure)
    assert [event.position_version for event in await portfolio.emitted(PositionChanged)] == [1, 2]
    await portfolio.block(102, usdc=CRASHED)
    await portfolio.block(103, usdc=CRASHED)
    events = await portfolio.emitted(ExitTriggered)
    assert [event.id == first.id for event in events] == [True, False]


async def test_exits_that_fail_again_and_again_are_tried_less_and_less_often(portfolio: Portfolio) -> None:
    await holding(portfolio)
    blocks: list[int] = []
    for number in range(101, 141):
        await portfolio.block(number, usdc=CRASHED)
        for triggered in (await portfolio.emitted(ExitTriggered))[len(blocks) :]:
            blocks.append(triggered.block.number)
            await portfolio.book(a_failure(an_exit_intent(triggered)))
    # The patience of this portfolio is ten blocks: it never rests for longer.
    assert blocks == [101, 102, 103, 104, 106, 110, 118, 128, 138]


async def test_the_final_word_on_a_failed_exit_does_not_arm_it_twice(portfolio: Portfolio) -> None:
    await holding(portfolio)
    await portfolio.block(101, usdc=CRASHED)
    intent = an_exit_intent((await portfolio.emitted(ExitTriggered))[0])
    await portfolio.book(a_failure(intent, final=False))
    await portfolio.block(102, usdc=CRASHED)
    await portfolio.book(a_failure(intent, outcome_version=2))
    await portfolio.block(103, usdc=CRASHED)
    assert len(await portfolio.emitted(ExitTriggered)) == 2
    assert [event.position_version for event in await portfolio.emitted(PositionChanged)] == [1, 2]


async def test_a_filled_exit_realises_its_result_and_triggers_no_more(portfolio: Portfolio) -> None:
    await holding(portfolio)
    await portfolio.block(101, usdc=CRASHED)
    intent = an_exit_intent((await portfolio.emitted(ExitTriggered))[0], quoted_out=900 * 10**6)
    await portfolio.book(a_fill(intent, block=a_block_ref(102)))
    await portfolio.block(102, usdc=CRASHED)
    assert len(await portfolio.emitted(ExitTriggered)) == 1
    exposure = (await portfolio.emitted(ExposureChanged))[-1]
    assert (exposure.realised_total, exposure.realised_today) == (-100 * 10**6, -100 * 10**6)
    assert (exposure.open_positions, exposure.at_work) == (0, 0)
    assert exposure.equity == 19_900 * 10**6


async def test_an_exit_taken_back_by_a_reorg_is_awaited_not_doubled(portfolio: Portfolio) -> None:
    await holding(portfolio)
    await portfolio.block(101, usdc=CRASHED)
    intent = an_exit_intent((await portfolio.emitted(ExitTriggered))[0])
    await portfolio.book(a_fill(intent, block=a_block_ref(102)), a_reversed_fill(intent))
    await portfolio.block(102, usdc=CRASHED)
    assert len(await portfolio.emitted(ExitTriggered)) == 1
    assert (await portfolio.emitted(PositionChanged))[-1].quantity == ENTRY_OUT


async def test_an_exit_of_which_nothing_is_heard_is_triggered_again(portfolio: Portfolio) -> None:
    await holding(portfolio)
    for number in range(101, 112):
        await portfolio.block(number, usdc=CRASHED)
    assert len(await portfolio.emitted(ExitTriggered)) == 1
    for number in range(112, 115):
        await portfolio.block(number, usdc=CRASHED)
    assert len(await portfolio.emitted(ExitTriggered)) == 2


async def test_a_sale_that_moved_nothing_of_its_token_does_not_stop_the_watch(portfolio: Portfolio) -> None:
    await holding(portfolio)
    await portfolio.block(101, usdc=CRASHED)
    intent = an_exit_intent((await portfolio.emitted(ExitTriggered))[0])
    # The token's contract told of no transfer, so all of it seems to be held still.
    got = (TokenDelta(token=USDC.address, amount=900 * 10**6),)
    await portfolio.book(a_fill(intent, block=a_block_ref(102), deltas=got))
    await portfolio.block(102, usdc=CRASHED)
    first, second = await portfolio.emitted(ExitTriggered)
    assert (first.id != second.id, second.quantity) == (True, ENTRY_OUT)


async def test_what_an_exit_left_over_is_closed_by_another(portfolio: Portfolio) -> None:
    await holding(portfolio)
    await portfolio.block(101, usdc=CRASHED)
    intent = an_exit_intent((await portfolio.emitted(ExitTriggered))[0])
    part = (TokenDelta(token=WETH.address, amount=-ENTRY_OUT // 2), TokenDelta(token=USDC.address, amount=450 * 10**6))
    await portfolio.book(a_fill(intent, block=a_block_ref(102), deltas=part))
    await portfolio.block(102, usdc=CRASHED)
    assert len(await portfolio.emitted(ExitTriggered)) == 2


async def test_exits_fire_while_entries_are_stopped_but_wait_while_all_is_halted(portfolio: Portfolio) -> None:
    await holding(portfolio)
    portfolio.hear(a_status(Status.HALTED))
    await portfolio.block(101, usdc=CRASHED)
    assert await portfolio.emitted(ExitTriggered) == []
    portfolio.hear(a_status(Status.REDUCING, status_version=2))
    await portfolio.block(102, usdc=CRASHED)
    assert len(await portfolio.emitted(ExitTriggered)) == 1


async def test_nothing_is_closed_on_an_old_block_not_even_by_age(portfolio: Portfolio) -> None:
    await portfolio.book(a_fill(occurred_at_ms=1))
    portfolio.clock.advance(600_000)
    await portfolio.block(101, usdc=CRASHED)
    assert await portfolio.emitted(ExitTriggered) == []


async def test_exposure_is_told_every_few_blocks_and_not_on_each(portfolio: Portfolio) -> None:
    await holding(portfolio)
    before = len(await portfolio.emitted(ExposureChanged))
    for number in range(101, 111):
        await portfolio.block(number)
    events = (await portfolio.emitted(ExposureChanged))[before:]
    assert [event.block.number for event in events if event.block] == [105, 110]
    versions = [event.exposure_version for event in await portfolio.emitted(ExposureChanged)]
    assert versions == list(range(1, len(versions) + 1))


async def test_exposure_is_told_of_a_chain_that_began_again(portfolio: Portfolio) -> None:
    await holding(portfolio)
    before = len(await portfolio.emitted(ExposureChanged))
    await portfolio.watch.on_block(a_block(3))
    assert [event.block and event.block.number for event in (await portfolio.emitted(ExposureChanged))[before:]] == [3]


async def test_a_sale_outside_of_an_exit_is_no_exit(portfolio: Portfolio) -> None:
    await holding(portfolio)
    await portfolio.book(a_failure(an_exit_intent(), purpose=Purpose.EXIT))
    assert [event.position_version for event in await portfolio.emitted(PositionChanged)] == [1]


def by_hand(**fields: Any) -> ExitTriggered:
    return an_exit(reason=ExitReason.MANUAL, detail="I want out", **fields)


async def test_no_rule_closes_a_position_that_a_person_is_closing(portfolio: Portfolio) -> None:
    await holding(portfolio)
    await portfolio.accounting.adopt_exit(by_hand())
    await portfolio.block(101, usdc=CRASHED)
    assert await portfolio.emitted(ExitTriggered) == []


@pytest.mark.parametrize("outcome_first", [True, False])
async def test_a_failed_exit_by_hand_leaves_the_position_to_its_rules(
    portfolio: Portfolio, outcome_first: bool
) -> None:
    await holding(portfolio)
    failure = a_failure(an_exit_intent(by_hand()))
    if outcome_first:
        await portfolio.book(failure)
    await portfolio.accounting.adopt_exit(by_hand())
    if not outcome_first:
        await portfolio.book(failure)
    await portfolio.block(101, usdc=CRASHED)
    assert [event.reason for event in await portfolio.emitted(ExitTriggered)] == [ExitReason.STOP_LOSS]


@pytest.mark.parametrize("outcome_first", [True, False])
async def test_what_an_exit_by_hand_left_over_is_closed_by_a_rule(portfolio: Portfolio, outcome_first: bool) -> None:
    await holding(portfolio)
    part = (TokenDelta(token=WETH.address, amount=-ENTRY_OUT // 2), TokenDelta(token=USDC.address, amount=490 * 10**6))
    fill = a_fill(an_exit_intent(by_hand(quantity=ENTRY_OUT // 2)), block=a_block_ref(101), deltas=part)
    if outcome_first:
        await portfolio.book(fill)
    await portfolio.accounting.adopt_exit(by_hand(quantity=ENTRY_OUT // 2))
    if not outcome_first:
        await portfolio.book(fill)
    await portfolio.block(101, usdc=CRASHED)
    (triggered,) = await portfolio.emitted(ExitTriggered)
    assert triggered.quantity == ENTRY_OUT // 2


async def test_an_exit_by_hand_of_which_nothing_is_heard_shields_the_position_no_longer(portfolio: Portfolio) -> None:
    await holding(portfolio)
    await portfolio.accounting.adopt_exit(by_hand(block=a_block_ref(100)))
    for number in range(101, 111):
        await portfolio.block(number, usdc=CRASHED)
    assert await portfolio.emitted(ExitTriggered) == []
    for number in range(111, 114):
        await portfolio.block(number, usdc=CRASHED)
    assert len(await portfolio.emitted(ExitTriggered)) == 1


async def test_the_own_exit_coming_back_from_the_bus_changes_nothing(portfolio: Portfolio) -> None:
    await holding(portfolio)
    await portfolio.block(101, usdc=CRASHED)
    (own,) = await portfolio.emitted(ExitTriggered)
    await portfolio.book(a_failure(an_exit_intent(own)))
    await portfolio.accounting.adopt_exit(own)
    await portfolio.block(102, usdc=CRASHED)
    assert len(await portfolio.emitted(ExitTriggered)) == 2


async def test_an_exit_of_what_is_not_held_is_let_go(portfolio: Portfolio) -> None:
    await portfolio.accounting.adopt_exit(by_hand())
    await holding(portfolio)
    await portfolio.block(101, usdc=CRASHED)
    assert [event.reason for event in await portfolio.emitted(ExitTriggered)] == [ExitReason.STOP_LOSS]
