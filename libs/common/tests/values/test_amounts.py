"""Amounts are exact: integers in code, canonical decimal strings outside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dexlane.values.amounts import Amount, SignedAmount, apply_bps, decimal_text, parse_amount, parse_decimal_text
from dexlane.values.base import Value

unsigned = st.integers(min_value=0, max_value=2**256)
signed = st.integers(min_value=-(2**255), max_value=2**255)
decimals = st.integers(min_value=0, max_value=30)


class Purse(Value):
    held: Amount
    owed: SignedAmount = 0


@given(unsigned, signed)
def test_amounts_survive_the_wire(held: int, owed: int) -> None:
    purse = Purse(held=held, owed=owed)
    assert Purse.model_validate_json(purse.model_dump_json()) == purse
    assert purse.model_dump_json() == f'{{"held":"{held}","owed":"{owed}"}}'


@pytest.mark.parametrize("wrong", [1.0, True, None, "", "1.5", "1e3", "+1", "01", "-0", " 1", "0x1", "1" * 81, b"1"])
def test_anything_but_a_canonical_integer_is_no_amount(wrong: object) -> None:
    with pytest.raises(ValueError, match="canonical decimal string"):
        parse_amount(wrong)


def test_negative_amount_is_refused_where_none_can_be() -> None:
    with pytest.raises(ValidationError):
        Purse(held=-1)
    assert Purse(held=0, owed=-1).owed == -1


@given(unsigned, st.integers(min_value=0, max_value=10_000))
def test_share_of_an_amount_is_rounded_toward_zero(amount: int, bps: int) -> None:
    share = apply_bps(amount, bps)
    assert share * 10_000 <= amount * bps < (share + 1) * 10_000


@given(unsigned, decimals)
def test_text_for_people_reads_back_to_the_same_amount(amount: int, places: int) -> None:
    text = decimal_text(amount, places)
    if len(text.partition(".")[0]) <= 40:
        assert parse_decimal_text(text, places) == amount


@given(st.integers(min_value=1, max_value=2**128), decimals)
def test_negative_text_is_the_positive_with_a_sign(amount: int, places: int) -> None:
    assert decimal_text(-amount, places) == "-" + decimal_text(amount, places)


@pytest.mark.parametrize(
    ("amount", "places", "text"),
    [(1_500_000, 6, "1.5"), (1, 18, "0.000000000000000001"), (0, 6, "0"), (-25, 1, "-2.5"), (7, 0, "7"), (10, 1, "1")],
)
def test_text_for_people_has_no_superfluous_digits(amount: int, places: int, text: str) -> None:
    assert decimal_text(amount, places) == text


@pytest.mark.parametrize("wrong", ["1,5", "-1", "1e3", ".5", "1.", "", "1.0000001", "NaN", "1_000"])
def test_text_that_is_not_exact_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"plain decimal|decimal places"):
        parse_decimal_text(wrong, 6)


def test_trailing_zeros_are_no_extra_places() -> None:
    assert parse_decimal_text(" 2500.50000000 ", 2) == 250_050
