"""The allow list is well formed and dated; lookups are by lower-case address, as everywhere in dexlane."""

from __future__ import annotations

import datetime
import re

import pytest

from dexlane.domain.risk.canonical import CANONICAL_TOKENS, LIST_DATE, canonical_symbol

WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"


@pytest.mark.parametrize("chain_id", CANONICAL_TOKENS)
def test_each_chain_names_its_wrapped_coin_and_its_usdc_once(chain_id: int) -> None:
    listed = CANONICAL_TOKENS[chain_id]
    assert all(re.fullmatch(r"0x[0-9a-f]{40}", address) for address in listed)
    symbols = list(listed.values())
    assert len(set(symbols)) == len(symbols)
    assert {"USDC"} < set(symbols)
    assert {"WETH", "WPOL"} & set(symbols)


def test_the_list_says_when_it_was_compared() -> None:
    assert datetime.date.fromisoformat(LIST_DATE).isoformat() == LIST_DATE


def test_a_token_is_canonical_on_its_own_chain_only() -> None:
    assert canonical_symbol(1, WETH) == "WETH"
    assert canonical_symbol(8453, WETH) is None
    assert canonical_symbol(10, WETH) is None
