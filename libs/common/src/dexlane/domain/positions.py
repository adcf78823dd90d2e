"""Positions from fills: lots first in, first out, with their cost and realised result in units of the quote token.

Buying is no loss: what was paid becomes the cost of the lot. Selling releases the cost of the oldest lots and realises
the difference. A cycle (a price gap) leaves no lot and realises its difference at once. Gas is no part of any of this:
it is native coin and stays in its own ledger account.

Rounding: when a lot is sold in part, the cost released is ``cost * sold // held`` (toward minus infinity) and the
remainder stays with what is still held. Nothing is created or lost by it. For every position, always::

    cost_in == cost + cost_sold         what was paid is either still held or was sold
    quote received less quote paid == realised - cost

Positions depend on the *set* of standing fills, not on their arrival: they are folded in the order of ``fill_order``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from dexlane.domain.ledger import Fill
from dexlane.events.execution import Purpose
from dexlane.values.amounts import BPS_DENOMINATOR

DAY_MS = 86_400_000


class MixedQuote(ValueError):  # noqa: N818  (named for what happened)
    """Fills of one account are settled in different quote tokens, so their costs cannot be added."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a lot comes from: block (None when unknown), event time in Unix milliseconds, strategy."""

    block_number: int | None
    occurred_at_ms: int
    strategy: str


@dataclass(frozen=True, slots=True)
class Lot:
    """A quantity bought at once and what it cost.

    A negative quantity was sold without having been bought here (held since before the opening, or the fill that bought
    it is still to come): its negative cost is what the sale brought, and no result is claimed for it.
    """

    quantity: int
    cost: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class Position:
    """What is held of one token: lots from oldest to newest, the realised result, and the running sums of cost."""

    lots: tuple[Lot, ...] = ()
    realised: int = 0
    cost_in: int = 0
    cost_sold: int = 0
    strategy: str = ""

    @property
    def quantity(self) -> int:
        """What is held, in the token's smallest unit."""
        return sum(lot.quantity for lot in self.lots)

    @property
    def cost(self) -> int:
        """What the held quantity cost; ``cost / quantity`` is the average entry price."""
        return sum(lot.cost for lot in self.lots)

    @property
    def origin(self) -> Origin | None:
        """Where the oldest lot comes from; None when nothing is held."""
        return self.lots[0].origin if self.lots else None


MOST_RETURN_BPS = 1_000_000_000
"""Returns are told up to this, either way: what cost next to nothing may bring, or take, any multiple of it."""


@dataclass(frozen=True, slots=True)
class Traded:
    """What one fill did: ``token`` is what it bought (None when it sold, or left nothing), ``realised`` the result of
    what it sold, which had cost ``cost_sold``; quote units, without gas."""

    purpose: Purpose
    occurred_at_ms: int
    token: str | None
    realised: int
    cost_sold: int

    @property
    def return_bps(self) -> int | None:
        """The result over what was sold had cost, rounded down; None when nothing was sold that had cost anything."""
        if self.cost_sold <= 0:
            return None
        return max(-MOST_RETURN_BPS, min(self.realised * BPS_DENOMINATOR // self.cost_sold, MOST_RETURN_BPS))

    @property
    def is_good(self) -> bool:
        """Whether it closed something, or a gap, with a gain."""
        return self.purpose in {Purpose.EXIT, Purpose.GAP} and self.realised > 0


@dataclass(frozen=True, slots=True)
class Holdings:
    """All positions of one account of one book, and its realised result by day (days since 1970, UTC).

    ``trades`` is what the fills did that were folded in last, by their intents: one, or all of ``fold_fills``.
    """

    positions: Mapping[str, Position] = field(default_factory=dict)
    realised_by_day: Mapping[int, int] = field(default_factory=dict)
    quote: str | None = None
    trades: Mapping[str, Traded] = field(default_factory=dict)

    @property
    def realised(self) -> int:
        """The realised result of all positions, quote units."""
        return sum(position.realised for position in self.positions.values())


def trade(position: Position, quantity: int, quote_flow: int, origin: Origin) -> Position:
    """Change a position by ``quantity``, for which the account gained (positive) or paid (negative) ``quote_flow``."""
    lots, released = _release(position.lots, quantity)
    matched = abs(sum(lot.quantity for lot in position.lots) - sum(lot.quantity for lot in lots))
    flow_matched = _share(quote_flow, matched, abs(quantity))
    rest = quantity + matched if quantity < 0 else quantity - matched
    added = flow_matched - quote_flow
    if rest != 0:
        lots = (*lots, Lot(rest, added, origin))
    return Position(
        lots=lots,
        realised=position.realised + flow_matched - released,
        cost_in=position.cost_in + added,
        cost_sold=position.cost_sold + released,
        strategy=lots[0].origin.strategy if lots else origin.strategy,
    )


def _share(total: int, part: int, whole: int) -> int:
    return total * part // whole


def _release(lots: tuple[Lot, ...], quantity: int) -> tuple[tuple[Lot, ...], int]:
    """Match ``quantity`` with lots of the other sign, oldest first: the lots that remain and the cost released."""
    rest, released, index = abs(quantity), 0, 0
    while rest and index < len(lots) and (lots[index].quantity > 0) != (quantity > 0):
        lot, held = lots[index], abs(lots[index].quantity)
        if held > rest:
            cost = _share(lot.cost, rest, held)
            sign = 1 if lot.quantity > 0 else -1
            kept = replace(lot, quantity=lot.quantity - sign * rest, cost=lot.cost - cost)
            return (kept, *lots[index + 1 :]), released + cost
        rest, released, index = rest - held, released + lot.cost, index + 1
    return lots[index:], released


def fill_order(fill: Fill) -> tuple[int, bool, str]:
    """The order in which fills of an account are folded: by block; within a block exits last, then by intent."""
    return (-1 if fill.block is None else fill.block.number), fill.purpose is Purpose.EXIT, fill.intent_id


def add_fill(holdings: Holdings, fill: Fill) -> Holdings:
    """Fold one more fill, later in ``fill_order`` than all before it.

    With one other token than the quote token, as in every ordinary trade, its whole quote movement belongs to that
    token. When a fill moves several, given tokens leave at their cost and the first received token (or, when none is
    received, the first given one) takes all that remains; further received tokens enter at cost zero. Without any, the
    quote movement itself is the result. Raises ``MixedQuote`` when the quote token differs from that of earlier fills.
    """
    quote = fill.quote.address
    if holdings.quote not in {None, quote}:
        raise MixedQuote(f"account {fill.account} of book {fill.book_id} has costs in {holdings.quote}, not in {quote}")
    amounts = _movements(fill)
    if not amounts:
        return holdings
    positions = dict(holdings.positions)
    before, cost_before = holdings.realised, sum(position.cost_sold for position in positions.values())
    flow = amounts.pop(quote, 0)
    origin = Origin(None if fill.block is None else fill.block.number, fill.occurred_at_ms, fill.strategy)
    if not amounts:
        gained = positions.get(quote, Position())
        positions[quote] = replace(gained, realised=gained.realised + flow, strategy=fill.strategy)
    else:
        _settle(positions, amounts, flow, origin)
    after = sum(position.realised for position in positions.values())
    by_day = dict(holdings.realised_by_day)
    if after != before:
        day = fill.occurred_at_ms // DAY_MS
        by_day[day] = by_day.get(day, 0) + after - before
    sold = sum(position.cost_sold for position in positions.values()) - cost_before
    bought = next((token for token, amount in amounts.items() if amount > 0), None)
    made = Traded(fill.purpose, fill.occurred_at_ms, bought, after - before, sold)
    return Holdings(positions, by_day, quote, {fill.intent_id: made})


def fold_fills(fills: Iterable[Fill]) -> Holdings:
    """The holdings of an account from all its standing fills, whatever order they are given in."""
    holdings, trades = Holdings(), dict[str, Traded]()
    for fill in sorted(fills, key=fill_order):
        holdings = add_fill(holdings, fill)
        trades.update(holdings.trades)
    return replace(holdings, trades=trades)


def _movements(fill: Fill) -> dict[str, int]:
    amounts: dict[str, int] = defaultdict(int)
    for delta in fill.deltas:
        amounts[delta.token] += delta.amount
    return {token: amount for token, amount in amounts.items() if amount != 0}


def _settle(positions: dict[str, Position], amounts: Mapping[str, int], flow: int, origin: Origin) -> None:
    received = [token for token, amount in amounts.items() if amount > 0]
    main = received[0] if received else next(iter(amounts))
    for token, amount in amounts.items():
        if token == main:
            continue
        position = positions.get(token, Position())
        carried = _release(position.lots, amount)[1] if amount < 0 else 0
        positions[token] = trade(position, amount, carried, origin)
        flow -= carried
    positions[main] = trade(positions.get(main, Position()), amounts[main], flow, origin)
