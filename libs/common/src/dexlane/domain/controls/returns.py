"""Controls that learn from recorded results: quarter Kelly, and value at risk. Integers, and no guess from too little.

Kelly: J. L. Kelly, A New Interpretation of Information Rate, 1956; for stakes that lose only a part, the share of the
capital is ``p / loss - q / gain``. Lower bound of the win rate: E. B. Wilson, Probable Inference, 1927, at z = 1.96.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from math import isqrt

from dexlane.domain.circumstances import Holdings
from dexlane.domain.controls.bounds import Bound, unknown
from dexlane.domain.controls.facts import Candidate
from dexlane.domain.controls.records import UNKNOWN, results_of
from dexlane.values.amounts import BPS_DENOMINATOR, apply_bps, decimal_text
from dexlane.values.books import Book

Z_SQUARED = 38_416
"""1.96 squared, in ten-thousandths."""
KELLY_PART = 4
"""A quarter of what Kelly says: the full share bears no error in its figures."""
TAIL_PERCENT = 5
LEAST_SAMPLE = 60
"""Fewer results say nothing about the worst twentieth of them."""


def kelly_bounds(trade: Candidate, book: Book, holdings: Holdings) -> Iterator[Bound]:
    """A quarter of the Kelly share, once there are enough results; of an entry only: a gap cannot lose its stake.

    Nothing where the results, at their lower bound, show no edge.
    """
    least = book.controls_in_force.kelly_after_results
    if least is None or trade.route.is_cycle:
        return
    returns = _returns(holdings)
    if returns is None:
        yield from unknown("results_unknown", UNKNOWN)
    elif len(returns) >= least:
        share = quarter_kelly_bps(returns, book.exits.stop_loss_bps)
        yield Bound("kelly", apply_bps(trade.capital, share), lambda: _of_kelly(returns, share))


def _of_kelly(returns: Sequence[int], share_bps: int) -> str:
    rate = decimal_text(win_rate_lower_bound_bps(sum(one > 0 for one in returns), len(returns)), 2)
    share = decimal_text(share_bps, 2)
    return f"at least {rate} % of the last {len(returns)} sales gained; a quarter of Kelly's share is {share} %"


def risk_bounds(trade: Candidate, book: Book, holdings: Holdings) -> Iterator[Bound]:
    """What the limit on value at risk leaves. With too few results there is no data; the limits on exposure hold."""
    limit, exposure = book.controls_in_force.max_var_bps, holdings.exposure
    if limit is None or exposure is None or trade.route.is_cycle:
        return
    returns = _returns(holdings)
    if returns is None:
        yield from unknown("results_unknown", UNKNOWN)
        return
    loss = value_at_risk_bps(returns)
    if loss:
        most = apply_bps(trade.capital, limit) * BPS_DENOMINATOR // loss
        yield Bound(
            "value_at_risk",
            max(0, most - exposure.at_work - holdings.reserved.capital),
            lambda: f"one sale in twenty lost {decimal_text(loss, 2)} % or more, which bounds what may be at work",
        )


@lru_cache(maxsize=256)
def quarter_kelly_bps(returns_bps: tuple[int, ...], stop_loss_bps: int) -> int:
    """A quarter of the Kelly share of the capital, basis points, never below 0 or above the whole.

    Where nothing was ever lost, the stop loss stands for the loss that is still to come.
    """
    gains, losses = [one for one in returns_bps if one > 0], [-one for one in returns_bps if one < 0]
    if not gains:
        return 0
    gain = max(1, sum(gains) // len(gains))
    loss = -(-sum(losses) // len(losses)) if losses else stop_loss_bps
    won = win_rate_lower_bound_bps(len(gains), len(returns_bps))
    share = BPS_DENOMINATOR * (won * gain - (BPS_DENOMINATOR - won) * loss) // (loss * gain)
    return min(BPS_DENOMINATOR, max(0, share // KELLY_PART))


def win_rate_lower_bound_bps(won: int, count: int) -> int:
    """The win rate that is hardly ever lower, basis points, rounded down; 0 without results."""
    if count == 0:
        return 0
    scale = 10_000
    root = isqrt(Z_SQUARED * Z_SQUARED + Z_SQUARED * scale * 4 * won * (count - won) // count + 1) + 1
    below = 2 * won * scale + Z_SQUARED - root
    return max(0, BPS_DENOMINATOR * below // (2 * (count * scale + Z_SQUARED)))


@lru_cache(maxsize=256)
def value_at_risk_bps(returns_bps: tuple[int, ...]) -> int | None:
    """What one sale in twenty lost at least, basis points of its cost, 0 where that is a gain; None: no data.

    Historical: the quantile of what was recorded, the worse one of two neighbours.
    """
    if len(returns_bps) < LEAST_SAMPLE:
        return None
    return max(0, -sorted(returns_bps)[len(returns_bps) * TAIL_PERCENT // 100])


def _returns(holdings: Holdings) -> tuple[int, ...] | None:
    results = results_of(holdings)
    return None if results is None else tuple(chain.from_iterable(one.returns_bps for one in results))
