"""Which allowances to Permit2 an account needs, and for how much: bounded by the capital of its lane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dexlane.chain.execution.accounts import AccountFacts
from dexlane.chain.execution.live import LiveDesk
from dexlane.chain.execution.payloads import ALLOWANCE_GAS
from dexlane.chain.execution.txmgr import SlotTerms
from dexlane.chain.permit2 import MAX_PERMIT_AMOUNT
from dexlane.domain.amm.quoting import spot_price_ratio
from dexlane.domain.gas_value import deepest_pool
from dexlane.events.execution import IntentCreated
from dexlane.events.fees import FeeQuoted, FeeTier
from dexlane.events.market import BlockApplied
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
    capital, quote = book.limits[lane].capital, book.quote.address
    if token == quote:
        return capital
    pool = deepest_pool(pools, token, quote)
    if pool is None:
        return None
    numerator, denominator = spot_price_ratio(pool, quote)
    return capital * numerator // denominator


WAIT_BLOCKS = 25
BUDGET_FACTOR = 3


@dataclass(frozen=True, slots=True)
class WantedAllowance:
    """An allowance to be set, and how its transaction is to be sent."""

    token: str
    amount: int
    terms: SlotTerms


class Approvals:
    """Which allowances to ask for now: never two at once for a token, and never again one that failed."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._failed: set[tuple[str, str]] = set()
        self._penniless: set[str] = set()

    def failed(self, intent: IntentCreated) -> None:
        """An intent ended without success. A token that refuses to be approved would burn gas at every block, so it
        is left alone until the next start."""
        if intent.allowance_token is not None:
            self._failed.add((intent.account, intent.allowance_token))

    def is_hopeless(self, account: str, token: str) -> bool:
        """Whether waiting will not bring the allowance: it failed, or nothing is there to pay its gas with."""
        return account in self._penniless or (account, token) in self._failed

    def missing(
        self, book: Book, live: LiveDesk, pools: Mapping[str, Pool], fee_quote: FeeQuoted | None, tip: BlockApplied
    ) -> list[WantedAllowance]:
        """What a book's account needs now and can pay the gas of."""
        account = book.accounts[self._lane]
        facts = live.facts(account)
        if fee_quote is None or facts is None or live.objection_to_account(book) is not None:
            return []
        cap = max(fee_quote.tiers[FeeTier.BALANCED].max_fee_per_gas_wei, 2 * tip.next_base_fee_per_gas_wei)
        if facts.native_wei < ALLOWANCE_GAS * cap:
            self._penniless.add(account)
            return []
        self._penniless.discard(account)
        terms = SlotTerms(
            deadline_block=tip.block.number + WAIT_BLOCKS, fee_budget_wei=cap * BUDGET_FACTOR, first_fee_wei=cap
        )
        in_flight, factor = live.allowances_in_flight(account), live.access.signing.allowance_factor
        return [
            WantedAllowance(token, amount, terms)
            for token, amount in missing_allowances(book, self._lane, facts, pools, factor)
            if token not in in_flight and (account, token) not in self._failed
        ]
