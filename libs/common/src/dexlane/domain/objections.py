"""What speaks against trading before a price is even asked: status, appetite, age of what is known, limits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from dexlane.domain.acceptance import beyond_appetite
from dexlane.domain.circumstances import Holdings, Market, Objection, PlanningRules
from dexlane.domain.controls.duplicates import against_duplicate
from dexlane.domain.fee_limits import price_of
from dexlane.domain.fees import fee_parameters
from dexlane.domain.levels import last_block, unknown_level
from dexlane.domain.risk.compliance import forbidden
from dexlane.domain.risk.profiles import beyond_profile
from dexlane.domain.risk.sanctions import day_of
from dexlane.events.control import Status
from dexlane.events.execution import Purpose
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.portfolio import ExitTriggered, ExposureChanged
from dexlane.events.risk import VerdictApproved
from dexlane.values.amounts import decimal_text
from dexlane.values.books import Book, LaneLimits

NATIVE_DECIMALS = 18
GWEI_DECIMALS = 9


def against_entry(
    verdict: VerdictApproved, book: Book, holdings: Holdings, market: Market, rules: PlanningRules
) -> list[Objection]:
    """Everything that forbids an entry or a gap, whatever its size."""
    limits = book.limits.get(verdict.lane)
    if limits is None:
        return [Objection("lane_off", f"the book has no account in the {verdict.lane} lane")]
    wrong = unknown_level(book.level)
    if wrong is not None:
        return [Objection("unknown_level", wrong)]
    purpose = Purpose.GAP if verdict.opportunity.route.is_cycle else Purpose.ENTRY
    return [
        *_of_the_book(verdict, book, market),
        *beyond_appetite(verdict, book.profile, book.level),
        *_too_old(verdict, book, market),
        *_of_age(market, rules),
        *_of_fees(market),
        *(Objection("beyond_profile", sentence) for sentence in beyond_profile(verdict, book)),
        *_of_law(verdict, book, market, rules),
        *_past_deadline(verdict.opportunity, market),
        *_of_limits(purpose, limits, holdings, book),
        *_of_gas_reserve(book, holdings),
        *against_duplicate(verdict.opportunity.route, book, holdings, market),
    ]


def against_exit(
    exit_: ExitTriggered, book: Book, holdings: Holdings, market: Market, rules: PlanningRules
) -> list[Objection]:
    """Everything that forbids closing a position now. Limits do not, nor does the age of the fee quote."""
    objections: list[Objection] = []
    if market.status is Status.HALTED:
        objections.append(Objection("halted", "trading is halted: only cancels are sent", passing=True))
    if book.accounts.get(exit_.lane) != exit_.account:
        objections.append(Objection("wrong_account", f"{exit_.account} is not this book's account in the lane"))
    if exit_.token.address == book.quote.address:
        objections.append(Objection("nothing_to_sell", f"{book.quote.symbol} is what positions are sold for"))
    if holdings.held == 0:
        waits = market.block.number - exit_.block.number <= rules.empty_account_wait_blocks
        objections.append(Objection("nothing_to_sell", f"the account holds no {exit_.token.symbol}", passing=waits))
    if exit_.token.address in holdings.reserved.tokens_in_flight:
        objections.append(_in_flight(exit_.token.symbol))
    if market.age_ms > rules.max_state_age_ms:
        objections.append(_stale_state(market, rules))
    if market.fee_quote is None:
        objections.append(Objection("stale_fee_quote", "there is no fee quote yet", passing=True))
    return objections


def _of_the_book(verdict: VerdictApproved, book: Book, market: Market) -> Iterator[Objection]:
    opportunity = verdict.opportunity
    if market.status is not Status.ACTIVE:
        why = f" ({market.held_by})" if market.held_by else ""
        yield Objection(market.status.value, f"trading is {market.status.value}: no new entries{why}")
    if not book.enabled:
        yield Objection("book_disabled", "the book is switched off")
    # An opportunity addressed to this book is its own standing order, whatever strategies it listens to.
    if opportunity.addressee is None and opportunity.strategy not in book.strategies:
        yield Objection("strategy_off", f"the book does not take the strategy {opportunity.strategy}")


def _too_old(verdict: VerdictApproved, book: Book, market: Market) -> Iterator[Objection]:
    """The oldest chance that the published level takes."""
    last = last_block(verdict.opportunity, book.level, market.block_time_s)
    if market.block.number > last:
        late = market.block.number - verdict.opportunity.block.number
        sentence = f"the chance was found {late} blocks ago, and level {book.level} takes none after block {last}"
        yield Objection("too_old", sentence)


def _past_deadline(opportunity: OpportunityFound, market: Market) -> Iterator[Objection]:
    deadline, now = opportunity.deadline_block, market.block.number
    if deadline <= now:
        yield Objection("deadline_passed", f"the chance ends with block {deadline}, and block {now} is already there")


def _of_law(verdict: VerdictApproved, book: Book, market: Market, rules: PlanningRules) -> Iterator[Objection]:
    """What the book's jurisdiction forbids, and whether the owner of its account was verified where that is asked."""
    if book.jurisdiction is not None:
        for sentence in forbidden(verdict.facts.rulings, book.jurisdiction):
            yield Objection("forbidden", f"{sentence} ({book.jurisdiction})")
    if rules.compliance is not None and rules.compliance.allowed_accounts is not None:
        account, today = book.accounts[verdict.lane], date.fromisoformat(day_of(market.timestamp_s * 1_000))
        if not rules.compliance.account_allowed(account, today):
            yield Objection("account_not_verified", f"account {account} is not among those that may trade")


def _of_age(market: Market, rules: PlanningRules) -> Iterator[Objection]:
    if market.age_ms > rules.max_state_age_ms:
        yield _stale_state(market, rules)
    if market.fee_quote is None:
        yield Objection("stale_fee_quote", "there is no fee quote yet", passing=True)
    else:
        behind = market.block.number - market.fee_quote.block.number
        if behind > rules.max_fee_age_blocks:
            yield Objection(
                "stale_fee_quote",
                f"the fee quote is {behind} blocks old, more than {rules.max_fee_age_blocks}",
                passing=True,
            )


def _of_fees(market: Market) -> Iterator[Objection]:
    """Gas above the ceiling of entries, or a fee that nobody can tell. Neither holds an exit back."""
    quote = market.fee_quote
    if quote is None:
        return
    if fee_parameters(market.chain_id).has_l1_data_fee and quote.data_fee is None:
        yield Objection("data_fee_unknown", "what the rollup charges for data is not known", passing=True)
    price = price_of(quote, market.next_base_fee_wei)
    if quote.entry_ceiling_wei is not None and price >= quote.entry_ceiling_wei:
        now, most = (decimal_text(amount, GWEI_DECIMALS) for amount in (price, quote.entry_ceiling_wei))
        sentence = f"gas costs {now} gwei, and from {most} gwei on no entry is made"
        yield Objection("gas_ceiling", sentence, passing=True)


def _of_limits(purpose: Purpose, limits: LaneLimits, holdings: Holdings, book: Book) -> Iterator[Objection]:
    exposure, reserved = holdings.exposure, holdings.reserved
    if exposure is None:
        yield Objection("no_exposure", "what the book has at work is not known yet", passing=True)
        return
    if exposure.realised_today <= -limits.max_daily_loss:
        loss, most = (
            decimal_text(amount, book.quote.decimals) for amount in (-exposure.realised_today, limits.max_daily_loss)
        )
        yield Objection("daily_loss", f"today's loss of {loss} {book.quote.symbol} has reached the limit of {most}")
    if purpose is Purpose.ENTRY and exposure.open_positions + reserved.open_entries >= limits.max_open_positions:
        yield Objection(
            "open_positions",
            f"{exposure.open_positions} positions and {reserved.open_entries} entries are open; "
            f"the limit is {limits.max_open_positions}",
        )
    if reserved.orders_last_minute >= limits.max_orders_per_minute:
        yield Objection(
            "order_rate",
            f"{reserved.orders_last_minute} orders in the last minute; the limit is {limits.max_orders_per_minute}",
        )
    if book.quote.address in reserved.tokens_in_flight:
        yield _in_flight(book.quote.symbol)
    yield from _of_capital(limits, exposure, reserved.capital, book)


def _of_capital(limits: LaneLimits, exposure: ExposureChanged, reserved: int, book: Book) -> Iterator[Objection]:
    if exposure.at_work + reserved >= limits.capital:
        used, most = (
            decimal_text(amount, book.quote.decimals) for amount in (exposure.at_work + reserved, limits.capital)
        )
        yield Objection("capital", f"{used} {book.quote.symbol} are at work or reserved; the limit is {most}")


def _of_gas_reserve(book: Book, holdings: Holdings) -> Iterator[Objection]:
    balance = holdings.native_balance_wei
    if balance is not None and balance < book.gas_reserve_wei:
        have, least = (decimal_text(amount, NATIVE_DECIMALS) for amount in (balance, book.gas_reserve_wei))
        yield Objection("gas_reserve", f"{have} of native coin are left for gas; the reserve is {least}")


def _stale_state(market: Market, rules: PlanningRules) -> Objection:
    return Objection(
        "stale_state",
        f"the last block came {market.age_ms} ms ago, more than {rules.max_state_age_ms} ms",
        passing=True,
    )


def _in_flight(symbol: str) -> Objection:
    return Objection("in_flight", f"another trade paying with {symbol} is still on its way", passing=True)


def not_worth_its_gas(cost: int | None, gain: int, book: Book) -> Objection:
    """A trade that brings less than its gas costs, or whose gas cannot be valued; quote units."""
    symbol, decimals = book.quote.symbol, book.quote.decimals
    if cost is None:
        return Objection("no_gas_price", f"gas cannot be valued: no pool trades the native coin for {symbol}")
    sentence = (
        f"the trade would bring {decimal_text(gain, decimals)} {symbol} before gas, "
        f"and gas costs up to {decimal_text(cost, decimals)}"
    )
    return Objection("no_edge", sentence)
