"""Volume and volatility over a window, from candles.

Volatility is *realised volatility*: the square root of the sum of squared logarithmic returns between the closes of
one-minute candles (Andersen and Bollerslev, 1998), scaled to a unit of time. A minute without swaps has no return. It
is a statistic, so floats are used; prices and volumes stay integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dexlane.domain.candles import Candle
from dexlane.values.amounts import BPS_DENOMINATOR

WINDOWS: dict[str, int] = {"5m": 300, "1h": 3_600, "24h": 86_400}
"""Windows and their length in seconds."""

SAMPLED = "1m"
"""The interval of the candles that statistics are made from."""

MINUTE_S = 60
HOUR_S = 3_600
LEAST_RETURNS = 3
"""With fewer returns there is no volatility to speak of."""


@dataclass(frozen=True, slots=True)
class WindowStatistics:
    """What happened in a window that ends now. Volumes are gross amounts in smallest units.

    ``covered_s``: how much of the window was seen without a break. ``volatility_hour_bps``: realised volatility in
    basis points per square root of an hour, to the nearest; None with fewer than ``LEAST_RETURNS`` returns.
    """

    seconds: int
    covered_s: int
    base_volume: int
    quote_volume: int
    volatility_hour_bps: int | None


def statistics(minutes: Sequence[Candle], now_s: int, seen_since_s: int, seconds: int) -> WindowStatistics:
    """Statistics of the last ``seconds`` before ``now_s``.

    ``minutes`` are one-minute candles in order of time; those that start in the window count. ``seen_since_s``: since
    when every swap was seen; the minute it lies in is not covered.
    """
    inside = [candle for candle in minutes if now_s - seconds < candle.start_s <= now_s]
    first_whole_minute_s = -(-seen_since_s // MINUTE_S) * MINUTE_S
    covered_s = max(0, min(seconds, now_s - first_whole_minute_s))
    return WindowStatistics(
        seconds=seconds,
        covered_s=covered_s,
        base_volume=sum(candle.base_volume for candle in inside),
        quote_volume=sum(candle.quote_volume for candle in inside),
        volatility_hour_bps=_volatility_hour_bps(inside, now_s),
    )


def _volatility_hour_bps(minutes: Sequence[Candle], now_s: int) -> int | None:
    """Returns are squared, summed and divided by the time from the first close to now."""
    returns: list[float] = [
        math.log(after.close / before.close) for before, after in pairwise(minutes) if before.close and after.close
    ]
    if len(returns) < LEAST_RETURNS:
        return None
    elapsed_s = max(MINUTE_S, now_s - minutes[0].start_s)
    per_hour = sum(change * change for change in returns) * HOUR_S / elapsed_s
    return round(math.sqrt(per_hour) * BPS_DENOMINATOR)
