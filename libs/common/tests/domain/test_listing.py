"""Token lists and access lists: what is read, what is refused, and what a list decides."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.listing import AccessLists, parse_addresses, parse_token_list

POOL, TOKEN, OTHER = ("0x" + digit * 40 for digit in "abc")


def _list(*tokens: Any, **fields: Any) -> bytes:
    version = {"major": 1, "minor": 2, "patch": 3}
    return orjson.dumps({"name": "L", "timestamp": "2026-01-02", "version": version, "tokens": tokens, **fields})


ENTRY = {"chainId": 1, "address": "0x" + "Ab" * 20, "symbol": "T", "decimals": 6, "name": "T", "logoURI": "x"}


def test_a_token_list_says_its_version_date_and_digest() -> None:
    content = _list(ENTRY)
    known = parse_token_list(content)
    assert (known.name, known.version, known.timestamp) == ("L", "1.2.3", "2026-01-02")
    assert known.digest == hashlib.sha256(content).hexdigest()
    assert known.of_chain(1)["0x" + "ab" * 20].decimals == 6
    assert known.of_chain(8453) == {}


@pytest.mark.parametrize(
    "broken",
    [
        7,
        {},
        {**ENTRY, "address": "0x12"},
        {**ENTRY, "decimals": "6"},
        {**ENTRY, "decimals": True},
        {**ENTRY, "chainId": None},
        {key: value for key, value in ENTRY.items() if key != "symbol"},
    ],
)
def test_an_entry_that_is_no_token_is_named_and_the_others_stay(broken: Any) -> None:
    known = parse_token_list(_list(broken, ENTRY))
    assert len(known.tokens) == 1
    assert known.faults == ("tokens[0] has no chain id, address, symbol or decimals",)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"tokens": []}', b'{"version": {}, "tokens": 7}', b"\xff"])
def test_what_is_no_token_list_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="token list"):
        parse_token_list(content)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading_of_a_list(content: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert parse_token_list(content).digest


def test_addresses_are_read_in_any_letter_case_with_remarks() -> None:
    text = f"# ours\n\n{POOL.upper().replace('0X', '0x')} a bad pool  # since May\n  {TOKEN}\n"
    assert parse_addresses(text) == {POOL, TOKEN}


def test_a_line_without_an_address_is_named() -> None:
    with pytest.raises(ValueError, match="line 2"):
        parse_addresses(f"{POOL}\nUSDC\n")


def test_a_pool_is_refused_for_itself_or_for_either_token() -> None:
    for address in (POOL, TOKEN, OTHER):
        assert AccessLists(frozenset({address})).objection(POOL.upper().replace("0X", "0x"), (TOKEN, OTHER)) == (
            f"{address} is blocked"
        )
    assert AccessLists().objection(POOL, (TOKEN, OTHER)) is None


def test_an_allow_list_wants_the_pool_or_all_of_its_tokens() -> None:
    assert AccessLists(allowed=frozenset({POOL})).objection(POOL, (TOKEN, OTHER)) is None
    assert AccessLists(allowed=frozenset({TOKEN, OTHER})).objection(POOL, (TOKEN, OTHER)) is None
    assert "not on the allow list" in str(AccessLists(allowed=frozenset({TOKEN})).objection(POOL, (TOKEN, OTHER)))
    assert AccessLists(frozenset({TOKEN}), frozenset({POOL})).objection(POOL, (TOKEN, OTHER)) == f"{TOKEN} is blocked"
