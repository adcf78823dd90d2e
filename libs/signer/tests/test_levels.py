"""The signer's own cap on entries: a share of the lane's capital by the published levels, whatever was planned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane_signer import (
    POSITION_BPS,
    DenialReason,
    EntryCap,
    LocalSigner,
    NonceGuard,
    Policy,
    SigningDenied,
    SignRequest,
    TokenLimit,
)
from dexlane_signer.effects import NATIVE
from dexlane_signer.levels import check_entry
from dexlane_signer.settings import read_settings
from dexlane_signer.tables import PolicyFileError

from .conftest import ALL, KEY, NOW_S, ROUTER, ROUTER_ITSELF, US, USDC, WETH, Step, program, transaction, v2, v3

Make = Callable[..., LocalSigner]
WIDE = TokenLimit(max_allowance=10**30, max_trade=10**30)


def cap(**changes: Any) -> EntryCap:
    return EntryCap(**({"level": 3, "lane": "fast", "token": USDC, "capital": 10_000} | changes))


@pytest.fixture
def make_signer(make_policy: Callable[..., Policy], tmp_path: Path) -> Iterator[Make]:
    guard = NonceGuard(tmp_path / "guard.db")

    def make(entry_cap: EntryCap | None) -> LocalSigner:
        caps = {} if entry_cap is None else {KEY.address: entry_cap}
        policy = make_policy(entry_caps=caps, tokens={USDC: WIDE}, unlisted_token_limit=WIDE)
        return LocalSigner([KEY], [policy], guard, clock_s=lambda: NOW_S)

    yield make
    guard.close()


def asked(signer: LocalSigner, *steps: Step, **fields: Any) -> DenialReason | None:
    made = transaction(data=program(*steps), **{name: fields.pop(name) for name in ("value_wei",) if name in fields})
    request = SignRequest(sender=KEY.address, intent_id="a", kind="trade", transaction=made, **fields)
    return refusal(lambda: signer.sign_transaction(request))


def refusal(sign: Callable[[], object]) -> DenialReason | None:
    try:
        sign()
    except SigningDenied as denied:
        return denied.reason
    return None


@pytest.mark.parametrize("level", POSITION_BPS)
def test_an_entry_is_signed_up_to_the_share_of_the_level_and_not_above(level: int, make_signer: Make) -> None:
    signer, largest = make_signer(cap(level=level)), level * 100
    assert asked(signer, v3(US, largest + 1, 1)) is DenialReason.OVER_LEVEL
    assert asked(signer, v3(US, largest, 1)) is None


def test_the_parts_of_a_split_entry_count_together(make_signer: Make) -> None:
    signer = make_signer(cap())
    assert asked(signer, v3(US, 200, 1), v2(US, 101, 1)) is DenialReason.OVER_LEVEL
    assert asked(signer, v3(US, 200, 1), v2(US, 100, 1)) is None


def test_a_gap_is_an_entry(make_signer: Make) -> None:
    def gap(amount: int) -> Sequence[Step]:
        return v3(ROUTER_ITSELF, amount, 0), v2(US, ALL, amount, path="sell", user=False)

    signer = make_signer(cap())
    assert asked(signer, *gap(301)) is DenialReason.OVER_LEVEL
    assert asked(signer, *gap(300)) is None


def test_a_lane_that_a_level_does_not_open_signs_no_entry(make_signer: Make) -> None:
    assert asked(make_signer(cap(level=2, lane="smart")), v3(US, 1, 1)) is DenialReason.OVER_LEVEL
    assert asked(make_signer(cap(level=3, lane="smart")), v3(US, 1, 1)) is None


def test_an_account_without_a_level_opens_nothing_and_closes_what_it_has(make_signer: Make) -> None:
    signer = make_signer(None)
    assert asked(signer, v3(US, 1, 1)) is DenialReason.LEVEL_UNKNOWN
    assert asked(signer, v3(US, 10**6, 1, path="sell"), purpose="exit") is None


def test_an_entry_pays_with_the_token_of_its_book_alone(make_signer: Make) -> None:
    signer = make_signer(cap())
    assert asked(signer, v3(US, 100, 1, path="sell")) is DenialReason.ENTRY_TOKEN


def test_native_coin_and_its_wrapped_form_are_one() -> None:
    native = cap(token=NATIVE)
    for token in (NATIVE, WETH):
        assert check_entry(native, {token: 300}, WETH) is None
        over = check_entry(native, {token: 301}, WETH)
        assert over is not None
        assert over.reason is DenialReason.OVER_LEVEL
    other = check_entry(native, {WETH: 1}, None)
    assert other is not None
    assert other.reason is DenialReason.ENTRY_TOKEN


@pytest.mark.parametrize("level", [-1, 0, 11])
def test_a_level_that_is_not_published_is_no_policy(level: int) -> None:
    with pytest.raises(ValueError, match="is not published; the levels are 1 to 10"):
        cap(level=level)


@given(st.integers(1, 9), st.sampled_from(["fast", "smart"]), st.integers(0, 10**30))
def test_a_higher_level_never_lets_less_be_signed(level: int, lane: str, capital: int) -> None:
    lower, higher = (cap(level=one, lane=lane, capital=capital).largest for one in (level, level + 1))
    assert lower <= higher <= capital


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("level = 10", "level = 11", r"books\[0\].fast: level 11 is not published; the levels are 1 to 10"),
        ("level = 10", "level = 0", r"level 0 is not published"),
        ("level = 10", 'level = "high"', "level must be an integer"),
        ("[chains.books.fast]", "[chains.books.slow]", r"books\[0\] has an unknown field slow"),
        (f'account = "{KEY.address}"', f'account = "{ROUTER}"', "which no book has; write its book down with level"),
        ('capital = "10000"', 'capital = "10000"\nextra = 1', "unknown field extra"),
    ],
)
def test_a_policy_file_says_level_and_capital_of_every_account(
    tmp_path: Path, policy_text: str, old: str, new: str, sentence: str
) -> None:
    assert old in policy_text
    path = tmp_path / "policy.toml"
    path.write_text(policy_text.replace(old, new, 1))
    path.chmod(0o600)
    with pytest.raises(PolicyFileError, match=sentence):
        read_settings(path)


def test_the_caps_of_a_policy_file_are_those_of_its_books(tmp_path: Path, policy_text: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(policy_text)
    path.chmod(0o600)
    (policy,) = read_settings(path).policies
    assert policy.entry_caps == {KEY.address: cap(level=10)}
    assert policy.book_accounts == {"ours": frozenset({KEY.address})}
