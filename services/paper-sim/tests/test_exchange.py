"""Paper intents in, the life cycle of real ones out; on a real journal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from dexlane.domain.ledger import apply_outcome, balances
from dexlane.events.execution import (
    AccountOpened,
    FailureReason,
    FillConfirmed,
    FillIncluded,
    FillReversed,
    IntentCreated,
    IntentFailed,
    PaperScored,
    TxChanged,
)
from dexlane.runtime.errors import InvalidEvent, Transient
from dexlane.testing.builders import (
    ENTRY_IN,
    ENTRY_OUT,
    USDC,
    WETH,
    a_block_ref,
    a_book,
    a_book_changed,
    a_fee_cap,
    a_fee_quote,
    a_hash,
    a_plan,
    a_reserves_delta,
    an_account,
    an_exit,
    an_exit_intent,
    an_intent,
)
from dexlane.values.books import Lane, Mode
from dexlane.values.chains import NATIVE

GWEI = 10**9
GAS_PRICE = 11 * GWEI


def intent(seed: str = "one", **plan: Any) -> IntentCreated:
    """An entry with an id of its own."""
    return an_intent(id=a_hash(seed)[2:34], plan=a_plan(**plan))


async def states(bench: Any, of: IntentCreated | None = None) -> list[str]:
    """The states told of an intent, in order; sequences must have no hole."""
    changes = [tx for tx in await bench.told_of(TxChanged) if of is None or tx.intent_id == of.id]
    if of is not None:
        assert [tx.sequence for tx in changes] == list(range(1, 1 + len(changes)))
    return [tx.state.value for tx in changes]


async def balance(bench: Any, token: str, account: str | None = None) -> int:
    """What the journal says an account holds."""
    query = sa.text("SELECT amount FROM paper_balance WHERE account = :account AND token = :token")
    async with bench.journal.reading() as conn:
        found = (await conn.execute(query, {"account": account or an_account(), "token": token})).scalar()
    return int(found or 0)


async def test_accounts_of_a_paper_book_open_once_with_capital_and_gas_money(bench: Any) -> None:
    await bench.exchange.note_book(a_book_changed(book_version=2))
    opened = await bench.told_of(AccountOpened)
    assert {event.lane for event in opened} == {Lane.FAST, Lane.SMART}
    assert [(delta.token, delta.amount) for delta in opened[0].balances] == [
        (USDC.address, 20_000 * 10**6),
        (NATIVE, 10**18),
    ]
    assert opened[0].block == a_block_ref(100)


async def test_live_book_opens_nothing_on_paper(bench: Any) -> None:
    await bench.exchange.note_book(a_book_changed(a_book(id="live-one", mode=Mode.LIVE)))
    assert len(await bench.told_of(AccountOpened)) == 2


async def test_book_that_comes_before_any_block_opens_at_the_first_block(bench: Any) -> None:
    bench.mirror.book.__init__()
    await bench.exchange.note_book(a_book_changed(a_book(id="paper-two")))
    assert len(await bench.told_of(AccountOpened)) == 2
    await bench.block(101)
    assert len(await bench.told_of(AccountOpened)) == 4


async def test_intent_walks_through_the_life_of_a_transaction(bench: Any) -> None:
    entry = intent()
    await bench.exchange.accept(entry)
    assert await states(bench, entry) == ["planned", "submitted", "pending"]
    for number in range(101, 105):
        await bench.block(number)
    assert await states(bench, entry) == ["planned", "submitted", "pending", "mined", "confirmed"]
    [included] = await bench.told_of(FillIncluded)
    [confirmed] = await bench.told_of(FillConfirmed)
    assert (included.block, included.outcome_version) == (a_block_ref(101), 1)
    assert [(delta.token, delta.amount) for delta in included.deltas] == [
        (USDC.address, -ENTRY_IN),
        (WETH.address, ENTRY_OUT),
    ]
    assert included.fee_paid_wei == 105_000 * GAS_PRICE
    assert (confirmed.deltas, confirmed.fee_paid_wei) == (included.deltas, included.fee_paid_wei)
    assert confirmed.outcome_version > included.outcome_version
    assert await balance(bench, WETH.address) == ENTRY_OUT


async def test_duplicate_intent_fills_once(bench: Any) -> None:
    entry = intent()
    await bench.exchange.accept(entry)
    await bench.exchange.accept(entry)
    await bench.block(101)
    await bench.exchange.accept(entry)
    await bench.block(102)
    assert len(await bench.told_of(FillIncluded)) == 1
    assert await balance(bench, USDC.address) == 20_000 * 10**6 - ENTRY_IN


async def test_repeated_block_changes_nothing(bench: Any) -> None:
    await bench.exchange.accept(intent())
    await bench.block(101)
    before = await bench.told()
    await bench.exchange.on_block(bench.mirror.tip_event)
    assert await bench.told() == before


async def test_fill_is_scored_against_the_next_block_once(bench: Any) -> None:
    await bench.exchange.accept(intent())
    await bench.block(101)
    await bench.block(102, a_reserves_delta(reserve1=9_900 * 10**18))
    await bench.block(103)
    [score] = await bench.told_of(PaperScored)
    assert (score.filled_out, score.block) == (ENTRY_OUT, a_block_ref(102))
    assert 95 <= score.difference_bps <= 105


async def test_intent_expires_by_fee_at_its_deadline_and_costs_nothing(bench: Any) -> None:
    entry = intent(fee_cap=a_fee_cap(max_fee_per_gas_wei=9 * GWEI), deadline_block=102)
    await bench.exchange.accept(entry)
    await bench.block(101)
    assert await states(bench, entry) == ["planned", "submitted", "pending"]
    await bench.block(102)
    assert (await states(bench, entry))[-1] == "expired"
    [failed] = await bench.told_of(IntentFailed)
    assert (failed.reason, failed.final, failed.fee_paid_wei) == (FailureReason.EXPIRED, True, 0)
    assert await balance(bench, NATIVE) == 10**18


async def test_full_block_takes_only_what_pays_the_quoted_tip(bench: Any) -> None:
    tip = a_fee_cap(max_priority_fee_per_gas_wei=2 * GWEI)
    bench.exchange.note_fees(a_fee_quote(tiers=dict.fromkeys(a_fee_quote().tiers, tip)))
    await bench.exchange.accept(intent(deadline_block=105))
    await bench.block(101, gas_used=29_950_000)
    assert await bench.told_of(FillIncluded) == []
    await bench.block(102)
    assert len(await bench.told_of(FillIncluded)) == 1


async def test_output_below_the_minimum_reverts_with_gas_paid_and_becomes_final(bench: Any) -> None:
    entry = intent(minimum_out=ENTRY_OUT)
    await bench.exchange.accept(entry)
    await bench.block(101, a_reserves_delta(reserve1=9_900 * 10**18))
    [failed] = await bench.told_of(IntentFailed)
    assert (failed.reason, failed.final) == (FailureReason.MINIMUM_OUT, False)
    assert failed.fee_paid_wei == 105_000 * GAS_PRICE
    assert await balance(bench, NATIVE) == 10**18 - failed.fee_paid_wei
    for number in range(102, 105):
        await bench.block(number)
    final = (await bench.told_of(IntentFailed))[-1]
    assert final.final
    assert final.outcome_version > failed.outcome_version
    assert await states(bench, entry) == ["planned", "submitted", "pending", "mined", "failed"]


async def test_intent_beyond_the_balance_is_refused(bench: Any) -> None:
    entry = intent(amount_in=20_000 * 10**6 + 1)
    await bench.exchange.accept(entry)
    [failed] = await bench.told_of(IntentFailed)
    assert (failed.reason, failed.final, failed.fee_paid_wei) == (FailureReason.INSUFFICIENT_FUNDS, True, 0)
    await bench.block(101)
    assert await states(bench, entry) == ["planned", "failed"]


async def test_waiting_intents_cannot_spend_the_same_balance_twice(bench: Any) -> None:
    await bench.exchange.accept(intent("first", amount_in=15_000 * 10**6, minimum_out=1))
    await bench.exchange.accept(intent("second", amount_in=6_000 * 10**6, minimum_out=1))
    [failed] = await bench.told_of(IntentFailed)
    assert failed.reason is FailureReason.INSUFFICIENT_FUNDS
    assert failed.intent_id == intent("second").id


async def test_intent_of_an_unknown_account_waits_for_its_book(bench: Any) -> None:
    early = an_intent(book_id="paper-two", account=an_account("paper-two"))
    with pytest.raises(Transient):
        await bench.exchange.accept(early)
    await bench.exchange.note_book(a_book_changed(a_book(id="paper-two")))
    await bench.exchange.accept(early)
    assert await states(bench, early) == ["planned", "submitted", "pending"]


async def test_intent_of_a_book_that_never_came_is_refused_after_its_deadline(bench: Any) -> None:
    for number in (101, 102):
        await bench.block(number)
    await bench.exchange.accept(an_intent(book_id="paper-two", account=an_account("paper-two")))
    assert len(await bench.told_of(IntentFailed)) == 1


async def test_live_intent_is_never_taken(bench: Any) -> None:
    with pytest.raises(InvalidEvent):
        await bench.exchange.accept(an_intent(mode=Mode.LIVE))
    assert await states(bench) == []


async def test_restart_between_acceptance_and_block_completes_the_trade(bench: Any) -> None:
    await bench.exchange.accept(intent())
    await bench.kill()
    await bench.start(100)
    await bench.exchange.accept(intent())
    for number in range(101, 105):
        await bench.block(number)
    assert await states(bench, intent()) == ["planned", "submitted", "pending", "mined", "confirmed"]
    assert len(await bench.told_of(FillIncluded)) == len(await bench.told_of(FillConfirmed)) == 1
    assert await balance(bench, USDC.address) == 20_000 * 10**6 - ENTRY_IN


async def test_restart_after_inclusion_keeps_the_fill_and_confirms_it(bench: Any) -> None:
    await bench.exchange.accept(intent())
    await bench.block(101)
    await bench.kill()
    await bench.start(100)  # the new mirror tells blocks again that were told before
    for number in range(101, 105):
        await bench.block(number)
    assert await states(bench, intent()) == ["planned", "submitted", "pending", "mined", "confirmed"]
    assert len(await bench.told_of(PaperScored)) == 1
    assert await balance(bench, WETH.address) == ENTRY_OUT


async def test_own_impact_survives_a_restart(bench: Any) -> None:
    await bench.exchange.accept(intent("one"))
    await bench.block(101)
    await bench.kill()
    await bench.start(101)
    await bench.exchange.accept(intent("two", deadline_block=110, minimum_out=1))
    await bench.block(102)
    first, second = await bench.told_of(FillIncluded)
    assert second.deltas[1].amount < first.deltas[1].amount


async def test_failed_commit_leaves_the_exchange_as_it_was(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.exchange.accept(intent(deadline_block=110))

    def busy() -> Any:
        raise Transient("the journal did not commit")

    with monkeypatch.context() as patched:
        patched.setattr(bench.journal, "transaction", busy)
        with pytest.raises(Transient):
            await bench.exchange.on_block(_next_block(101))
    await bench.block(101)
    assert [fill.block for fill in await bench.told_of(FillIncluded)] == [a_block_ref(101)]


def _next_block(number: int) -> Any:
    from dexlane.testing.builders import a_block

    return a_block(number)


async def test_reorganisation_reverses_the_fill_and_the_new_block_fills_it_again(bench: Any) -> None:
    entry = intent(deadline_block=110)
    await bench.exchange.accept(entry)
    await bench.block(101)
    await bench.block(102)
    await bench.reorg(102, 100)
    [reversal] = await bench.told_of(FillReversed)
    assert (reversal.outcome_version, reversal.fee_paid_wei) == (2, 0)
    assert await balance(bench, USDC.address) == 20_000 * 10**6
    assert await balance(bench, NATIVE) == 10**18
    await bench.block(101, a_reserves_delta(reserve1=10_010 * 10**18), fork="other", parent_fork="main")
    for number in range(102, 105):
        await bench.block(number, fork="other")
    first, second = await bench.told_of(FillIncluded)
    assert second.outcome_version > reversal.outcome_version > first.outcome_version
    assert second.block == a_block_ref(101, "other")
    assert second.deltas[1].amount > first.deltas[1].amount
    assert await states(bench, entry) == [
        "planned",
        "submitted",
        "pending",
        "mined",
        "reorged",
        "pending",
        "mined",
        "confirmed",
    ]


async def test_reorganisation_told_twice_reverses_once(bench: Any) -> None:
    await bench.exchange.accept(intent(deadline_block=110))
    await bench.block(101)
    await bench.reorg(101, 100)
    await bench.block(101, fork="other", parent_fork="main")
    await bench.reorg(101, 100)
    assert len(await bench.told_of(FillReversed)) == 1
    assert len(await bench.told_of(FillIncluded)) == 2


async def test_tips_that_replace_each_other_again_and_again_are_followed(bench: Any) -> None:
    await bench.exchange.accept(intent(deadline_block=110))
    await bench.block(101)
    await bench.reorg(101, 100)
    await bench.block(101, fork="other", parent_fork="main")
    await bench.reorg(101, 100, frm="other", to="main")
    await bench.block(101)
    await bench.reorg(101, 100, at_ms=5_000)
    await bench.block(101, fork="other", parent_fork="main")
    assert len(await bench.told_of(FillReversed)) == 3
    fills = await bench.told_of(FillIncluded)
    assert [fill.block for fill in fills] == [a_block_ref(101, fork) for fork in ("main", "other", "main", "other")]


async def test_reorganisation_takes_a_paid_revert_back(bench: Any) -> None:
    await bench.exchange.accept(intent(minimum_out=ENTRY_OUT, deadline_block=110))
    await bench.block(101, a_reserves_delta(reserve1=9_900 * 10**18))
    await bench.reorg(101, 100)
    assert await balance(bench, NATIVE) == 10**18
    await bench.block(101, fork="other", parent_fork="main")
    assert len(await bench.told_of(FillIncluded)) == 1


async def test_reorganisation_that_could_not_be_written_is_written_before_the_next_block(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.exchange.accept(intent(deadline_block=110))
    await bench.block(101)

    def busy() -> Any:
        raise Transient("the journal did not commit")

    with monkeypatch.context() as patched:
        patched.setattr(bench.journal, "transaction", busy)
        await bench.reorg(101, 100)
    assert await bench.told_of(FillReversed) == []
    await bench.block(101, fork="other", parent_fork="main")
    assert len(await bench.told_of(FillReversed)) == 1
    assert len(await bench.told_of(FillIncluded)) == 2


async def test_reorganisation_after_a_restart_reverses_what_was_in_a_block_before_it(bench: Any) -> None:
    await bench.exchange.accept(intent(deadline_block=110))
    await bench.block(101)
    await bench.kill()
    await bench.start(100)
    await bench.block(101)
    await bench.reorg(101, 100)
    await bench.block(101, fork="other", parent_fork="main")
    assert [type(event) for event in await bench.told() if isinstance(event, (FillIncluded, FillReversed))] == [
        FillIncluded,
        FillReversed,
        FillIncluded,
    ]


async def test_reorganisation_that_a_new_mirror_did_not_tell_is_seen_by_the_next_block(bench: Any) -> None:
    await bench.exchange.accept(intent(deadline_block=110))
    await bench.block(101)
    await bench.kill()
    await bench.start(101, fork="other")
    await bench.block(102, fork="other")
    await bench.block(103, fork="other")
    assert [type(event) for event in await bench.told() if isinstance(event, (FillIncluded, FillReversed))] == [
        FillIncluded,
        FillReversed,
        FillIncluded,
    ]
    assert (await bench.told_of(FillIncluded))[-1].block == a_block_ref(103, "other")
    assert await balance(bench, WETH.address) == ENTRY_OUT


async def test_exit_sells_what_the_entry_bought(bench: Any) -> None:
    await bench.exchange.accept(intent())
    await bench.block(101)
    sell = an_exit_intent(an_exit(quantity=ENTRY_OUT), block=a_block_ref(101), quoted_out=900 * 10**6)
    await bench.exchange.accept(sell.model_copy(update={"plan": sell.plan.model_copy(update={"deadline_block": 110})}))
    await bench.block(102)
    assert await balance(bench, WETH.address) == 0
    assert 990 * 10**6 < await balance(bench, USDC.address) - 19_000 * 10**6 < 1_000 * 10**6


async def test_ledger_of_the_told_outcomes_equals_the_journalled_balances(bench: Any) -> None:
    await bench.exchange.accept(intent("fill", deadline_block=110, minimum_out=1))
    await bench.exchange.accept(intent("revert", deadline_block=110, minimum_out=10**30))
    await bench.block(101)
    await bench.reorg(101, 100)
    for number in range(101, 106):
        await bench.block(number, fork="other", parent_fork="main" if number == 101 else None)
    sums = balances(_entries(await bench.told()))
    for token in (USDC.address, WETH.address, NATIVE):
        opening = {USDC.address: 20_000 * 10**6, NATIVE: 10**18}.get(token, 0)
        moved = sum(amount for (account, of), amount in sums.items() if account.kind == "assets" and of == token)
        assert await balance(bench, token) == opening + moved


def _entries(events: list[Any]) -> Iterator[Any]:
    held: dict[str, Any] = {}
    for event in events:
        if isinstance(event, (FillIncluded, FillConfirmed, FillReversed, IntentFailed)):
            step = apply_outcome(held.get(event.intent_id), event)
            held[event.intent_id] = step.state
            yield from step.entries


async def test_chain_that_began_again_is_followed(bench: Any) -> None:
    await bench.exchange.accept(intent())
    await bench.block(101)
    await bench.kill()
    await bench.start(100)
    bench.exchange._cursor = a_block_ref(5_000)
    await bench.block(101)
    assert bench.exchange._cursor == a_block_ref(101)
