"""Prices, depth and candles in Redis: one writer in the market feed, readers anywhere, and nothing old passes as new.

Keys begin with ``dexlane:<realm>:<chain>:``; all values are JSON.

- ``market:tip``: the block up to which everything is written, and when it was applied (``at_ms``). Written in one
  transaction with what it is about, so a reader that takes both at once sees one state.
- ``market:pools``: a hash with a :class:`MarketRecord` for each pool.
- ``market:candles:<interval>:<pool>``: a sorted set of closed candles by start; at most ``CANDLES_KEPT``, for a week.

Every record carries the ``epoch`` of the feed's life that wrote it; a record of another epoch than the tip's is
refused, because nobody kept it up to date. Losing Redis means that readers get no answer until it is written again.
"""

from dexlane.runtime.market_cache.forms import CandleForm, MarketPrice, MarketRecord, MarketTip
from dexlane.runtime.market_cache.reader import MarketReader, NoReading, Reading
from dexlane.runtime.market_cache.writer import MarketCache

__all__ = [
    "CandleForm",
    "MarketCache",
    "MarketPrice",
    "MarketReader",
    "MarketRecord",
    "MarketTip",
    "NoReading",
    "Reading",
]
