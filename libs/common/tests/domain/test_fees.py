"""Fees: the base-fee rule reproduces recorded chains to the wei, and tiers are ordered and never below the minimum."""

from __future__ import annotations

import csv
import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.fees import (
    TIER_RULES,
    TIP_PERCENTILES,
    BlockFees,
    FeeParameters,
    fee_parameters,
    highest_base_fee_after,
    next_base_fee,
    tiers,
)
from dexlane.events.fees import FeeTier

GOLDEN = Path(__file__).parent / "golden"
GAS_LIMITS = {"base": 150_000_000, "polygon": 45_000_000}
CHAINS = {"base": 8_453, "polygon": 137}
RECORDED_HEADERS = {
    "ethereum_blocks_15533942_15535581": ("number", "base_fee_per_gas", "gas_used", "gas_limit"),
    "ethereum_blocks_23662372_23667365": ("number", "baseFeePerGas", "gasUsed", "gasLimit"),
    "ethereum_100blocks_2022-09-28_headers": ("blockNumber", "baseFeePerGas", "gasUsed", "gasLimit"),
}

base_fees = st.integers(0, 10**13)
limits = st.integers(5_000, 10**9)
known_chains = st.sampled_from([1, 56, 137, 8_453, 42_161])


def read(name: str) -> list[dict[str, str]]:
    with (GOLDEN / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_recorded_ethereum_base_fees_are_reproduced_to_the_wei() -> None:
    rows = read("ethereum_headers.csv")
    for row, following in itertools.pairwise(rows):
        gas = int(row["gas_used"]), int(row["gas_limit"])
        assert next_base_fee(int(row["base_fee_per_gas"]), *gas, fee_parameters(1)) == int(
            following["base_fee_per_gas"]
        )


@pytest.mark.parametrize("chain", ["base", "polygon"])
def test_recorded_base_fees_of_other_chains_are_reproduced_to_the_wei(chain: str) -> None:
    rows, limit = read(f"{chain}_fee_history.csv"), GAS_LIMITS[chain]
    for row, following in itertools.pairwise(rows):
        used = round(float(row["gas_used_ratio"]) * limit)
        found = next_base_fee(int(row["base_fee_per_gas"]), used, limit, fee_parameters(CHAINS[chain]))
        assert found == int(following["base_fee_per_gas"])


@pytest.mark.recorded
@pytest.mark.parametrize("name", sorted(RECORDED_HEADERS))
def test_all_recorded_headers_are_reproduced_to_the_wei(name: str) -> None:
    folder = os.environ.get("DEXLANE_DATA")
    if folder is None:
        pytest.skip("DEXLANE_DATA does not name the folder of recorded data")
    pq = pytest.importorskip("pyarrow.parquet")
    number, fee, used, limit = RECORDED_HEADERS[name]
    table = pq.read_table(Path(folder) / "fees" / f"{name}.parquet").to_pylist()
    rows = sorted(table, key=lambda row: int(row[number]))
    pairs = [(row, after) for row, after in itertools.pairwise(rows) if int(after[number]) == int(row[number]) + 1]
    assert len(pairs) > 50
    for row, after in pairs:
        assert next_base_fee(int(row[fee]), int(row[used]), int(row[limit]), fee_parameters(1)) == int(after[fee])


@given(base_fees, limits, st.data(), known_chains)
def test_the_next_base_fee_lies_within_one_step(base_fee: int, limit: int, data: st.DataObject, chain: int) -> None:
    params = fee_parameters(chain)
    used = data.draw(st.integers(0, limit))
    found = next_base_fee(base_fee, used, limit, params)
    assert params.minimum_base_fee_wei <= found or found == 0
    # A limit that the elasticity does not divide leaves more than elasticity - 1 targets above the target.
    if limit % params.elasticity == 0:
        assert found <= max(highest_base_fee_after(base_fee, 1, params), params.minimum_base_fee_wei)


@given(base_fees, st.integers(5_000, 10**9))
def test_a_block_at_its_target_keeps_the_base_fee(base_fee: int, target: int) -> None:
    assert next_base_fee(base_fee, target, 2 * target, fee_parameters(1)) == base_fee


@given(base_fees, limits, st.data())
def test_more_gas_never_means_a_lower_base_fee(base_fee: int, limit: int, data: st.DataObject) -> None:
    less = data.draw(st.integers(0, limit))
    more = data.draw(st.integers(less, limit))
    params = fee_parameters(1)
    assert next_base_fee(base_fee, less, limit, params) <= next_base_fee(base_fee, more, limit, params)


def test_a_full_block_lifts_even_a_base_fee_of_zero() -> None:
    assert next_base_fee(0, 30_000_000, 30_000_000, fee_parameters(1)) == 1


def test_bsc_has_no_base_fee_and_arbitrum_carries_its_own() -> None:
    assert next_base_fee(10**9, 1, 100, fee_parameters(56)) == 0
    assert next_base_fee(12_345_678, 1, 100, fee_parameters(42_161)) == 12_345_678


@pytest.mark.parametrize(("used", "limit"), [(1, 0), (101, 100), (-1, 100)])
def test_an_impossible_block_is_refused(used: int, limit: int) -> None:
    with pytest.raises(ValueError, match="is no block"):
        next_base_fee(1, used, limit, fee_parameters(1))


tip_rows = st.lists(st.integers(0, 10**12), min_size=len(TIP_PERCENTILES), max_size=len(TIP_PERCENTILES))
tip_rows = tip_rows.map(sorted).map(tuple)
histories = st.lists(
    st.builds(BlockFees, st.integers(0, 10**7), st.sampled_from([0.0, 0.3, 1.0]), tip_rows), max_size=30
)


@given(histories, base_fees, known_chains)
def test_dearer_tiers_never_pay_less_and_every_cap_covers_its_horizon(
    history: list[BlockFees], base_fee: int, chain: int
) -> None:
    params = fee_parameters(chain)
    quoted = tiers(history, base_fee, params)
    assert list(quoted) == list(FeeTier)
    caps = list(quoted.values())
    for cheaper, dearer in itertools.pairwise(caps):
        assert cheaper.max_fee_per_gas_wei <= dearer.max_fee_per_gas_wei
        assert cheaper.max_priority_fee_per_gas_wei <= dearer.max_priority_fee_per_gas_wei
    for tier, cap in quoted.items():
        tip = cap.max_priority_fee_per_gas_wei
        assert tip >= params.minimum_tip_wei
        worst = highest_base_fee_after(base_fee, TIER_RULES[tier].horizon_blocks, params)
        assert cap.max_fee_per_gas_wei - tip == worst


@given(st.integers(0, 10**12), st.integers(1, 12))
def test_a_cap_survives_that_many_full_blocks(base_fee: int, blocks: int) -> None:
    params, limit, fee = fee_parameters(1), 30_000_000, base_fee
    for _ in range(blocks):
        fee = next_base_fee(fee, limit, limit, params)
    assert fee <= highest_base_fee_after(base_fee, blocks, params)


def test_empty_blocks_do_not_pull_the_tips_to_zero() -> None:
    busy = BlockFees(1, 0.5, (1, 2, 3, 4, 5, 6, 7))
    empty = BlockFees(2, 0.0, (0,) * 7)
    assert tiers([busy, *[empty] * 9], 10, FeeParameters()) == tiers([busy], 10, FeeParameters())


def test_without_history_the_minimum_tip_is_quoted() -> None:
    quoted = tiers([], 10**9, FeeParameters(minimum_tip_wei=7))
    assert {cap.max_priority_fee_per_gas_wei for cap in quoted.values()} == {7}


def test_recorded_tips_give_the_median_of_each_percentile() -> None:
    rows = read("base_fee_history.csv")[:21]
    history = [
        BlockFees(
            int(row["number"]), float(row["gas_used_ratio"]), tuple(int(row[f"tip_p{p}"]) for p in TIP_PERCENTILES)
        )
        for row in rows
    ]
    quoted = tiers(history, 8_000_000, fee_parameters(8_453))
    median = sorted(int(row["tip_p50"]) for row in rows)[10]
    assert quoted[FeeTier.PROTECTED].max_priority_fee_per_gas_wei == median
