"""Amounts between two square-root prices (source: v3-core 1.0.1, ``libraries/SqrtPriceMath.sol``).

Every rounding favours the pool, as in the contract. Python integers make the 512-bit products of ``FullMath`` plain,
and dividing twice with the same rounding is dividing once by the product.
"""

from __future__ import annotations

_UINT256 = 1 << 256


def div_rounding_up(numerator: int, denominator: int) -> int:
    """``ceil(numerator / denominator)`` of non-negative integers (``UnsafeMath.divRoundingUp``)."""
    return -(-numerator // denominator)


def amount0_delta(lower: int, upper: int, liquidity: int) -> int:
    """Token0 that ``liquidity`` releases between two prices, rounded down. Needs ``lower <= upper``."""
    return (liquidity << 96) * (upper - lower) // (upper * lower)


def amount0_delta_rounding_up(lower: int, upper: int, liquidity: int) -> int:
    """Token0 that ``liquidity`` asks for between two prices, rounded up."""
    return -((liquidity << 96) * (lower - upper) // (upper * lower))


def amount1_delta(lower: int, upper: int, liquidity: int) -> int:
    """Token1 that ``liquidity`` releases between two prices, rounded down. Needs ``lower <= upper``."""
    return liquidity * (upper - lower) >> 96


def amount1_delta_rounding_up(lower: int, upper: int, liquidity: int) -> int:
    """Token1 that ``liquidity`` asks for between two prices, rounded up."""
    return -(liquidity * (lower - upper) >> 96)


def sqrt_price_after_adding_0(sqrt_price: int, liquidity: int, amount: int) -> int:
    """Price after token0 came in (``getNextSqrtPriceFromAmount0RoundingUp``, add).

    Where the contract's 256-bit product or sum overflows, it falls back to a less precise formula; so does this.
    """
    if amount == 0:
        return sqrt_price
    numerator = liquidity << 96
    product = amount * sqrt_price
    if product < _UINT256 and numerator + product < _UINT256:
        return -(-numerator * sqrt_price // (numerator + product))
    return div_rounding_up(numerator, numerator // sqrt_price + amount)


def sqrt_price_after_removing_0(sqrt_price: int, liquidity: int, amount: int) -> int:
    """Price after token0 went out (``getNextSqrtPriceFromAmount0RoundingUp``, remove).

    Raises ``ValueError`` where the contract reverts: the liquidity cannot give that much.
    """
    if amount == 0:
        return sqrt_price
    numerator = liquidity << 96
    product = amount * sqrt_price
    if product >= _UINT256 or numerator <= product:
        raise ValueError("more token0 than this liquidity can give")
    return -(-numerator * sqrt_price // (numerator - product))


def sqrt_price_after_adding_1(sqrt_price: int, liquidity: int, amount: int) -> int:
    """Price after token1 came in (``getNextSqrtPriceFromAmount1RoundingDown``, add)."""
    return sqrt_price + (amount << 96) // liquidity


def sqrt_price_after_removing_1(sqrt_price: int, liquidity: int, amount: int) -> int:
    """Price after token1 went out (``getNextSqrtPriceFromAmount1RoundingDown``, remove).

    Raises ``ValueError`` where the contract reverts: the liquidity cannot give that much.
    """
    quotient = -((-amount << 96) // liquidity)
    if sqrt_price <= quotient:
        raise ValueError("more token1 than this liquidity can give")
    return sqrt_price - quotient
