"""From an approved opportunity, or a triggered exit, to what one book will do about it: a plan, or reasons why not.

Pure: everything comes in as values. Routes are quoted again, exactly, on the current pool states; what was expected
when the opportunity was found is only compared with that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dexlane.domain.acceptance import percent
from dexlane.domain.amm.quoting import InsufficientLiquidity
from dexlane.domain.circumstances import Holdings, Market, Objection, Planned, PlanningRules, Refused, refusal
from dexlane.domain.controls.bounds import refused_by, sized
from dexlane.domain.controls.budgets import market_share_bps
from dexlane.domain.controls.collar import Collar
from dexlane.domain.controls.confirming import confirmed_or_asked
from dexlane.domain.controls.facts import Candidate
from dexlane.domain.controls.gate import size_bounds
from dexlane.domain.controls.records import dollars_of
from dexlane.domain.entry_start import entry_ceiling, route_for
from dexlane.domain.entry_timing import patient_fee
from dexlane.domain.fee_budgets import entry_budget, exit_budget
from dexlane.domain.fee_bumps import at_most, first_exit_fee
from dexlane.domain.fees import fee_parameters, highest_base_fee_after
from dexlane.domain.gas_value import NativePrice
from dexlane.domain.levels import dearest_tier, entry_tiers
from dexlane.domain.objections import GWEI_DECIMALS, against_entry, against_exit, not_worth_its_gas
from dexlane.domain.rollup_fees import dearest_rollup_fee_wei, routed_size
from dexlane.domain.sizing import candidate_sizes, size_at
from dexlane.domain.trade_choice import NOTHING_FREE
from dexlane.domain.trade_quotes import TradeQuote, quote_trade
from dexlane.domain.trade_search import TradeSearch
from dexlane.domain.tried import Tried, refused_size, ways
from dexlane.events.base import FeeCap
from dexlane.events.execution import Plan, Purpose
from dexlane.events.fees import FeeTier
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.portfolio import ExitReason, ExitTriggered
from dexlane.events.risk import VerdictApproved
from dexlane.values.amounts import BPS_DENOMINATOR, apply_bps, decimal_text, less_bps
from dexlane.values.books import Book, Mode
from dexlane.values.chains import NATIVE
from dexlane.values.routes import PlannedPath, Route
from dexlane.values.sizes import TradeSize
from dexlane.values.tokens import TokenTax

MAX_GAS_LIMIT = 16_777_216
"""The most gas of one transaction (EIP-7825)."""

URGENT_EXITS = frozenset({ExitReason.STOP_LOSS, ExitReason.HALT, ExitReason.TOKEN_FLAGGED})
EXIT_BASE_FEE_BLOCKS = 6
"""An exit's fee cap survives so many full blocks in a row, even when the last fee quote is old."""
URGENT_TOLERANCE_FACTOR = 2
"""An urgent exit accepts this multiple of the book's slippage tolerance: not getting out is worse."""
MAX_TOLERANCE_BPS = 2_000
OVER_EXIT_BUDGET = "over_exit_budget"
"""The outcome of an exit that gas is too dear for."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """How a trade will be sent. ``dearest_gas_wei`` is the most a unit of gas can cost until the deadline block: the
    cap lies above it for a better place in the queue, but cannot be reached in time."""

    fee_cap: FeeCap
    dearest_gas_wei: int
    deadline_block: int
    deadline_s: int


@dataclass(frozen=True, slots=True)
class _Quoted:
    """What a size would bring; ``passed_over`` is the judged route, where another brings more."""

    quote: TradeQuote
    passed_over: TradeQuote | None = None


@dataclass(frozen=True, slots=True)
class _Offer:
    """A quoted trade, the least it may bring, and how it is sent."""

    quote: TradeQuote
    minimum_out: int
    terms: _Terms
    passed_over: TradeQuote | None = None

    @property
    def route(self) -> Route:
        """The first path."""
        return self.quote.paths[0][0]


def plan(
    cause: VerdictApproved | ExitTriggered, book: Book, holdings: Holdings, market: Market, rules: PlanningRules
) -> Planned | Refused:
    """What the book does about a verdict or an exit, with plain reasons when that is nothing."""
    return next(plans(cause, book, holdings, market, rules))


def plans(
    cause: VerdictApproved | ExitTriggered, book: Book, holdings: Holdings, market: Market, rules: PlanningRules
) -> Iterator[Planned | Refused]:
    """The trades that the book may make about a verdict or an exit, that which it prefers first; or a refusal."""
    if isinstance(cause, ExitTriggered):
        yield plan_exit(cause, book, holdings, market, rules)
    else:
        yield from plan_entries(cause, book, holdings, market, rules)


def plan_entries(
    verdict: VerdictApproved, book: Book, holdings: Holdings, market: Market, rules: PlanningRules
) -> Iterator[Planned | Refused]:
    """Entries, or price gaps when the route is a cycle, each smaller than the one before; a refusal when there is none.

    The first size is the largest that the level, the limits, the free capital and the balance allow and that still
    pays, at the fee tier of the level or of one below it.
    """
    objections = against_entry(verdict, book, holdings, market, rules)
    start = refusal(objections) if objections else route_for(verdict.opportunity, book, market)
    if isinstance(start, Refused):
        yield start
        return
    limits, opportunity = book.limits[verdict.lane], verdict.opportunity
    ceiling = entry_ceiling(opportunity, start, limits, holdings, market)
    most = size_at(limits.capital, book.level, limits.capital)
    trade = Candidate(start, opportunity.strategy, limits.capital, most, verdict.factors)
    share = market_share_bps(trade, book)
    collar = Collar(book, market, ceiling, size_at(limits.capital, book.level, ceiling, share))
    dollars = dollars_of(book, market)
    bounds = [*size_bounds(trade, book, holdings, dollars), *collar.bounds(start)]
    forbidden = refused_by(bounds)
    if forbidden:
        yield refusal(forbidden)
        return
    ceiling = min([ceiling, *(bound.most for bound in bounds)])
    desk = _entry_desk(verdict, rules, collar, dollars.native)
    terms: dict[FeeTier, _Terms | Objection] = {}
    first: Objection | None = None
    planned = False
    tried: list[Tried] = []
    for size in candidate_sizes(limits.capital, book.level, ceiling, share):
        quote = _quoted(opportunity, start, size, desk)
        for tier in entry_tiers(book.level, verdict.lane):
            if tier not in terms:
                terms[tier] = _entry_terms(tier, verdict, market, rules)
            offer = _offer(opportunity, quote, terms[tier], desk)
            if isinstance(offer, _Offer):
                planned = True
                told = sized(offer.quote.amount_in, book, limits.capital, bounds)
                tried += ways(offer.quote, offer.passed_over)
                made = _planned_entry(opportunity, offer, desk, told, tried)
                yield confirmed_or_asked(made, book, holdings, dollars)
                break
            tried.append(refused_size(start, size, offer.outcome, offer.sentence))
            first = first or offer
    if not planned:
        yield replace(refusal([first or NOTHING_FREE]), tried=tuple(tried))


@dataclass(frozen=True, slots=True)
class _Desk:
    """What every offer is judged with."""

    book: Book
    market: Market
    rules: PlanningRules
    search: TradeSearch
    native: NativePrice
    collar: Collar | None = None

    @property
    def quote_token(self) -> str:
        """The book's quote token as pools trade it."""
        return self.market.traded_as(self.book.quote.address)


def plan_exit(
    exit_: ExitTriggered, book: Book, holdings: Holdings, market: Market, rules: PlanningRules
) -> Planned | Refused:
    """Plan to sell a position for the book's quote token, where it brings most: whole, or as much as a route takes."""
    objections = against_exit(exit_, book, holdings, market, rules)
    market = _with_tax(market, exit_, book)
    fee_quote = market.fee_quote
    if objections or fee_quote is None:
        return refusal(objections)
    amount = exit_.quantity if holdings.held is None else min(exit_.quantity, holdings.held)
    urgent = exit_.reason in URGENT_EXITS
    tolerance = min(book.slippage_tolerance_bps * (URGENT_TOLERANCE_FACTOR if urgent else 1), MAX_TOLERANCE_BPS)
    cap = _lifted(fee_quote.tiers[FeeTier.EMERGENCY if urgent else FeeTier.PROTECTED], market)
    terms = _terms(cap, market, market.block.number + rules.exit_wait_blocks)
    native = NativePrice(market.pools, market.chain_id, market.traded_as(book.quote.address))
    desk = _Desk(book, market, rules, TradeSearch(market, rules, terms.dearest_gas_wei), native)
    waits = market.block.number - exit_.block.number <= rules.exit_retry_blocks
    found = desk.search.most(exit_.token.address, desk.quote_token, amount, tolerance)
    if found is None:
        quantity = decimal_text(amount, exit_.token.decimals)
        sentence = f"no known pool takes any of {quantity} {exit_.token.symbol} for {book.quote.symbol}"
        return refusal([Objection("no_route", sentence, passing=waits)])
    trade = _trade(_Offer(found, less_bps(found.amount_out, tolerance), terms), desk, tolerance)
    share = rules.urgent_exit_budget_bps if urgent else rules.exit_budget_bps
    budget = exit_budget(trade, native, market, rules, share)
    least = market.next_base_fee_wei + fee_parameters(market.chain_id).minimum_tip_wei
    if budget < least:
        dear, most = (decimal_text(price, GWEI_DECIMALS) for price in (least, budget))
        sentence = f"gas costs {dear} gwei, and an exit that brings so little may pay {most}"
        return refusal([Objection(OVER_EXIT_BUDGET, sentence, passing=waits)])
    first = first_exit_fee(cap, market.next_base_fee_wei, rules.bump_percent, budget)
    return Planned(
        purpose=Purpose.EXIT,
        strategy=exit_.strategy,
        plan=trade.model_copy(update={"fee_cap": first}),
        reserved=0,
        price_impact_bps=found.impact_bps,
        max_fee_per_gas_budget_wei=budget,
        tried=tuple(ways(found)),
    )


def _entry_desk(verdict: VerdictApproved, rules: PlanningRules, collar: Collar, native: NativePrice) -> _Desk:
    """Routes are searched at the gas price of the lane's dearest tier, whatever the level: one size has one route."""
    market = collar.market
    price = market.next_base_fee_wei
    if rules.searches:
        terms = _entry_terms(dearest_tier(verdict.lane), verdict, market, rules)
        price = price if isinstance(terms, Objection) else terms.dearest_gas_wei
    return _Desk(collar.book, market, rules, TradeSearch(market, rules, price), native, collar)


def _with_tax(market: Market, exit_: ExitTriggered, book: Book) -> Market:
    """With what the token keeps of this sale. Of one that nobody could sell paper sells nothing; a live book tries all
    the same, because the chain may have changed since and a call that would fail is not sent."""
    tax = max(exit_.sell_tax_bps, market.taxes.get(exit_.token.address, 0))
    if tax == 0 or (tax == BPS_DENOMINATOR and book.mode is Mode.LIVE):
        return market
    return replace(market, taxes={**market.taxes, exit_.token.address: tax})


def _entry_terms(tier: FeeTier, verdict: VerdictApproved, market: Market, rules: PlanningRules) -> _Terms | Objection:
    if market.fee_quote is None:
        return Objection("stale_fee_quote", "there is no fee quote yet", passing=True)
    cap = at_most(market.fee_quote.tiers[tier], rules.most_fee_per_gas_wei)
    if cap.max_fee_per_gas_wei < market.next_base_fee_wei:
        base_fee = market.next_base_fee_wei
        sentence = f"the fee cap of {cap.max_fee_per_gas_wei} wei is below the next base fee of {base_fee}"
        return Objection("fee_too_low", sentence, passing=True)
    deadline_block = min(verdict.opportunity.deadline_block, market.block.number + rules.max_wait_blocks)
    if rules.waits_for_cheaper_blocks:
        cap = patient_fee(cap, market.fee_quote.inclusion, deadline_block - market.block.number)
    return _terms(cap, market, deadline_block)


def _terms(cap: FeeCap, market: Market, deadline_block: int) -> _Terms:
    # One block time of slack: the block of the deadline may itself come late.
    seconds = (deadline_block - market.block.number + 1) * market.block_time_s
    blocks = max(0, deadline_block - market.block.number - 1)
    base_fee = highest_base_fee_after(market.next_base_fee_wei, blocks, fee_parameters(market.chain_id))
    dearest = min(cap.max_fee_per_gas_wei, base_fee + cap.max_priority_fee_per_gas_wei)
    return _Terms(cap, dearest, deadline_block, market.timestamp_s + seconds)


def _lifted(cap: FeeCap, market: Market) -> FeeCap:
    """The cap, raised where the base fee has run ahead of an old fee quote."""
    params = fee_parameters(market.chain_id)
    least = highest_base_fee_after(market.next_base_fee_wei, EXIT_BASE_FEE_BLOCKS, params)
    least += cap.max_priority_fee_per_gas_wei
    return cap.model_copy(update={"max_fee_per_gas_wei": max(cap.max_fee_per_gas_wei, least)})


def _quoted(opportunity: OpportunityFound, route: Route, size: int, desk: _Desk) -> _Quoted | Objection:
    """Quote one size exactly and say what speaks against it, if anything does, before gas and fees are looked at."""
    try:
        quote = quote_trade(desk.market.pools, [(route, size)], desk.market.taxes)
    except InsufficientLiquidity as error:
        return Objection("no_liquidity", f"the route cannot take the trade: {error}")
    if quote.amount_out < 1:
        return Objection("no_liquidity", "the route would give nothing for so small a trade")
    if route.is_cycle:
        return _Quoted(quote)
    quoted = _Quoted(quote)
    if desk.rules.searches:
        found = desk.search.best(route.token_in, route.token_out, size)
        if found is not None and desk.search.is_better(found, quote, route.token_out):
            quoted = _Quoted(found, passed_over=quote)
    return _against_entry_price(opportunity, quoted.quote, desk) or quoted


def _against_entry_price(opportunity: OpportunityFound, quote: TradeQuote, desk: _Desk) -> Objection | None:
    tolerance = desk.book.slippage_tolerance_bps
    # Cross-multiplied comparison of two rates: what this size gets now, and what the hint was to get.
    now, expected = quote.amount_out * opportunity.size_hint, opportunity.expected_out * quote.amount_in
    if now * BPS_DENOMINATOR < expected * (BPS_DENOMINATOR - tolerance):
        lost = percent((expected - now) * BPS_DENOMINATOR // expected)
        return Objection("price_moved", f"the route gives {lost} less than when the chance was found")
    if quote.impact_bps > desk.rules.max_price_impact_bps:
        most = percent(desk.rules.max_price_impact_bps)
        sentence = f"the trade would move the price by {percent(quote.impact_bps)}, more than {most}"
        return Objection("price_impact", sentence)
    if desk.collar is None:
        return None
    return desk.collar.objection([path for path, _ in quote.paths], quote.amount_in, quote.amount_out)


def _offer(
    opportunity: OpportunityFound, quoted: _Quoted | Objection, terms: _Terms | Objection, desk: _Desk
) -> _Offer | Objection:
    """A quoted trade sent on these terms, or what speaks against it."""
    if isinstance(quoted, Objection):
        return quoted
    if isinstance(terms, Objection):
        return terms
    quote = quoted.quote
    if opportunity.route.is_cycle:
        return _gap_offer(quote, terms, desk)
    if opportunity.edge_bps > 0:
        cost = _gas_cost(quote, terms, desk)
        gain = apply_bps(quote.amount_in, opportunity.edge_bps)
        if cost is None or cost >= gain:
            return not_worth_its_gas(cost, gain, desk.book)
    return _Offer(quote, less_bps(quote.amount_out, desk.book.slippage_tolerance_bps), terms, quoted.passed_over)


def _gap_offer(quote: TradeQuote, terms: _Terms, desk: _Desk) -> _Offer | Objection:
    """A gap must return what went in, its gas at the dearest possible, and a profit; else it reverts."""
    cost = _gas_cost(quote, terms, desk)
    gain = quote.amount_out - quote.amount_in
    profit = max(1, apply_bps(quote.amount_in, desk.rules.min_gap_profit_bps))
    if cost is None or gain < cost + profit:
        return not_worth_its_gas(cost, gain, desk.book)
    tolerated = less_bps(quote.amount_out, desk.book.slippage_tolerance_bps)
    return _Offer(quote, max(tolerated, quote.amount_in + cost + profit), terms)


def _gas_cost(quote: TradeQuote, terms: _Terms, desk: _Desk) -> int | None:
    """Estimated gas at its dearest until the deadline, and what a rollup charges beside it, in quote units; None when
    the native coin has no price."""
    gas = quote.gas + desk.rules.permit_gas
    wei = gas * terms.dearest_gas_wei
    if desk.market.data_fee is not None:
        size = routed_size(route for route, _ in quote.paths)
        wei += dearest_rollup_fee_wei(desk.market.data_fee, size, gas)
    return desk.native.of_wei(wei)


def _planned_entry(found: OpportunityFound, offer: _Offer, desk: _Desk, size: TradeSize, tried: list[Tried]) -> Planned:
    trade = _trade(offer, desk, desk.book.slippage_tolerance_bps)
    is_gap = offer.route.is_cycle
    return Planned(
        purpose=Purpose.GAP if is_gap else Purpose.ENTRY,
        strategy=found.strategy,
        plan=trade,
        reserved=offer.quote.amount_in,
        price_impact_bps=offer.quote.impact_bps,
        max_fee_per_gas_budget_wei=trade.fee_cap.max_fee_per_gas_wei
        if is_gap
        else entry_budget(trade, desk.native, desk.market, desk.rules, found.edge_bps),
        size=size,
        tried=tuple(tried),
    )


def _trade(offer: _Offer, desk: _Desk, tolerance_bps: int) -> Plan:
    quote, terms, route = offer.quote, offer.terms, offer.route
    gas = quote.gas + desk.rules.permit_gas
    split = _split(quote, tolerance_bps)
    is_native = desk.book.quote.address == NATIVE
    tokens = {token for path, _ in quote.paths for leg in path.legs for token in (leg.token_in, leg.token_out)}
    taxes = [(token, desk.market.taxes[token]) for token in sorted(tokens & desk.market.taxes.keys())]
    return Plan(
        route=route,
        amount_in=quote.amount_in,
        quoted_out=quote.amount_out,
        minimum_out=sum(path.minimum_out for path in split) or offer.minimum_out,
        split=split,
        native_in=is_native and route.token_in == desk.quote_token,
        native_out=is_native and route.token_out == desk.quote_token,
        taxes=tuple([TokenTax(token=token, bps=bps) for token, bps in taxes if bps]),
        gas_limit=min(gas + apply_bps(gas, desk.rules.gas_margin_bps), MAX_GAS_LIMIT),
        fee_cap=terms.fee_cap,
        deadline_block=terms.deadline_block,
        deadline_s=terms.deadline_s,
        pool_digest=desk.market.pool_book.state_digest(leg.pool for path, _ in quote.paths for leg in path.legs),
    )


def _split(quote: TradeQuote, tolerance_bps: int) -> tuple[PlannedPath, ...]:
    """The paths with minimums of their own, each rounded up: together they are no less than that of the whole."""
    if len(quote.paths) == 1:
        return ()
    return tuple(
        PlannedPath(route=route, amount_in=path.amount_in, minimum_out=less_bps(path.amount_out, tolerance_bps))
        for route, path in quote.paths
    )
