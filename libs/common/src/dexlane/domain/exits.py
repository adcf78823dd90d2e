"""When a position is closed by itself: an unsafe token, stop loss, take profit, maximum age.

Prices are never looked at in isolation. A position is worth what selling *all of it now* would bring, computed exactly
on current pool states, with the fee and our own price impact in it. Distances are in basis points of what the held
quantity cost, and compared as integers, so that the limit itself counts as reached.

Where no pool takes all of it, it is sold in parts, over every route of at most two pools: what one pool gives for its
part is no price of the whole, and what was bought over several pools is worth what it brings in several. A rest that
nobody takes is worth nothing. Whether that is so, or only not known yet, no block can tell by itself: a value with a
rest is a price only once it has stood for some blocks, which portfolio sees to. Of what nobody takes anything there is
no price at all, for there is nothing that an exit could do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dexlane.domain.amm.quoting import Quote, quote_exact_in
from dexlane.domain.risk.canonical import canonical_symbol
from dexlane.domain.risk.evidence import Flag
from dexlane.domain.selling import routes_between, sold_in_parts
from dexlane.events.portfolio import ExitReason
from dexlane.events.risk import TokenFlagged
from dexlane.values.amounts import BPS_DENOMINATOR, decimal_text
from dexlane.values.books import ExitRules
from dexlane.values.pools import Pool
from dexlane.values.tokens import Token


@dataclass(frozen=True, slots=True)
class ExecutableValue:
    """What selling a quantity now would bring, in quote units. ``pool`` is the one that takes all of it, None when it
    is sold in parts; ``rest`` is what nobody takes."""

    pool: str | None
    proceeds: int
    rest: int = 0


@dataclass(frozen=True, slots=True)
class HeldPosition:
    """What the exit rules look at. ``age_s`` counts from the fill of the oldest lot; None when it is unknown."""

    token: Token
    quote: Token
    quantity: int
    cost: int
    age_s: int | None
    warning: Warned | None = None


@dataclass(frozen=True, slots=True)
class Warned:
    """That a token was found unsafe, in which block and why, and what a sale loses by the last check, in bps."""

    block_number: int
    reason: str
    sell_tax_bps: int = 0


@dataclass(frozen=True, slots=True)
class ExitSignal:
    """Which rule fires, and a sentence a person understands."""

    reason: ExitReason
    detail: str
    sell_tax_bps: int = 0


def executable_value(pools: Mapping[str, Pool], token: str, quote: str, quantity: int) -> ExecutableValue | None:
    """Sell ``quantity`` of ``token`` for ``quote``: through the single pool that pays most for all of it; in parts
    where none takes all, or others give more than that for parts, as beside a thin pool that takes anything.

    None when no route leads there. Of equal pools the one with the lower address is taken, so that everybody finds the
    same.
    """
    best: ExecutableValue | None = None
    for_parts = 0
    for address in sorted(pools):
        found = _offer(pools[address], token, quote, quantity)
        if found is not None and found.partial:
            for_parts += found.amount_out
        elif found is not None and (best is None or found.amount_out > best.proceeds):
            best = ExecutableValue(address, found.amount_out)
    if best is not None and best.proceeds >= for_parts:
        return best
    routes = routes_between(pools, token, quote)
    if not routes:
        return None
    sold = sold_in_parts(pools, routes, quantity)
    if best is not None and best.proceeds >= sold.proceeds:
        return best
    return ExecutableValue(None, sold.proceeds, sold.rest)


def _offer(pool: Pool, token: str, quote: str, quantity: int) -> Quote | None:
    """What a pool that trades the pair gives; None where it gives nothing."""
    if not pool.key.trades(token, quote):
        return None
    try:
        return quote_exact_in(pool, token, quantity, quote)
    except ValueError:
        # Too little liquidity, or a quantity that no order can have: a token may claim that we hold any.
        return None


def evaluate_exit(rules: ExitRules, held: HeldPosition, value: ExecutableValue | None) -> ExitSignal | None:
    """The first rule that fires, in the order unsafe token, stop loss, take profit, maximum age; None when the position
    stays open.

    Without an executable value, when nobody takes any of it, or when the position cost nothing, the price rules cannot
    be judged and stay silent; the age rule needs no price.
    """
    if held.quantity <= 0:
        return None
    if rules.flagged_tokens and held.warning is not None:
        detail = f"{held.token.symbol} is unsafe since block {held.warning.block_number}: {held.warning.reason}"
        return ExitSignal(ExitReason.TOKEN_FLAGGED, detail, held.warning.sell_tax_bps)
    if value is not None and value.proceeds > 0 and held.cost > 0:
        signal = _price_rule(rules, held, value)
        if signal is not None:
            return signal
    if rules.max_age_s is not None and held.age_s is not None and held.age_s >= rules.max_age_s:
        return ExitSignal(
            ExitReason.MAX_AGE,
            f"{held.token.symbol} has been held for {held.age_s} s; the limit is {rules.max_age_s} s.",
        )
    return None


TRIES_WITHOUT_REST = 3


def rest_after(failures: int, most_blocks: int) -> int:
    """How many blocks a position rests after so many exits in a row came to nothing: none at first, then twice as long
    after each. Every try may pay gas, and what fails again and again seldom goes well in the next block."""
    beyond = failures - TRIES_WITHOUT_REST
    return 0 if beyond < 0 else min(most_blocks, 1 << min(beyond, 20))


def judge_exit(rules: ExitRules, held: HeldPosition, pools: Mapping[str, Pool]) -> ExitSignal | None:
    """What the rules say about a position at what these pools would give for it."""
    value = None
    if held.quantity > 0:
        value = executable_value(pools, held.token.address, held.quote.address, held.quantity)
    return evaluate_exit(rules, held, value)


def _price_rule(rules: ExitRules, held: HeldPosition, value: ExecutableValue) -> ExitSignal | None:
    scaled = value.proceeds * BPS_DENOMINATOR
    if scaled <= held.cost * (BPS_DENOMINATOR - rules.stop_loss_bps):
        limit = f"stop loss at -{_percent(rules.stop_loss_bps)}"
        return ExitSignal(ExitReason.STOP_LOSS, _sentence(held, value, limit))
    if scaled >= held.cost * (BPS_DENOMINATOR + rules.take_profit_bps):
        limit = f"take profit at +{_percent(rules.take_profit_bps)}"
        return ExitSignal(ExitReason.TAKE_PROFIT, _sentence(held, value, limit))
    return None


def _sentence(held: HeldPosition, value: ExecutableValue, limit: str) -> str:
    difference = value.proceeds - held.cost
    distance = abs(difference) * BPS_DENOMINATOR // held.cost
    sign = "-" if difference < 0 else "+"
    rest = f", and nobody takes {decimal_text(value.rest, held.token.decimals)} of it" if value.rest else ""
    return (
        f"Selling {decimal_text(held.quantity, held.token.decimals)} {held.token.symbol} now brings "
        f"{decimal_text(value.proceeds, held.quote.decimals)} {held.quote.symbol} for a cost of "
        f"{decimal_text(held.cost, held.quote.decimals)} {held.quote.symbol} ({sign}{_percent(distance)}){rest}; "
        f"{limit}."
    )


def _percent(bps: int) -> str:
    return f"{decimal_text(bps, 2)} %"


_WARNING_FLAGS = frozenset(
    {Flag.FAILED_TRIAL, Flag.NO_CODE, Flag.CODE_CHANGED, Flag.IMPLEMENTATION_CHANGED, Flag.SANCTIONED}
)
_OF_KNOWN_ISSUERS = frozenset({Flag.IMPLEMENTATION_CHANGED})
"""Issuers on the allow list upgrade in public."""


def warned(before: Warned | None, event: TokenFlagged) -> Warned | None:
    """What is known against a token after one more flag. A raised tax by itself is no reason to leave, but a plan must
    know it."""
    if before is not None and event.block.number < before.block_number:
        return before
    tax = event.sell_tax_bps if event.sell_tax_bps is not None else 0 if before is None else before.sell_tax_bps
    if event.flag == Flag.TAX_RAISED:
        return None if before is None else replace(before, sell_tax_bps=tax)
    tolerated = event.flag in _OF_KNOWN_ISSUERS and canonical_symbol(event.chain_id, event.token) is not None
    if event.flag not in _WARNING_FLAGS or tolerated:
        return before
    return Warned(event.block.number, event.reason, tax)
