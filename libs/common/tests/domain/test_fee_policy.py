"""Tips that buy inclusion with a stated probability, and the decision when to send within a deadline."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.fees import (
    TIP_PERCENTILES,
    BlockFees,
    FeeParameters,
    fee_parameters,
    highest_base_fee_after,
    inclusion_tip,
    tip_for,
    when_to_send,
)

GOLDEN = Path(__file__).parent / "golden"
CHAINS = {"ethereum": 1, "base": 8_453, "polygon": 137}
FREE = FeeParameters(minimum_tip_wei=0)
columns = len(TIP_PERCENTILES)


def recorded(chain: str) -> list[BlockFees]:
    with (GOLDEN / f"{chain}_fee_history.csv").open(newline="") as file:
        return [
            BlockFees(
                int(row["number"]),
                float(row["gas_used_ratio"]),
                tuple(int(row[f"tip_p{p}"]) for p in TIP_PERCENTILES),
                int(row["base_fee_per_gas"]),
            )
            for row in csv.DictReader(file)
        ]


def block(number: int, tip: int, *, base_fee: int = 100, ratio: float = 0.5) -> BlockFees:
    return BlockFees(number, ratio, (tip,) * columns, base_fee)


def test_inclusion_takes_the_asked_percentile_and_in_a_full_block_at_least_the_tenth() -> None:
    tips = tuple(range(1, columns + 1))
    assert inclusion_tip(BlockFees(1, 0.5, tips)) == 1
    assert inclusion_tip(BlockFees(1, 1.0, tips)) == 2
    assert inclusion_tip(BlockFees(1, 1.0, tips), 20) == 3


def test_an_empty_block_took_nobody() -> None:
    assert inclusion_tip(BlockFees(1, 0.0, (0,) * columns)) is None


@given(st.integers(1, 99), st.integers(1, 99), st.integers(1, 6), st.lists(st.integers(0, 10**9), min_size=1))
def test_surer_inclusion_never_tips_less_and_never_more_than_the_dearest_block(
    one: int, other: int, blocks: int, tips: list[int]
) -> None:
    history = [block(number, tip) for number, tip in enumerate(tips)]
    low, high = (
        tip_for(history, within_blocks=blocks, probability=Fraction(percent, 100), params=FREE)
        for percent in sorted((one, other))
    )
    assert min(tips) <= low <= high <= max(tips)


def test_the_tip_is_the_quantile_of_the_cheapest_block_of_each_run() -> None:
    history = [block(number, tip) for number, tip in enumerate([5, 1, 4, 2, 3, 6, 9, 8, 7])]
    assert tip_for(history, within_blocks=1, probability=Fraction(1, 2), params=FREE) == 5
    assert tip_for(history, within_blocks=1, probability=Fraction(9, 10), params=FREE) == 9
    # Runs of three: 1 1 2 2 3 6 7 -> the fourth of seven.
    assert tip_for(history, within_blocks=3, probability=Fraction(1, 2), params=FREE) == 2


def test_an_empty_block_counts_as_the_dearest_so_that_the_tip_errs_towards_inclusion() -> None:
    history = [block(1, 5), block(2, 50), *(BlockFees(n, 0.0, (0,) * columns, 100) for n in range(3, 10))]
    assert tip_for(history, within_blocks=1, probability=Fraction(1, 2), params=FREE) == 50


def test_without_history_the_chain_minimum_is_tipped() -> None:
    assert tip_for([], within_blocks=3, probability=0.9, params=FeeParameters(minimum_tip_wei=7)) == 7


@pytest.mark.parametrize(("within", "probability"), [(0, 0.5), (1, 0), (1, 1), (1, -0.1), (3, 1.5)])
def test_an_impossible_wish_is_refused(within: int, probability: float) -> None:
    with pytest.raises(ValueError, match="no tip is included"):
        tip_for([block(1, 5)], within_blocks=within, probability=probability, params=FREE)


@pytest.mark.parametrize("chain", sorted(CHAINS))
def test_recorded_tips_are_included_about_as_often_as_asked_for(chain: str) -> None:
    blocks, params = recorded(chain), fee_parameters(CHAINS[chain])
    hits = tries = 0
    for now in range(20, len(blocks)):
        needed = inclusion_tip(blocks[now])
        offered = tip_for(blocks[now - 20 : now], within_blocks=1, probability=Fraction(9, 10), params=params)
        tries += 1
        hits += needed is not None and offered >= needed
    assert hits / tries >= 0.8


@given(st.integers(1, 10**12), st.lists(st.integers(0, 10**9), max_size=30), st.sampled_from([1, 56, 137, 8_453]))
def test_in_the_last_block_it_always_sends_and_a_cap_covers_base_fee_and_tip(
    base_fee: int, tips: list[int], chain: int
) -> None:
    params = fee_parameters(chain)
    history = [block(number, tip, base_fee=base_fee) for number, tip in enumerate(tips)]
    base_fee = 0 if chain == 56 else base_fee
    decision = when_to_send(history, next_base_fee_wei=base_fee, blocks_left=1, params=params)
    assert decision.cap is not None
    assert not decision.waits
    assert decision.price_by_waiting_wei is None
    assert decision.cap.max_fee_per_gas_wei >= base_fee + decision.cap.max_priority_fee_per_gas_wei
    assert decision.cap.max_priority_fee_per_gas_wei >= params.minimum_tip_wei


def test_what_is_sent_early_survives_full_blocks_until_the_deadline() -> None:
    rising = [block(number, 5, base_fee=100 + 10 * number) for number in range(30)]
    decision = when_to_send(rising, next_base_fee_wei=400, blocks_left=5, params=FREE)
    assert decision.cap is not None
    assert decision.cap.max_fee_per_gas_wei >= highest_base_fee_after(400, 4, FREE) + 5


def test_it_waits_where_the_next_blocks_used_to_be_cheaper() -> None:
    falling = [block(number, 5, base_fee=10_000 - 100 * number) for number in range(30)]
    decision = when_to_send(falling, next_base_fee_wei=7_000, blocks_left=5, params=FREE)
    assert decision.waits
    assert decision.price_by_waiting_wei is not None
    assert decision.price_by_waiting_wei < decision.price_now_wei


def test_a_passed_deadline_is_refused() -> None:
    with pytest.raises(ValueError, match="deadline has passed"):
        when_to_send([], next_base_fee_wei=1, blocks_left=0, params=FREE)
