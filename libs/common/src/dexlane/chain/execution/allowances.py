"""Which allowances an account needs, for how much, and which must go: bounded by the capital of its lane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from dexlane.chain.answers import NOT_READABLE
from dexlane.chain.execution import slots as store
from dexlane.chain.execution.accounts import AccountFacts
from dexlane.chain.execution.fencing import FencedJournal
from dexlane.chain.execution.live import LiveDesk
from dexlane.chain.execution.moments import ExecutionMoments
from dexlane.chain.execution.payloads import ALLOWANCE_GAS
from dexlane.chain.execution.slots import Slot
from dexlane.chain.execution.txmgr import SlotTerms
from dexlane.chain.execution.watchdog import Watchdog, needs_of
from dexlane.chain.grants import Grant
from dexlane.chain.permit2 import MAX_PERMIT_AMOUNT, PERMIT2
from dexlane.chain.rpc import RpcError, RpcUnavailable
from dexlane.domain.gas_value import deepest, traded_as
from dexlane.domain.pool_table import PoolTable
from dexlane.events.execution import IntentCreated
from dexlane.events.fees import FeeQuoted, FeeTier
from dexlane.events.market import BlockApplied
from dexlane.runtime.errors import Transient
from dexlane.values.books import Book, Lane
from dexlane.values.pools import Pool


def missing_allowances(
    book: Book, lane: Lane, facts: AccountFacts, pools: Mapping[str, Pool], factor: int
) -> Iterator[tuple[str, int]]:
    """(token, amount to approve) for every token whose allowance does not cover the lane's capital any more.

    The amount is what ``factor`` times the capital is worth in that token at the present spot price, so that an
    allowance lasts for many trades and yet bounds what Permit2 could ever take. Tokens without a price are left out:
    no bound can be given for them.
    """
    for token, held in sorted(facts.tokens.items()):
        worth = _capital_in(token, book, lane, pools)
        if worth is None:
            continue
        # An account may hold more of a position token than the capital is worth now; all of it must be sellable.
        covered = worth if token == book.quote.address else max(worth, held.balance)
        if held.allowance_to_permit2 < covered:
            yield token, min(covered * factor, MAX_PERMIT_AMOUNT)


def _capital_in(token: str, book: Book, lane: Lane, pools: Mapping[str, Pool]) -> int | None:
    capital, quote = book.limits[lane].capital, traded_quote(book)
    if token == quote:
        return capital
    found = deepest(pools, quote, token)
    return None if found is None else capital * found.numerator // found.denominator


def traded_quote(book: Book) -> str:
    """The book's quote token as pools trade it: the native coin wrapped."""
    return traded_as(book.chain_id, book.quote.address)


WAIT_BLOCKS = 25
ASKED_BLOCKS = 50
"""How long a book that is switched off keeps the allowance that an exit asked for."""
BUDGET_FACTOR = 3
REST_BLOCKS = 50
"""How long a token that was approved in vain is left alone; twice as long after each further time."""
MOST_DOUBLINGS = 8


@dataclass(frozen=True, slots=True)
class WantedAllowance:
    """An allowance to be set or (zero) taken back, and how its transaction is to be sent."""

    grant: Grant
    amount: int
    terms: SlotTerms


def allowances_in_flight(live: LiveDesk, account: str) -> frozenset[str]:
    """Tokens whose allowance is being set or taken back."""
    intents = (slot.intent for slot in live.transactions.open_slots if slot.intent.account == account)
    return frozenset(intent.allowance_token for intent in intents if intent.allowance_token is not None)


@dataclass(frozen=True, slots=True)
class _InVain:
    """How often in a row a token was approved without an allowance that suffices, the block of the last time, and
    whether what stood was taken back since."""

    times: int
    block: int
    is_cleared: bool = False

    def rests(self, block: int) -> bool:
        return block - self.block < REST_BLOCKS << min(self.times - 1, MOST_DOUBLINGS)


class Approvals:
    """Which allowances to ask for now: never two at once for a token, and seldom one that was asked for in vain: it was
    refused, or the token said yes and allows no more than before.

    What only expired or was cancelled, as by a halt, is asked for again at once: it was not refused, and without it a
    position could not be sold. A refusal above an allowance that still stands has that one taken back first, for some
    tokens (Tether's) let none take the place of another.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._in_vain: dict[tuple[str, str], _InVain] = {}
        self._penniless: set[str] = set()
        self._asked: dict[tuple[str, str], int] = {}

    def ask(self, account: str, token: str, block: int) -> None:
        """An exit needs this token's allowance, whether its book is switched on or not."""
        self._asked[account, token] = block

    def ended(self, slot: Slot) -> None:
        """An intent came to its end. A token that takes no approval would burn gas at every block, so it is left alone
        for a while, unless its allowance turns out to be in place."""
        intent, included = slot.intent, slot.state.included
        if intent.allowance_token is None or intent.allowance_spender is not None or included is None:
            return
        key = (intent.account, intent.allowance_token)
        before = self._in_vain.get(key)
        if intent.allowance_amount:
            if slot.state.is_filled or slot.was_refused:
                self._in_vain[key] = _InVain(1 if before is None else before.times + 1, included.block.number)
        elif before is not None:
            self._in_vain[key] = replace(before, is_cleared=True)

    def is_hopeless(self, account: str, token: str) -> bool:
        """Whether waiting will hardly bring the allowance: it was refused, or nothing is there to pay its gas with."""
        return account in self._penniless or (account, token) in self._in_vain

    def needed(self, book: Book, live: LiveDesk, block: int) -> frozenset[str]:
        """Tokens whose allowance to Permit2 the book needs: all it trades with, or what exits ask for when it is
        switched off."""
        account = book.accounts[self._lane]
        if book.enabled:
            return live.watched(account)
        return frozenset(
            token for (of, token), at in self._asked.items() if of == account and block - at < ASKED_BLOCKS
        )

    def missing(
        self, book: Book, live: LiveDesk, pools: Mapping[str, Pool], terms: SlotTerms | None
    ) -> list[WantedAllowance]:
        """What a book's account needs now and can pay the gas of."""
        account = book.accounts[self._lane]
        facts = live.facts(account)
        if terms is None or facts is None or live.objection_to_account(book) is not None:
            return []
        if not self.can_pay(account, live, terms):
            self._penniless.add(account)
            return []
        self._penniless.discard(account)
        block = terms.deadline_block - WAIT_BLOCKS
        needed = self.needed(book, live, block)
        in_flight, factor = allowances_in_flight(live, account), live.access.signing.allowance_factor
        lacking = dict(missing_allowances(book, self._lane, facts, pools, factor))
        for token in facts.tokens.keys() - lacking.keys():
            self._in_vain.pop((account, token), None)
        found = []
        for token in (needed & lacking.keys()) - in_flight:
            amount = self._amount(account, token, lacking[token], facts.tokens[token].allowance_to_permit2, block)
            if amount is not None:
                found.append(WantedAllowance(Grant(account, token, PERMIT2), amount, terms))
        return sorted(found, key=lambda wanted: wanted.grant)

    def _amount(self, account: str, token: str, lacking: int, standing: int, block: int) -> int | None:
        """What to approve now, zero to take back what stands, None to leave the token alone for a while."""
        before = self._in_vain.get((account, token))
        if before is None:
            return lacking
        if standing and not before.is_cleared:
            return 0
        is_way_free = before.is_cleared and not standing and before.times == 1
        return lacking if is_way_free or not before.rests(block) else None

    @staticmethod
    def can_pay(account: str, live: LiveDesk, terms: SlotTerms) -> bool:
        """Whether the account can pay for one allowance at the fee cap."""
        facts = live.facts(account)
        return facts is None or facts.native_wei >= ALLOWANCE_GAS * terms.first_fee_wei


class AllowanceKeeper:
    """Sets what is missing and takes back what nothing needs, block by block."""

    def __init__(self, lane: Lane, live: LiveDesk, moments: ExecutionMoments) -> None:
        self.approvals = Approvals(lane)
        self._lane = lane
        self._live = live
        self._moments = moments
        self._pools = PoolTable()
        self._watchdog = Watchdog(live.access.deployment.router, lambda token: bool(self._pools.trading(token)))
        self._recalled = False

    async def recall(self, journal: FencedJournal) -> None:
        """Take up, once, what earlier lives of this executor granted."""
        if self._recalled:
            return
        async with journal.reading() as conn:
            for intent in await store.load_allowances(conn, self._live.access.chain_id):
                self._watchdog.intended(intent)
        self._recalled = True

    def intended(self, intent: IntentCreated) -> None:
        """An intent of ours was journalled."""
        self._watchdog.intended(intent)

    def ended(self, slot: Slot) -> None:
        """An intent of ours came to its end."""
        self._watchdog.ended(slot)
        self.approvals.ended(slot)

    async def wanted(
        self, tip: BlockApplied, pools: PoolTable, fee_quote: FeeQuoted | None
    ) -> list[tuple[Book, WantedAllowance]]:
        """Everything to be set or taken back at this block. ``Transient`` when the node does not answer."""
        self._pools = pools
        terms = None if fee_quote is None else _terms(fee_quote, tip)
        found = [
            (book, wanted)
            for book in self._live.books.values()
            for wanted in self.approvals.missing(book, self._live, pools, terms)
        ]
        return [*found, *await self._residual(tip, terms)]

    async def _residual(self, tip: BlockApplied, terms: SlotTerms | None) -> list[tuple[Book, WantedAllowance]]:
        live, lane = self._live, self._lane
        books = {book.accounts[lane]: book for book in live.held.tended if live.held.opened_at(book) is not None}
        if live.rpc is None or not books:
            return []
        tokens = {account: live.watched(account) for account in books}
        since = min(live.held.opened_at(book) or 0 for book in books.values())
        direct = tuple(router.router for router in live.payloads.others)
        try:
            await self._watchdog.look(live.rpc, tip, tokens, since, direct)
        except (RpcError, RpcUnavailable, *NOT_READABLE) as error:
            raise Transient(f"the allowances could not be read: {error}") from error
        block = tip.block.number
        needed = [(of, token) for of, book in books.items() for token in self.approvals.needed(book, live, block)]
        intents = [slot.intent for slot in live.transactions.open_slots]
        residual = self._watchdog.residual(needs_of(needed, intents, self._watchdog.approved))
        self._moments.allowances_left(live.access.chain_id, residual)
        if terms is None:
            return []
        return [
            (books[grant.owner], WantedAllowance(grant, 0, terms))
            for grant in self._watchdog.worth_a_try(residual)
            # Of an account that a book gave up while nobody ran, we have no leave to send anything.
            if grant.owner in books and self._may_take_back(grant, books[grant.owner], terms)
        ]

    def _may_take_back(self, grant: Grant, book: Book, terms: SlotTerms) -> bool:
        live = self._live
        return (
            grant.token not in allowances_in_flight(live, grant.owner)
            and live.objection_to_account(book, is_entry=False) is None
            and self.approvals.can_pay(grant.owner, live, terms)
        )


def _terms(fee_quote: FeeQuoted, tip: BlockApplied) -> SlotTerms:
    cap = max(fee_quote.tiers[FeeTier.BALANCED].max_fee_per_gas_wei, 2 * tip.next_base_fee_per_gas_wei)
    return SlotTerms(
        deadline_block=tip.block.number + WAIT_BLOCKS,
        fee_budget_wei=cap * BUDGET_FACTOR,
        gas_limit=ALLOWANCE_GAS,
        first_fee_wei=cap,
    )
