"""The keys and the JSON of the market cache. Prices are decimal strings in whole quote tokens for one base token."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from dexlane.domain.candles import PRICE_SCALE_DIGITS, Candle
from dexlane.values.amounts import Amount, decimal_text, parse_decimal_text
from dexlane.values.base import Value
from dexlane.values.chains import Address, BlockRef
from dexlane.values.pools import PoolKey, Protocol
from dexlane.values.tokens import Token

DEPTH_MOVES_BPS = (50, 100, 200, 500)
"""Price moves up to which depth is counted: 0.5, 1, 2 and 5 %."""


class Keys:
    """The keys of one chain."""

    def __init__(self, realm: str, chain_id: int) -> None:
        prefix = f"dexlane:{realm}:{chain_id}:market"
        self.tip = f"{prefix}:tip"
        self.pools = f"{prefix}:pools"
        self._prefix = prefix

    def candles(self, interval: str, address: str) -> str:
        """A pool's closed candles."""
        return f"{self._prefix}:candles:{interval}:{address}"


class MarketTip(Value):
    """The block up to which the cache is complete, and the Unix time in milliseconds when the feed had applied it."""

    epoch: str
    block: BlockRef
    timestamp_s: int
    at_ms: int


class DepthLevel(Value):
    """What comes out until the pool's price (token1 per token0) has moved so far: token0 upward, token1 downward.

    Smallest units, measured as ``dexlane.domain.risk.depth`` says.
    """

    move_bps: int
    out0: Amount
    out1: Amount


class CandleForm(Value):
    """A candle for people. ``blocks`` counts those with swaps; volumes in smallest units."""

    start_s: int
    open: str
    high: str
    low: str
    close: str
    base_volume: Amount
    quote_volume: Amount
    blocks: int

    def candle(self, quote: Token) -> Candle:
        """The candle with integer prices."""
        digits = quote.decimals + PRICE_SCALE_DIGITS
        return Candle(
            start_s=self.start_s,
            open=parse_decimal_text(self.open, digits),
            high=parse_decimal_text(self.high, digits),
            low=parse_decimal_text(self.low, digits),
            close=parse_decimal_text(self.close, digits),
            base_volume=self.base_volume,
            quote_volume=self.quote_volume,
            blocks=self.blocks,
        )


class MarketPrice(Value):
    """A pool and its price; None for a pool without one. What else its record holds is not read."""

    model_config = ConfigDict(extra="ignore")

    epoch: str
    pool: Address
    protocol: Protocol
    fee_pips: int
    token0: Token
    token1: Token
    base: Address
    quote: Address
    price: str | None

    @property
    def base_token(self) -> Token:
        """The token that is priced."""
        return self.token0 if self.base == self.token0.address else self.token1

    @property
    def quote_token(self) -> Token:
        """The token that prices are in."""
        return self.token1 if self.base == self.token0.address else self.token0


class MarketRecord(MarketPrice):
    """A pool as of the tip: nothing changed it after ``block``.

    ``seen_since_s``: since when every swap was seen without a break. ``open`` holds the candles that are not closed;
    one that began before ``seen_since_s`` lacks its first part.
    """

    model_config = ConfigDict(extra="forbid")

    block: BlockRef
    timestamp_s: int
    seen_since_s: int
    depth: tuple[DepthLevel, ...]
    open: dict[str, CandleForm] = Field(default={})


def orientation(key: PoolKey, quote: str) -> tuple[Token, Token]:
    """Base and quote token of a market: the chain's quote token is the quote where it is traded, else token1."""
    return (key.token1, key.token0) if key.token0.address == quote else (key.token0, key.token1)


def candle_json(candle: Candle, quote: Token, texts: dict[int, str] | None = None) -> dict[str, Any]:
    """A candle as :class:`CandleForm` reads it. ``texts`` remembers prices that were written before."""
    digits, known = quote.decimals + PRICE_SCALE_DIGITS, {} if texts is None else texts
    for price in (candle.open, candle.high, candle.low, candle.close):
        if price not in known:
            known[price] = decimal_text(price, digits)
    return {
        "start_s": candle.start_s,
        "open": known[candle.open],
        "high": known[candle.high],
        "low": known[candle.low],
        "close": known[candle.close],
        "base_volume": str(candle.base_volume),
        "quote_volume": str(candle.quote_volume),
        "blocks": candle.blocks,
    }
