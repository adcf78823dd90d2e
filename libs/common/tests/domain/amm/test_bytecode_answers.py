"""Recorded answers of the deployed contracts' bytecode, offline (see golden/README.md)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from dexlane.testing.bytecode_answers import v2_mismatches, v3_mismatches

GOLDEN = Path(__file__).parents[2] / "golden"


def _recorded(name: str) -> list[dict[str, Any]]:
    pools: list[dict[str, Any]] = json.loads(gzip.decompress((GOLDEN / f"{name}.json.gz").read_bytes()))
    return pools


def _swaps(pools: list[dict[str, Any]]) -> int:
    return sum(not isinstance(answer[-1], str) for pool in pools for answer in pool["answers"])


def test_v3_amounts_prices_ticks_liquidity_and_refusals_are_the_contracts() -> None:
    pools = _recorded("uniswap_v3_bytecode")
    assert [mismatch for pool in pools for mismatch in v3_mismatches(pool)] == []
    assert _swaps(pools) > 2_000


def test_v2_amounts_reserves_and_refusals_are_the_contracts_with_and_without_taxed_tokens() -> None:
    pairs = _recorded("uniswap_v2_bytecode")
    assert [mismatch for pair in pairs for mismatch in v2_mismatches(pair)] == []
    assert _swaps([pair for pair in pairs if not any(pair["taxes_bps"])]) > 2_000
    assert _swaps([pair for pair in pairs if any(pair["taxes_bps"])]) > 300


@pytest.mark.parametrize("name", ["uniswap_v3_bytecode", "uniswap_v2_bytecode"])
def test_an_answer_off_by_one_unit_is_found(name: str) -> None:
    pool = _recorded(name)[0]
    answer = next(answer for answer in pool["answers"] if not isinstance(answer[-1], str))
    answer[-1][1] = str(int(answer[-1][1]) + 1)
    assert len((v3_mismatches if "v3" in name else v2_mismatches)(pool)) == 1
