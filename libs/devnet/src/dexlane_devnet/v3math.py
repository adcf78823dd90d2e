"""The few pieces of Uniswap V3 arithmetic the devnet needs, in exact integers.

Sources: Uniswap v3-core TickMath.getSqrtRatioAtTick and SqrtPriceMath (rounding up, as a mint pays).
"""

Q96 = 1 << 96
MIN_TICK = -887272
MAX_TICK = 887272
MIN_SQRT_RATIO = 4295128739
MAX_SQRT_RATIO = 1461446703485210103287273052203988822378723970342
PIPS = 1_000_000

_FACTORS = (
    0xFFFCB933BD6FAD37AA2D162D1A594001, 0xFFF97272373D413259A46990580E213A, 0xFFF2E50F5F656932EF12357CF3C7FDCC,
    0xFFE5CACA7E10E4E61C3624EAA0941CD0, 0xFFCB9843D60F6159C9DB58835C926644, 0xFF973B41FA98C081472E6896DFB254C0,
    0xFF2EA16466C96A3843EC78B326B52861, 0xFE5DEE046A99A2A811C461F1969C3053, 0xFCBE86C7900A88AEDCFFC83B479AA3A4,
    0xF987A7253AC413176F2B074CF7815E54, 0xF3392B0822B70005940C7A398E4B70F3, 0xE7159475A2C29B7443B29C7FA6E889D9,
    0xD097F3BDFD2022B8845AD8F792AA5825, 0xA9F746462D870FDF8A65DC1F90E061E5, 0x70D869A156D2A1B890BB3DF62BAF32F7,
    0x31BE135F97D08FD981231505542FCFA6, 0x9AA508B5B7A84E1C677DE54F3E99BC9, 0x5D6AF8DEDB81196699C329225EE604,
    0x2216E584F5FA1EA926041BEDFE98, 0x48A170391F7DC42444E8FA2,
)  # fmt: skip


def sqrt_ratio_at_tick(tick: int) -> int:
    """sqrt(1.0001^tick) as Q64.96, equal to TickMath.getSqrtRatioAtTick."""
    if abs(tick) > MAX_TICK:
        raise ValueError(f"tick {tick} is out of range")
    ratio = 0xFFFCB933BD6FAD37AA2D162D1A594001 if abs(tick) & 1 else 1 << 128
    for bit in range(1, 20):
        if abs(tick) >> bit & 1:
            ratio = ratio * _FACTORS[bit] >> 128
    if tick > 0:
        ratio = ((1 << 256) - 1) // ratio
    return -(-ratio // (1 << 32))


def amounts_for_liquidity(sqrt_price: int, lower: int, upper: int, liquidity: int) -> tuple[int, int]:
    """(amount0, amount1) a mint of ``liquidity`` in ticks [lower, upper) pays at ``sqrt_price``, rounded up."""
    a, b = sqrt_ratio_at_tick(lower), sqrt_ratio_at_tick(upper)
    inside = min(max(sqrt_price, a), b)
    amount0 = _ceil_div(_ceil_div(liquidity * Q96 * (b - inside), b), inside)
    amount1 = _ceil_div(liquidity * (inside - a), Q96)
    return amount0, amount1


def sqrt_price_before(after: int, liquidity: int, amount0: int, amount1: int, fee_pips: int) -> int:
    """Price before a swap that crossed no tick, from its recorded result (inverse of SqrtPriceMath).

    Args:
        after: recorded sqrt price after the swap, Q64.96.
        liquidity: active liquidity during the swap.
        amount0: signed amount of token 0 from the pool's view.
        amount1: signed amount of token 1 from the pool's view.
        fee_pips: pool fee in hundredths of a basis point, taken from the input.
    """
    if amount1 > 0:
        return after - amount1 * (PIPS - fee_pips) // PIPS * Q96 // liquidity
    net = amount0 * (PIPS - fee_pips) // PIPS
    return after * liquidity * Q96 // (liquidity * Q96 - net * after)


def _ceil_div(numerator: int, denominator: int) -> int:
    return (numerator + denominator - 1) // denominator
