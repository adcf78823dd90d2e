"""Ticks and square-root prices of Uniswap V3 (source: v3-core 1.0.1, ``libraries/TickMath.sol``).

A square-root price is ``sqrt(token1 / token0)`` in smallest units, as a Q64.96 integer. Tick ``i`` stands for the price
``1.0001 ** i``; both conversions give the contract's integers.
"""

from __future__ import annotations

from functools import lru_cache
from math import log

MIN_TICK = -887_272
MAX_TICK = 887_272
MIN_SQRT_RATIO = 4295128739
"""Square-root price of ``MIN_TICK``."""
MAX_SQRT_RATIO = 1461446703485210103287273052203988822378723970342
"""Square-root price of ``MAX_TICK``; a pool's price stays below it."""
Q96 = 1 << 96

_MAX_UINT256 = (1 << 256) - 1
_SCALE = 1_000_000
_DOUBT = 100
_LOG_Q96 = log(Q96)
_SCALED_TICKS = 2 * _SCALE / log(1.0001)
_FACTORS = tuple(
    enumerate(
        (
            0xFFFCB933BD6FAD37AA2D162D1A594001,
            0xFFF97272373D413259A46990580E213A,
            0xFFF2E50F5F656932EF12357CF3C7FDCC,
            0xFFE5CACA7E10E4E61C3624EAA0941CD0,
            0xFFCB9843D60F6159C9DB58835C926644,
            0xFF973B41FA98C081472E6896DFB254C0,
            0xFF2EA16466C96A3843EC78B326B52861,
            0xFE5DEE046A99A2A811C461F1969C3053,
            0xFCBE86C7900A88AEDCFFC83B479AA3A4,
            0xF987A7253AC413176F2B074CF7815E54,
            0xF3392B0822B70005940C7A398E4B70F3,
            0xE7159475A2C29B7443B29C7FA6E889D9,
            0xD097F3BDFD2022B8845AD8F792AA5825,
            0xA9F746462D870FDF8A65DC1F90E061E5,
            0x70D869A156D2A1B890BB3DF62BAF32F7,
            0x31BE135F97D08FD981231505542FCFA6,
            0x9AA508B5B7A84E1C677DE54F3E99BC9,
            0x5D6AF8DEDB81196699C329225EE604,
            0x2216E584F5FA1EA926041BEDFE98,
            0x48A170391F7DC42444E8FA2,
        )
    )
)
"""``sqrt(1.0001) ** -(2 ** bit)`` as Q128.128, per bit of the absolute tick."""


@lru_cache(maxsize=1 << 15)
def sqrt_ratio_at_tick(tick: int) -> int:
    """The square-root price of a tick (``getSqrtRatioAtTick``). Raises ``ValueError`` outside the tick range.

    Pure; the bounded cache only spares recomputing the few thousand ticks around the current prices.
    """
    distance = abs(tick)
    if distance > MAX_TICK:
        raise ValueError(f"tick {tick} is outside [{MIN_TICK}, {MAX_TICK}]")
    ratio = 1 << 128
    for bit, factor in _FACTORS:
        if distance >> bit & 1:
            ratio = ratio * factor >> 128
    if tick > 0:
        ratio = _MAX_UINT256 // ratio
    return -(-ratio >> 32)


def tick_at_sqrt_ratio(sqrt_price_x96: int) -> int:
    """The greatest tick whose square-root price is not above the given one (``getTickAtSqrtRatio``).

    Raises ``ValueError`` outside ``[MIN_SQRT_RATIO, MAX_SQRT_RATIO)``.
    """
    if not MIN_SQRT_RATIO <= sqrt_price_x96 < MAX_SQRT_RATIO:
        raise ValueError(f"square-root price {sqrt_price_x96} is outside the range of ticks")
    # The logarithm is good to a thousandth of what is doubted here, and rounding the prices of ticks up moves them by
    # a twentieth of it at most (at MIN_TICK); so the price of the one tick in doubt decides exactly.
    scaled = int((log(sqrt_price_x96) - _LOG_Q96) * _SCALED_TICKS)
    nearest = (scaled + _SCALE // 2) // _SCALE
    if abs(scaled - nearest * _SCALE) > _DOUBT:
        return scaled // _SCALE
    return nearest if sqrt_ratio_at_tick(nearest) <= sqrt_price_x96 else nearest - 1
