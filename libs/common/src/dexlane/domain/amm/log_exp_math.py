"""Powers of numbers with eighteen decimals, equal in every digit to Balancer's ``LogExpMath`` (solidity-utils, MIT).

``x ** y`` is ``exp(y * ln(x))``; both functions take out powers of e from a table, then sum a short series. Every
division truncates toward zero, as the EVM's signed division does, so a negative logarithm is its positive twin negated.
"""

from __future__ import annotations

from dexlane.domain.amm.errors import InsufficientLiquidity

ONE = 10**18
"""One, with eighteen decimals."""

_ONE_20 = 10**20
_ONE_36 = 10**36
_MIN_EXPONENT = -41 * ONE
_MAX_EXPONENT = 130 * ONE

_LARGE_POWERS = (
    (128 * ONE, 38877084059945950922200000000000000000000000000000000000),
    (64 * ONE, 6235149080811616882910000000),
)
"""(x with eighteen decimals, e ** x without decimals)."""
_POWERS = (
    (32 * _ONE_20, 7896296018268069516100000000000000),
    (16 * _ONE_20, 888611052050787263676000000),
    (8 * _ONE_20, 298095798704172827474000),
    (4 * _ONE_20, 5459815003314423907810),
    (2 * _ONE_20, 738905609893065022723),
    (1 * _ONE_20, 271828182845904523536),
    (_ONE_20 // 2, 164872127070012814685),
    (_ONE_20 // 4, 128402541668774148407),
    (_ONE_20 // 8, 113314845306682631683),
    (_ONE_20 // 16, 106449445891785942956),
)
"""(x, e ** x), both with twenty decimals. The exponential does without the last two."""
_EXP_POWERS = _POWERS[:-2]
_EXP_TERMS = range(2, 13)


def power(base: int, exponent: int) -> int:
    """``LogExpMath.pow``: near the true value, within its own error.

    Raises ``InsufficientLiquidity`` where it reverts.
    """
    if exponent == 0:
        return ONE
    if base == 0:
        return 0
    product = _ln_times(base, exponent)
    if not _MIN_EXPONENT <= product <= _MAX_EXPONENT:
        raise InsufficientLiquidity("the power of the balance ratio leaves the range of the contract")
    return _exp(product) if product >= 0 else _ONE_36 // _exp(-product)


def _ln_times(base: int, exponent: int) -> int:
    """``ln(base) * exponent`` with eighteen decimals, truncated toward zero."""
    if ONE * 9 // 10 < base < ONE * 11 // 10:
        logarithm = _ln_near_one(abs(base - ONE), base + ONE)
        product = logarithm // ONE * exponent + logarithm % ONE * exponent // ONE
    else:
        product = _ln(base if base >= ONE else _ONE_36 // base) * exponent
    return product // ONE if base >= ONE else -(product // ONE)


def _ln_near_one(distance: int, base_and_one: int) -> int:
    """|ln(base)| with 36 decimals for a base within a tenth of one (``_ln_36``), eight terms."""
    ratio = distance * ONE * _ONE_36 // (base_and_one * ONE)
    square = ratio * ratio // _ONE_36
    total = term = ratio
    for divisor in range(3, 17, 2):
        term = term * square // _ONE_36
        total += term // divisor
    return 2 * total


def _ln(value: int) -> int:
    """ln of a value of at least one, with eighteen decimals (``_ln``)."""
    total = 0
    for exponent, large_power in _LARGE_POWERS:
        if value >= large_power * ONE:
            value //= large_power
            total += exponent
    total *= 100
    value *= 100
    for exponent, small_power in _POWERS:
        if value >= small_power:
            value = value * _ONE_20 // small_power
            total += exponent
    ratio = (value - _ONE_20) * _ONE_20 // (value + _ONE_20)
    square = ratio * ratio // _ONE_20
    series = term = ratio
    for divisor in range(3, 12, 2):
        term = term * square // _ONE_20
        series += term // divisor
    return (total + 2 * series) // 100


def _exp(value: int) -> int:
    """e to a power from 0 to 130, with eighteen decimals (``exp``)."""
    first = 1
    for exponent, large_power in _LARGE_POWERS:
        if value >= exponent:
            value -= exponent
            first = large_power
            break
    value *= 100
    product = _ONE_20
    for exponent, small_power in _EXP_POWERS:
        if value >= exponent:
            value -= exponent
            product = product * small_power // _ONE_20
    series, term = _ONE_20 + value, value
    for divisor in _EXP_TERMS:
        term = term * value // _ONE_20 // divisor
        series += term
    return product * series // _ONE_20 * first // 100
