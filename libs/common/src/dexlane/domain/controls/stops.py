"""Heat: what the stops of everything held would lose together."""

from __future__ import annotations

from collections.abc import Iterator

from dexlane.domain.circumstances import Holdings
from dexlane.domain.controls.bounds import Bound, in_quote, unknown
from dexlane.domain.controls.facts import Candidate
from dexlane.events.portfolio import ExposurePart
from dexlane.values.amounts import BPS_DENOMINATOR, apply_bps
from dexlane.values.books import Book


def heat_bounds(trade: Candidate, book: Book, holdings: Holdings) -> Iterator[Bound]:
    """What the limit on heat leaves for an entry. A gap holds nothing that could be stopped."""
    limit_bps, exposure = book.controls_in_force.max_heat_bps, holdings.exposure
    if limit_bps is None or exposure is None or trade.route.is_cycle:
        return
    if exposure.parts is None:
        yield from unknown("parts_unknown", "what the book holds by token, pool and strategy is not known yet")
        return
    stop = book.exits.stop_loss_bps
    under_way = sum(one.amount for one in holdings.reserved.trades if one.token is not None)
    heat = sum(loss_at_stop(part, stop) for part in exposure.parts) + _up(under_way * stop)
    limit = apply_bps(trade.capital, limit_bps)
    yield Bound(
        "heat",
        max(0, limit - heat) * BPS_DENOMINATOR // stop,
        lambda: f"stops would lose {in_quote(heat, book)}, and at most {in_quote(limit, book)} may be lost by them",
    )


def loss_at_stop(part: ExposurePart, stop_bps: int) -> int:
    """What a part loses at its stop, rounded up; more where it is worth less than that already, and all of it where
    nobody knows what it is worth."""
    if part.worth is None:
        return part.cost
    return max(_up(part.cost * stop_bps), part.cost - part.worth)


def _up(amount_in_bps: int) -> int:
    return -(-amount_in_bps // BPS_DENOMINATOR)
