"""``/markets``: prices, depth, candles, volume and volatility of pools and pairs, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from dexlane.domain.market_statistics import SAMPLED, WINDOWS, WindowStatistics, statistics
from dexlane.runtime.market_cache import CandleForm, MarketPrice, MarketReader, MarketRecord, NoReading, Reading
from dexlane.runtime.market_cache.forms import DEPTH_MOVES_BPS, DepthLevel
from dexlane.values.amounts import Amount
from dexlane.values.chains import Address, BlockRef
from dexlane.values.pools import Protocol
from dexlane.values.tokens import Token
from gateway.api.desk import Desk
from gateway.api.envelope import Envelope, Problem

T = TypeVar("T")
Interval = Literal["1s", "5s", "1m", "5m", "15m", "1h", "4h", "1d"]
ChainPath = Annotated[int, Path(ge=1, description="chain id")]
AddressPath = Annotated[str, Path(pattern="^0x[0-9a-fA-F]{40}$")]
MaxAge = Annotated[int | None, Query(ge=0, le=3_600_000, description="refuse what is older, in milliseconds")]
CandleLimit = Annotated[int, Query(ge=1, le=1_500, description="the newest so many")]
MINUTES = 24 * 60 + 1
COMPARED_MOVE_BPS = 200
"""The deepest pool of a pair is the one with the most depth up to this price move."""


class AsOfBlock(BaseModel):
    """The block that a figure holds for, and how long ago the feed had applied it."""

    block: BlockRef
    age_ms: int


class PoolPrice(BaseModel):
    """A pool in the list. ``price`` is in whole quote tokens for one base token; None when it has none."""

    pool: Address
    protocol: Protocol
    fee_pips: int
    base: Token
    quote: Token
    price: str | None


class WindowView(BaseModel):
    """Swaps of a window that ends with the block; volumes are gross, in smallest units.

    ``covered_s``: how much of the window was seen without a break. ``volatility_hour_bps``: realised volatility of
    one-minute closes in basis points per square root of an hour; None for too few of them.
    """

    seconds: int
    covered_s: int
    base_volume: Amount
    quote_volume: Amount
    volatility_hour_bps: int | None


class PoolView(PoolPrice):
    """A pool with all its figures. ``changed``: the block that changed it last."""

    as_of: AsOfBlock
    changed: BlockRef
    depth: tuple[DepthLevel, ...]
    windows: dict[str, WindowView]


class PairView(BaseModel):
    """All pools of two tokens: volumes and depths are sums; price and volatility are those of the deepest pool."""

    as_of: AsOfBlock
    base: Token
    quote: Token
    deepest_pool: Address
    price: str | None
    pools: tuple[Address, ...]
    depth: tuple[DepthLevel, ...]
    windows: dict[str, WindowView]


class ShownCandle(CandleForm):
    """A candle. ``partial``: swaps before the feed began are missing in it; ``closed``: a later one followed."""

    partial: bool
    closed: bool


class CandlesView(BaseModel):
    """Candles in order of time; times without swaps have none."""

    as_of: AsOfBlock
    pool: Address
    interval: str
    base: Token
    quote: Token
    candles: tuple[ShownCandle, ...] = Field(description="prices in whole quote tokens, volumes in smallest units")


def router(desk: Desk) -> APIRouter:
    """Markets of each chain."""
    api = APIRouter(tags=["markets"], dependencies=[Depends(desk.may_read)])

    def asked(chain_id: int, max_age_ms: int | None) -> tuple[MarketReader, int]:
        desk.chain_ids(chain_id)
        return desk.markets[chain_id], desk.settings.market_max_age_ms if max_age_ms is None else max_age_ms

    @api.get("/markets/{chain_id}")
    async def list_markets(chain_id: ChainPath, max_age_ms: MaxAge = None) -> Envelope[list[PoolPrice]]:
        """Every watched pool with its price."""
        reader, age = asked(chain_id, max_age_ms)
        records = _given(await reader.prices(age)).value
        return desk.wrap([PoolPrice(**_price(record)) for record in records])

    @api.get("/markets/{chain_id}/pools/{pool}")
    async def read_pool(chain_id: ChainPath, pool: AddressPath, max_age_ms: MaxAge = None) -> Envelope[PoolView]:
        """Price, depth, volume and volatility of a pool."""
        return desk.wrap(_pool_view(await _minutes(*asked(chain_id, max_age_ms), pool)))

    @api.get("/markets/{chain_id}/pools/{pool}/candles")
    async def list_candles(
        chain_id: ChainPath,
        pool: AddressPath,
        interval: Interval = "1m",
        limit: CandleLimit = 200,
        max_age_ms: MaxAge = None,
    ) -> Envelope[CandlesView]:
        """Candles of a pool."""
        reader, age = asked(chain_id, max_age_ms)
        return desk.wrap(_candles_view(_given(await reader.candles(pool, interval, limit, age)), interval))

    @api.get("/markets/{chain_id}/pairs/{base}/{quote}")
    async def read_pair(
        chain_id: ChainPath, base: AddressPath, quote: AddressPath, max_age_ms: MaxAge = None
    ) -> Envelope[PairView]:
        """The same for all pools of two tokens together, in either order."""
        reader, age = asked(chain_id, max_age_ms)
        tokens = {base.lower(), quote.lower()}
        records = _given(await reader.prices(age)).value
        pools = [record.pool for record in records if {record.base, record.quote} == tokens]
        if not pools:
            raise Problem(404, "Unknown pair", f"no watched pool of chain {chain_id} trades {base} and {quote}")
        return desk.wrap(_pair_view([await _minutes(reader, age, pool) for pool in pools]))

    return api


Minutes = Reading[tuple[MarketRecord, tuple[CandleForm, ...]]]


async def _minutes(reader: MarketReader, max_age_ms: int, pool: str) -> Minutes:
    return _given(await reader.candles(pool, SAMPLED, MINUTES, max_age_ms))


def _given(reading: Reading[T] | NoReading) -> Reading[T]:
    if isinstance(reading, NoReading):
        if reading.unknown:
            raise Problem(404, "Unknown pool", reading.reason)
        raise Problem(503, "No current data", reading.reason, {"Retry-After": "1"})
    return reading


def _as_of(reading: Reading[T]) -> AsOfBlock:
    return AsOfBlock(block=reading.block, age_ms=reading.age_ms)


def _price(record: MarketPrice) -> dict[str, object]:
    return {
        "pool": record.pool,
        "protocol": record.protocol,
        "fee_pips": record.fee_pips,
        "base": record.base_token,
        "quote": record.quote_token,
        "price": record.price,
    }


def _statistics(reading: Minutes) -> dict[str, WindowStatistics]:
    record, forms = reading.value
    minutes = [form.candle(record.quote_token) for form in forms]
    return {
        name: statistics(minutes, reading.timestamp_s, record.seen_since_s, seconds)
        for name, seconds in WINDOWS.items()
    }


def _pool_view(reading: Minutes) -> PoolView:
    record = reading.value[0]
    windows = {
        name: WindowView.model_validate(found, from_attributes=True) for name, found in _statistics(reading).items()
    }
    return PoolView.model_validate(
        {
            **_price(record),
            "as_of": _as_of(reading),
            "changed": record.block,
            "depth": record.depth,
            "windows": windows,
        }
    )


def _pair_view(readings: Sequence[Minutes]) -> PairView:
    records = [reading.value[0] for reading in readings]
    deepest = max(range(len(records)), key=lambda at: (_compared_depth(records[at]), records[at].pool))
    windows = [_statistics(reading) for reading in readings]
    oldest = max(readings, key=lambda reading: reading.age_ms)
    return PairView(
        as_of=_as_of(oldest),
        base=records[deepest].base_token,
        quote=records[deepest].quote_token,
        deepest_pool=records[deepest].pool,
        price=records[deepest].price,
        pools=tuple(record.pool for record in records),
        depth=tuple(_summed_depth(records, move) for move in DEPTH_MOVES_BPS),
        windows={name: _summed_window([each[name] for each in windows], windows[deepest][name]) for name in WINDOWS},
    )


def _compared_depth(record: MarketRecord) -> int:
    level = _level(record, COMPARED_MOVE_BPS)
    return level.out1 if record.quote == record.token1.address else level.out0


def _level(record: MarketRecord, move_bps: int) -> DepthLevel:
    found = next((level for level in record.depth if level.move_bps == move_bps), None)
    return found or DepthLevel(move_bps=move_bps, out0=0, out1=0)


def _summed_depth(records: Sequence[MarketRecord], move_bps: int) -> DepthLevel:
    levels = [_level(record, move_bps) for record in records]
    return DepthLevel(
        move_bps=move_bps, out0=sum(level.out0 for level in levels), out1=sum(level.out1 for level in levels)
    )


def _summed_window(pools: Sequence[WindowStatistics], deepest: WindowStatistics) -> WindowView:
    return WindowView(
        seconds=deepest.seconds,
        covered_s=min(pool.covered_s for pool in pools),
        base_volume=sum(pool.base_volume for pool in pools),
        quote_volume=sum(pool.quote_volume for pool in pools),
        volatility_hour_bps=deepest.volatility_hour_bps,
    )


def _candles_view(reading: Minutes, interval: str) -> CandlesView:
    record, forms = reading.value
    opened = record.open.get(interval)
    shown = [
        ShownCandle(
            **form.model_dump(),
            partial=form.start_s < record.seen_since_s,
            closed=opened is None or form.start_s < opened.start_s,
        )
        for form in forms
    ]
    return CandlesView(
        as_of=_as_of(reading),
        pool=record.pool,
        interval=interval,
        base=record.base_token,
        quote=record.quote_token,
        candles=tuple(shown),
    )
