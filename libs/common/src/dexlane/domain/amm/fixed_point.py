"""Fixed-point numbers with eighteen decimals, rounded as Balancer V2's ``FixedPoint`` (solidity-utils) rounds them.

Products beyond 256 bits raise ``InsufficientLiquidity``: there the contracts revert.
"""

from __future__ import annotations

from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.log_exp_math import ONE, power

_MAX_POW_RELATIVE_ERROR = 10_000
"""What the contract grants its own power function, with eighteen decimals: 10 ** -14 of the result."""


def pow_up(base: int, exponent: int, *, shortcuts: bool = True) -> int:
    """``base ** exponent`` with eighteen decimals, never below the true value (``FixedPoint.powUp``).

    ``shortcuts``: exponents 1, 2 and 4 are multiplied out, as pools do since the second weighted factory; the first
    one's pools take the logarithm always. Raises ``InsufficientLiquidity`` outside of the contract's domain.
    """
    if shortcuts and exponent in (ONE, 2 * ONE, 4 * ONE):
        if exponent == ONE:
            return base
        square = mul_up(base, base)
        return square if exponent == 2 * ONE else mul_up(square, square)
    raw = power(base, exponent)
    return raw + mul_up(raw, _MAX_POW_RELATIVE_ERROR) + 1


def mul_down(first: int, second: int) -> int:
    """``FixedPoint.mulDown``. Raises ``InsufficientLiquidity`` where the product overflows a word."""
    return word(first * second) // ONE


def mul_up(first: int, second: int) -> int:
    """``FixedPoint.mulUp``. Raises ``InsufficientLiquidity`` where the product overflows a word."""
    return -(-word(first * second) // ONE)


def div_down(dividend: int, divisor: int) -> int:
    """``FixedPoint.divDown``; the divisor is positive."""
    return word(dividend * ONE) // divisor


def div_up(dividend: int, divisor: int) -> int:
    """``FixedPoint.divUp``; the divisor is positive."""
    return -(-word(dividend * ONE) // divisor)


def word(value: int) -> int:
    """The value, if it fits into a word of the EVM. Raises ``InsufficientLiquidity`` where the contract reverts."""
    if value >> 256:
        raise InsufficientLiquidity("an amount overflows the contract's 256 bits")
    return value
