"""The ledger balances, the highest version holds, and nothing depends on order or repetition."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dexlane.domain.ledger import (
    AccountKind,
    ConflictingOutcome,
    Entry,
    Fill,
    LedgerAccount,
    Outcome,
    OutcomeState,
    Posting,
    UnbalancedEntry,
    apply_outcome,
    balances,
    entry_of,
    opening_entry,
    outcome_rank,
    reversal,
    trial_balance,
)
from dexlane.domain.positions import Holdings, add_fill, fill_order, fold_fills
from dexlane.events.execution import (
    AccountOpened,
    FailureReason,
    FillConfirmed,
    FillIncluded,
    FillReversed,
    IntentFailed,
    Purpose,
)
from dexlane.values.base import digest
from dexlane.values.books import Lane, Mode
from dexlane.values.chains import NATIVE, BlockRef
from dexlane.values.tokens import Token, TokenDelta

USDC = Token(address="0x" + "a" * 40, symbol="USDC", decimals=6)
WETH = "0x" + "c" * 40
DAI = "0x" + "d" * 40
ACCOUNT = "0x" + "1" * 40
ASSETS = LedgerAccount(AccountKind.ASSETS, "alpha", ACCOUNT)
GAS = LedgerAccount(AccountKind.GAS, "alpha", ACCOUNT)
MARKET = LedgerAccount(AccountKind.MARKET, "alpha")


def block(number: int) -> BlockRef:
    return BlockRef(number=number, hash=f"0x{number:064x}")


def common(intent: str, version: int, at: int | None, purpose: Purpose = Purpose.ENTRY) -> dict[str, Any]:
    return {
        "chain_id": 1,
        "occurred_at_ms": 1_700_000_000_000 + (at or 0) * 12_000,
        "intent_id": digest(intent),
        "book_id": "alpha",
        "mode": Mode.PAPER,
        "lane": Lane.FAST,
        "account": ACCOUNT,
        "purpose": purpose,
        "strategy": "momentum",
        "outcome_version": version,
        "block": None if at is None else block(at),
    }


def fill(kind: type[Fill], intent: str, version: int, at: int, deltas: dict[str, int], **more: Any) -> Fill:
    fee = more.pop("fee", 21)
    return kind(
        id=kind.make_id(digest(intent), version),
        quote=USDC,
        quoted_out=1,
        fee_paid_wei=fee,
        deltas=tuple(TokenDelta(token=token, amount=amount) for token, amount in deltas.items()),
        **common(intent, version, at, more.pop("purpose", Purpose.ENTRY)),
    )


def reversed_fill(intent: str, version: int) -> FillReversed:
    return FillReversed(
        id=FillReversed.make_id(digest(intent), version),
        reason="reorg",
        fee_paid_wei=0,
        **common(intent, version, None),
    )


def failed(intent: str, version: int, at: int | None, fee: int, *, final: bool = True) -> IntentFailed:
    return IntentFailed(
        id=IntentFailed.make_id(digest(intent), version),
        reason=FailureReason.REVERTED,
        final=final,
        fee_paid_wei=fee,
        **common(intent, version, at),
    )


def opened(amounts: dict[str, int]) -> AccountOpened:
    return AccountOpened(
        id=AccountOpened.make_id("alpha", ACCOUNT),
        chain_id=1,
        occurred_at_ms=1,
        book_id="alpha",
        mode=Mode.PAPER,
        lane=Lane.FAST,
        account=ACCOUNT,
        quote=USDC,
        block=block(1),
        balances=tuple(TokenDelta(token=token, amount=amount) for token, amount in amounts.items()),
    )


def book_all(events: list[Outcome]) -> list[Entry]:
    states: dict[str, OutcomeState] = {}
    posted: list[Entry] = []
    for event in events:
        step = apply_outcome(states.get(event.intent_id), event)
        states[event.intent_id] = step.state
        posted += step.entries
    return posted


BUY = {USDC.address: -1_000, WETH: 5}


def test_opening_puts_balances_against_the_opening_equity() -> None:
    entry = opening_entry(opened({USDC.address: 10_000, NATIVE: 10**18}))
    equity = LedgerAccount(AccountKind.OPENING, "alpha")
    assert balances([entry]) == {
        (ASSETS, USDC.address): 10_000,
        (ASSETS, NATIVE): 10**18,
        (equity, USDC.address): -10_000,
        (equity, NATIVE): -(10**18),
    }


def test_a_fill_moves_tokens_against_the_market_and_gas_to_its_expense() -> None:
    entry = entry_of(fill(FillIncluded, "i", 1, 7, BUY, fee=21))
    assert entry is not None
    held = balances([entry])
    assert held[ASSETS, USDC.address] == -1_000
    assert held[ASSETS, WETH] == 5
    assert held[MARKET, USDC.address] == 1_000
    assert held[ASSETS, NATIVE] == -21
    assert held[GAS, NATIVE] == 21


def test_a_failure_books_its_gas_and_nothing_else() -> None:
    entry = entry_of(failed("i", 1, 7, 33))
    assert entry is not None
    assert balances([entry]) == {(ASSETS, NATIVE): -33, (GAS, NATIVE): 33}
    assert entry_of(failed("i", 1, None, 0)) is None


def test_postings_that_do_not_balance_are_refused() -> None:
    with pytest.raises(UnbalancedEntry):
        Entry("e", 1, "alpha", ACCOUNT, "i", 1, block(1), 1, (Posting(ASSETS, WETH, 1),))


def test_a_reversal_has_the_date_of_what_it_takes_back() -> None:
    entry = entry_of(fill(FillIncluded, "i", 1, 7, BUY))
    assert entry is not None
    back = reversal(entry)
    assert back.block == entry.block
    assert back.reverses == entry.id
    assert balances([entry, back]) == {}


def test_account_paths_are_read_as_they_are_written() -> None:
    for account in (ASSETS, GAS, MARKET, LedgerAccount(AccountKind.OPENING, "alpha")):
        assert LedgerAccount.parse(account.path) == account
    assert ASSETS.path == f"assets:alpha:{ACCOUNT}"
    for wrong in ("assets:alpha", "market:alpha:0x1", "equity:alpha", "x", "", f"market:alpha:gas:{ACCOUNT}"):
        with pytest.raises(ValueError, match="ledger account"):
            LedgerAccount.parse(wrong)


def test_a_confirmation_with_the_same_content_posts_nothing_and_makes_final() -> None:
    for version in (1, 2):
        first = apply_outcome(None, fill(FillIncluded, "i", 1, 7, BUY))
        second = apply_outcome(first.state, fill(FillConfirmed, "i", version, 7, BUY))
        assert second.entries == ()
        assert second.state.final
        assert not first.state.final
        assert second.state.entry == first.state.entry


def test_an_inclusion_that_comes_after_its_confirmation_changes_nothing() -> None:
    confirmed = apply_outcome(None, fill(FillConfirmed, "i", 1, 7, BUY))
    late = apply_outcome(confirmed.state, fill(FillIncluded, "i", 1, 7, BUY))
    assert late.entries == ()
    assert late.state.final


def test_inclusion_in_another_block_is_booked_under_the_new_date() -> None:
    events: list[Outcome] = [fill(FillIncluded, "i", 1, 7, BUY), fill(FillIncluded, "i", 2, 9, BUY)]
    posted = book_all(events)
    assert [entry.block and entry.block.number for entry in posted] == [7, 7, 9]
    assert balances([entry for entry in posted if entry.block and entry.block.number <= 8]) == {}


def test_a_reversal_takes_everything_back() -> None:
    posted = book_all([fill(FillIncluded, "i", 1, 7, BUY), reversed_fill("i", 2)])
    assert balances(posted) == {}
    assert len(posted) == 2


def test_a_reversal_that_comes_before_its_fill_leaves_nothing_booked() -> None:
    assert book_all([reversed_fill("i", 2), fill(FillIncluded, "i", 1, 7, BUY)]) == []


def test_a_success_that_became_a_revert_leaves_only_the_gas() -> None:
    posted = book_all([fill(FillIncluded, "i", 1, 7, BUY), failed("i", 2, 8, 40)])
    assert balances(posted) == {(ASSETS, NATIVE): -40, (GAS, NATIVE): 40}


def test_two_different_events_of_one_version_are_a_conflict() -> None:
    first = apply_outcome(None, fill(FillIncluded, "i", 1, 7, BUY))
    with pytest.raises(ConflictingOutcome):
        apply_outcome(first.state, fill(FillIncluded, "i", 1, 7, {USDC.address: -1_001, WETH: 5}))


amounts = st.integers(min_value=-(10**30), max_value=10**30)


@st.composite
def histories(draw: st.DrawFn) -> list[Outcome]:
    """The outcomes of a few intents: each version once, contradicting nothing of its own kind."""
    events: list[Outcome] = []
    for intent in range(draw(st.integers(1, 6))):
        name = f"intent-{intent}"
        for version in range(1, draw(st.integers(1, 4)) + 1):
            deltas = draw(st.dictionaries(st.sampled_from([USDC.address, WETH, DAI]), amounts, max_size=3))
            at, fee = draw(st.integers(1, 20)), draw(st.integers(0, 10**20))
            purpose = draw(st.sampled_from([Purpose.ENTRY, Purpose.EXIT, Purpose.GAP]))
            kind = draw(st.sampled_from(["included", "confirmed", "both", "reversed", "failed"]))
            if kind in {"included", "both"}:
                events.append(fill(FillIncluded, name, version, at, deltas, fee=fee, purpose=purpose))
            if kind in {"confirmed", "both"}:
                events.append(fill(FillConfirmed, name, version, at, deltas, fee=fee, purpose=purpose))
            if kind == "reversed":
                events.append(reversed_fill(name, version))
            if kind == "failed":
                events.append(failed(name, version, at, fee))
    return events


def highest(events: list[Outcome]) -> list[Outcome]:
    held: dict[str, Outcome] = {}
    for event in sorted(events, key=outcome_rank):
        held[event.intent_id] = event
    return list(held.values())


@settings(max_examples=150, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_books_depend_on_the_set_of_outcomes_not_on_order_or_repetition(events: list[Outcome], rng: Any) -> None:
    expected = balances(entry for entry in map(entry_of, highest(events)) if entry is not None)
    shuffled = events + rng.choices(events, k=len(events))
    rng.shuffle(shuffled)
    posted = book_all(shuffled)
    assert balances(posted) == expected
    assert trial_balance(posting for entry in posted for posting in entry.postings) == {}
    assert len({entry.id for entry in posted}) == len(posted)


class Books(RuleBasedStateMachine):
    """Feeds outcomes in any order, often twice, and compares incremental books with books rebuilt from scratch."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Outcome] = []
        self.waiting: list[Outcome] = []
        self.states: dict[str, OutcomeState] = {}
        self.entries: list[Entry] = [opening_entry(opened({USDC.address: 10**24, NATIVE: 10**18}))]
        self.holdings = Holdings()

    @precondition(lambda self: not self.waiting)
    @rule(events=histories())
    def something_happens(self, events: list[Outcome]) -> None:
        suffix = len(self.seen)
        self.waiting = [event.model_copy(update={"intent_id": digest(event.intent_id, suffix)}) for event in events]

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def an_event_arrives(self, data: st.DataObject) -> None:
        event = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        self.seen.append(event)
        self.book(event)

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def an_event_arrives_again(self, data: st.DataObject) -> None:
        self.book(self.seen[data.draw(st.integers(0, len(self.seen) - 1))])

    def book(self, event: Outcome) -> None:
        before = self.states.get(event.intent_id)
        step = apply_outcome(before, event)
        self.states[event.intent_id] = step.state
        self.entries += step.entries
        standing = self.standing()
        only_added = len(step.entries) == 1 and (before is None or before.entry is None)
        last = all(fill_order(fill) <= fill_order(event) for fill in standing) if isinstance(event, Fill) else False
        if only_added and last and isinstance(event, Fill):
            added = add_fill(self.holdings, event)
            self.holdings = replace(added, trades={**self.holdings.trades, **added.trades})
        elif step.entries:
            self.holdings = fold_fills(standing)

    def standing(self) -> list[Fill]:
        return [state.event for state in self.states.values() if isinstance(state.event, Fill)]

    @invariant()
    def every_token_sums_to_zero(self) -> None:
        assert trial_balance(posting for entry in self.entries for posting in entry.postings) == {}

    @invariant()
    def incremental_equals_rebuilt(self) -> None:
        kept = [entry for entry in map(entry_of, highest(self.seen)) if entry is not None]
        assert balances(self.entries) == balances([self.entries[0], *kept])
        fills = [event for event in highest(self.seen) if isinstance(event, Fill)]
        assert self.holdings == fold_fills(fills)

    @invariant()
    def money_is_conserved(self) -> None:
        flows: dict[str, int] = defaultdict(int)
        for fill_event in self.standing():
            for delta in fill_event.deltas:
                flows[delta.token] += delta.amount
        cost = sum(position.cost for position in self.holdings.positions.values())
        assert flows[USDC.address] == self.holdings.realised - cost
        for token, position in self.holdings.positions.items():
            assert position.cost_in == position.cost + position.cost_sold
            if token != USDC.address:
                assert position.quantity == flows[token]
        assert sum(self.holdings.realised_by_day.values()) == self.holdings.realised


Books.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBooks = Books.TestCase
