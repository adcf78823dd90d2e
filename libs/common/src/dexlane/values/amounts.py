"""Amounts: integers in code, decimal strings on the wire."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)")

BPS_DENOMINATOR = 10_000
"""Basis points in the whole: 1 bps is one hundredth of a per cent."""

PIPS_DENOMINATOR = 1_000_000
"""Hundredths of a basis point in the whole: the unit of Uniswap V3 fees."""


def parse_amount(value: Any) -> int:
    """Read an integer amount from an integer or a canonical decimal string.

    Raises ``ValueError`` for anything else: floats, booleans, exponents, signs such as ``+``, leading zeros.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= 80 and _DECIMAL.fullmatch(value) and value != "-0":
        return int(value)
    raise ValueError("an amount is an integer or a canonical decimal string")


_WIRE = PlainSerializer(str, return_type=str, when_used="json")

SignedAmount = Annotated[
    int,
    BeforeValidator(parse_amount, json_schema_input_type=str),
    _WIRE,
    Field(json_schema_extra={"pattern": "^-?[0-9]+$"}),
]
"""An integer amount in the smallest unit of its token; may be negative."""

Amount = Annotated[
    int,
    Field(ge=0),
    BeforeValidator(parse_amount, json_schema_input_type=str),
    _WIRE,
    Field(json_schema_extra={"pattern": "^[0-9]+$"}),
]
"""A non-negative integer amount in the smallest unit of its token (wei, for the native coin)."""

Bps = Annotated[int, Field(strict=True, ge=-1_000_000, le=1_000_000)]
"""Basis points, an integer."""


def apply_bps(amount: int, bps: int) -> int:
    """Return ``amount * bps / 10,000`` rounded toward zero for a non-negative amount."""
    return amount * bps // BPS_DENOMINATOR


def less_bps(amount: int, bps: int) -> int:
    """``amount`` less so many basis points, rounded up: a tolerance is never exceeded by rounding."""
    return -(-amount * (BPS_DENOMINATOR - bps) // BPS_DENOMINATOR)


def decimal_text(amount: int, decimals: int) -> str:
    """Write an integer amount for people, exactly: ``decimal_text(1_500_000, 6) == "1.5"``."""
    sign, digits = ("-", str(-amount)) if amount < 0 else ("", str(amount))
    if decimals == 0:
        return sign + digits
    digits = digits.rjust(decimals + 1, "0")
    whole, fraction = digits[:-decimals], digits[-decimals:].rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole


def parse_decimal_text(text: str, decimals: int) -> int:
    """Read a human amount exactly into the smallest unit: ``parse_decimal_text("1.5", 6) == 1_500_000``.

    Raises ``ValueError`` when the text is no plain decimal number or has more places than the token.
    """
    match = re.fullmatch(r"(\d{1,40})(?:\.(\d{1,40}))?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a plain decimal number")
    whole, fraction = match.group(1), (match.group(2) or "").rstrip("0")
    if len(fraction) > decimals:
        raise ValueError(f"{text!r} has more than {decimals} decimal places")
    scale: int = 10**decimals
    return int(whole) * scale + int(fraction.ljust(decimals, "0") or "0")
