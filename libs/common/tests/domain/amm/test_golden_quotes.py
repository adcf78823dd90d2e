"""Quotes against recorded facts: the deployed contracts' numbers, to the wei."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dexlane.domain.amm import constant_product
from dexlane.domain.amm.quoting import quote_exact_in, quote_exact_out
from dexlane.values.pools import ConcentratedState, ConstantProductState, Pool, PoolKey, Protocol, Tick
from dexlane.values.tokens import Token

GOLDEN = Path(__file__).parents[2] / "golden"


def _v3_pools() -> list[dict[str, Any]]:
    pools: list[dict[str, Any]] = json.loads(gzip.decompress((GOLDEN / "uniswap_v3_quotes.json.gz").read_bytes()))
    return pools


def _pool(recorded: dict[str, Any], direction: dict[str, Any]) -> Pool:
    key = PoolKey(
        address=recorded["address"],
        protocol=Protocol.UNISWAP_V3,
        token0=Token(address=recorded["token0"], symbol="T0", decimals=18),
        token1=Token(address=recorded["token1"], symbol="T1", decimals=18),
        fee_pips=recorded["fee_pips"],
        tick_spacing=recorded["tick_spacing"],
    )
    state = ConcentratedState(
        sqrt_price_x96=direction["sqrt_price_x96"],
        tick=recorded["tick"],
        liquidity=recorded["liquidity"],
        ticks=tuple(Tick(index, int(gross), int(net)) for index, gross, net in recorded["ticks"]),
    )
    return Pool(key=key, state=state)


@pytest.mark.parametrize("recorded", _v3_pools(), ids=lambda recorded: recorded["name"])
def test_v3_quotes_equal_all_recorded_ones(recorded: dict[str, Any]) -> None:
    compared = 0
    for direction in recorded["directions"]:
        pool = _pool(recorded, direction)
        for exact_in, specified, calculated in direction["quotes"]:
            if exact_in:
                assert quote_exact_in(pool, direction["token_in"], int(specified)).amount_out == int(calculated)
            else:
                assert quote_exact_out(pool, direction["token_in"], int(specified)).amount_in == int(calculated)
            compared += 1
    assert compared == 200


def _v2_swaps(kind: str) -> Iterator[dict[str, int]]:
    with gzip.open(GOLDEN / "uniswap_v2_swaps.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            if row["vs_997_1000_formula"] == kind:
                yield {name: int(value) for name, value in row.items() if value.isdigit()}


def _sold(row: dict[str, int]) -> tuple[bool, int, int]:
    """Direction, amount in and amount out of a recorded one-sided swap."""
    zero_for_one = row["amount0_in"] > 0
    side_in, side_out = ("0", "1") if zero_for_one else ("1", "0")
    return zero_for_one, row[f"amount{side_in}_in"], row[f"amount{side_out}_out"]


def test_v2_quotes_and_reserves_equal_the_recorded_ones() -> None:
    compared = 0
    for row in _v2_swaps("equal"):
        state = ConstantProductState(reserve0=row["reserve0_before"], reserve1=row["reserve1_before"])
        zero_for_one, amount_in, amount_out = _sold(row)
        swap = constant_product.swap_exact_in(state, 3000, zero_for_one=zero_for_one, amount_in=amount_in)
        assert swap.amount_out == amount_out
        assert (swap.state.reserve0, swap.state.reserve1) == (row["balance0_after"], row["balance1_after"])
        compared += 1
    assert compared == 200


def test_v2_callers_who_asked_for_less_never_got_more_than_the_quote() -> None:
    for row in _v2_swaps("out_below_quote"):
        state = ConstantProductState(reserve0=row["reserve0_before"], reserve1=row["reserve1_before"])
        zero_for_one, amount_in, amount_out = _sold(row)
        swap = constant_product.swap_exact_in(state, 3000, zero_for_one=zero_for_one, amount_in=amount_in)
        assert swap.amount_out > amount_out
