"""Tips that buy inclusion, by probability and by backward induction; and when to send within a deadline."""

from __future__ import annotations

import csv
import itertools
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.fees import (
    TIP_PERCENTILES,
    BlockFees,
    FeeOutlook,
    FeeParameters,
    FeeWindows,
    NextBlock,
    Timing,
    TimingReason,
    fee_parameters,
    highest_base_fee_after,
    inclusion_tip,
    next_base_fee,
)
from dexlane.domain.fees.base_fee_window import BaseFeeView, BaseFeeWindow
from dexlane.domain.fees.inclusion import tip_within
from dexlane.domain.fees.offers import Offer, offers
from dexlane.events.base import FeeCap

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


def tip_for(
    history: list[BlockFees], *, within_blocks: int, probability: Fraction | float, params: FeeParameters
) -> int:
    tips = [inclusion_tip(each) for each in history]
    return tip_within(tips, within_blocks, Fraction(probability), params.minimum_tip_wei)


def when_to_send(
    history: list[BlockFees], *, next_base_fee_wei: int, blocks_left: int, params: FeeParameters
) -> Timing:
    outlook = FeeOutlook(params)
    for each in history:
        outlook.add(each)
    return outlook.before(next_base_fee_wei).timing(blocks_left)


def block(number: int, tip: int, *, base_fee: int = 100, ratio: float = 0.5) -> BlockFees:
    return BlockFees(number, ratio, (tip,) * columns, base_fee)


def usual(number: int, tip: int, *, base_fee: int = 100) -> BlockFees:
    """A block whose dearest twentieth pays more than any block here asks for inclusion."""
    return BlockFees(number, 0.5, (tip,) * (columns - 1) + (10**13,), base_fee)


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
    assert tip_for(history, within_blocks=1, probability=Fraction(3, 9), params=FREE) == 4, "the rank counts one more"
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


rising_tips = st.lists(st.integers(0, 10**9), max_size=40).map(sorted)


@given(rising_tips, st.integers(0, 5), st.integers(0, 10**9), st.integers(1, 60))
def test_no_other_tip_of_the_past_is_expected_to_cost_less(
    tips: list[int], empty: int, above: int, blocks: int
) -> None:
    surest = max(tips, default=0) + above
    found = offers(tips, empty, surest, blocks)
    assert found[0] == Offer(surest, surest)
    assert len(found) == blocks
    trials = len(tips) + empty + 1
    for nearer, further in itertools.pairwise(found):
        later = nearer.expected_tip_wei
        by_rank = [(rank * tip + (trials - rank) * later) // trials for rank, tip in enumerate(tips, 1)]
        assert further.expected_tip_wei == min([*by_rank, later])


@given(rising_tips, st.integers(0, 5), st.integers(1, 60))
def test_the_nearer_the_deadline_the_higher_the_offer(tips: list[int], empty: int, blocks: int) -> None:
    found = offers(tips, empty, max(tips, default=0), blocks)
    assert all(near.tip_wei >= far.tip_wei for near, far in itertools.pairwise(found))
    assert all(near.expected_tip_wei >= far.expected_tip_wei for near, far in itertools.pairwise(found))


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=60), st.integers(3, 20), st.integers(0, 10**10))
def test_a_window_extended_block_by_block_sees_what_a_new_one_sees(fees: list[int], size: int, after: int) -> None:
    rolling, fresh = BaseFeeWindow(size), BaseFeeWindow(size)
    for fee in fees:
        rolling.add(fee)
    for fee in fees[-size:]:
        fresh.add(fee)
    view = rolling.look_at(after)
    assert view == fresh.look_at(after)
    assert view.seen == min(size, len(fees))
    assert view.lower == sum(fee < after for fee in fees[-size:])


@given(st.lists(st.integers(10**8, 10**10), min_size=4, max_size=40), st.integers(10**8, 10**10))
def test_the_expected_change_is_that_of_the_shrunk_regression_through_zero(fees: list[int], after: int) -> None:
    window = BaseFeeWindow(100)
    for fee in fees:
        window.add(fee)
    moved = [(late - early) * 10**9 // early for early, late in itertools.pairwise([*fees, after])]
    before, following = moved[:-2], moved[1:-1]
    products = sum(one * other for one, other in zip(before, following, strict=True))
    squares, squares_after = (sum(one * one for one in ones) for ones in (before, following))
    expected = Fraction(0)
    if products:
        shrinking = 1 - Fraction(4 * squares * squares_after, len(before) * products**2)
        slope = Fraction(products, squares) * max(shrinking, Fraction(0))
        expected = after * slope * Fraction(moved[-1], 10**9)
    assert window.look_at(after).expected_change_wei == expected // 1


def test_a_steady_fall_is_expected_to_go_on_and_a_zigzag_to_turn() -> None:
    falling, zigzag = BaseFeeWindow(50), BaseFeeWindow(50)
    fee = 10**12
    for number in range(50):
        falling.add(fee)
        fee = fee * 99 // 100
        zigzag.add(10**9 + (number % 2) * 10**8)
    change = falling.look_at(fee).expected_change_wei
    assert -fee // 90 < change < -fee // 115
    assert zigzag.look_at(10**9).expected_change_wei > 0
    assert zigzag.look_at(10**9 + 2 * 10**8).expected_change_wei < 0


def test_without_evidence_no_change_is_expected() -> None:
    window = BaseFeeWindow(200)
    assert window.look_at(5).expected_change_wei == 0
    noise = [1_000, 1_010, 1_000, 1_000, 1_010, 1_010, 1_000, 1_010, 1_010, 1_000]
    for fee in noise:
        window.add(fee)
    assert window.look_at(900).expected_change_wei == 0


@given(st.integers(1, 10**12), st.lists(st.integers(0, 10**9), max_size=30), st.sampled_from([1, 56, 137, 8_453]))
def test_in_the_last_block_it_always_sends_and_a_cap_covers_base_fee_and_tip(
    base_fee: int, tips: list[int], chain: int
) -> None:
    params = fee_parameters(chain)
    history = [usual(number, tip, base_fee=base_fee) for number, tip in enumerate(tips)]
    base_fee = 0 if chain == 56 else base_fee
    decision = when_to_send(history, next_base_fee_wei=base_fee, blocks_left=1, params=params)
    assert decision.cap is not None
    assert not decision.waits
    assert decision.price_by_waiting_wei is None
    tip = decision.cap.max_priority_fee_per_gas_wei
    assert decision.cap.max_fee_per_gas_wei >= base_fee + tip
    assert tip >= max([params.minimum_tip_wei, *tips]), "it would have been included in every block that is known"


def seen(lower: int, *, change: int = 0, blocks: int = 200, base_fee: int = 1_000) -> NextBlock:
    """Before a block whose base fee is higher than ``lower`` of the recent ones; the last offer is 100, others 10."""
    view = BaseFeeView(base_fee, lower, blocks, change)
    return NextBlock(params=FREE, base_fee=view, offers=(Offer(100, 100), *[Offer(10, 12)] * 49))


@pytest.mark.parametrize(("left", "share"), [(4, 2), (5, 3), (10, 8), (50, 48)])
def test_it_waits_for_the_share_of_base_fees_that_holds_one_of_the_chances_left(left: int, share: int) -> None:
    most = 200 // share
    assert seen(most).timing(left).reason is TimingReason.LOW_BASE_FEE
    assert seen(most + 1).timing(left).reason is TimingReason.BASE_FEE_NOT_LOW
    assert seen(most + 1).timing(left).waits


@pytest.mark.parametrize("left", [1, 2, 3])
def test_the_last_three_blocks_never_wait(left: int) -> None:
    assert seen(200, change=-900).timing(left).reason is TimingReason.LAST_BLOCKS
    assert not seen(200, change=-900).timing(left).waits


def test_with_little_history_nobody_waits() -> None:
    assert seen(19, blocks=19).timing(50).reason is TimingReason.LITTLE_HISTORY
    assert when_to_send([], next_base_fee_wei=9, blocks_left=50, params=FREE).cap is not None


def test_a_low_base_fee_that_goes_on_falling_is_waited_for_when_that_brings_more_than_the_lost_block_costs() -> None:
    falling = NextBlock(
        params=FREE,
        base_fee=BaseFeeView(1_000, 0, 200, -6),
        offers=(Offer(9, 9), Offer(9, 9), Offer(8, 8), Offer(3, 3)),
    )
    assert falling.timing(4).reason is TimingReason.BASE_FEE_FALLING
    assert falling.timing(4).price_by_waiting_wei == 1_000 - 6 + 8
    dear = NextBlock(
        params=FREE, base_fee=falling.base_fee, offers=(Offer(9, 9), Offer(9, 9), Offer(9, 9), Offer(3, 3))
    )
    assert dear.timing(4).reason is TimingReason.LOW_BASE_FEE


def test_early_it_pays_the_price_it_decided_for_and_late_the_cap_survives_full_blocks() -> None:
    early = seen(0).timing(10).cap
    assert early == FeeCap(max_fee_per_gas_wei=1_010, max_priority_fee_per_gas_wei=10)
    late = seen(0).timing(3).cap
    assert late == FeeCap(
        max_fee_per_gas_wei=highest_base_fee_after(1_000, 2, FREE) + 10, max_priority_fee_per_gas_wei=10
    )


def test_what_lies_in_the_pool_is_kept_while_it_pays_enough_and_else_replaced_as_nodes_accept() -> None:
    enough = FeeCap(max_fee_per_gas_wei=2_000, max_priority_fee_per_gas_wei=10)
    assert seen(0).timing(5, enough).cap == enough
    short = FeeCap(max_fee_per_gas_wei=1_005, max_priority_fee_per_gas_wei=10)
    assert seen(0).timing(5, short).cap == FeeCap(max_fee_per_gas_wei=1_136, max_priority_fee_per_gas_wei=12)
    last = seen(0).timing(1, short).cap
    assert last == FeeCap(max_fee_per_gas_wei=1_136, max_priority_fee_per_gas_wei=100)
    assert seen(200).timing(5, short).waits


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.floats(0, 1)), min_size=1, max_size=60),
    st.integers(1, 60),
    st.integers(10**6, 10**12),
)
def test_whatever_happens_a_trade_is_sent_at_last_and_each_replacement_is_one_that_nodes_accept(
    rows: list[tuple[int, float]], deadline: int, base_fee: int
) -> None:
    outlook, params, pending = FeeOutlook(FeeParameters()), FeeParameters(), None
    for number, (tip, ratio) in enumerate(rows):
        outlook.add(block(number, tip, base_fee=base_fee, ratio=ratio))
        base_fee = next_base_fee(base_fee, int(30_000_000 * ratio), 30_000_000, params)
        left = max(deadline - number, 1)
        cap = outlook.before(base_fee).timing(left, pending).cap
        if cap is not None and pending is not None and cap != pending:
            for field in ("max_fee_per_gas_wei", "max_priority_fee_per_gas_wei"):
                assert getattr(cap, field) * 8 >= getattr(pending, field) * 9
        pending = cap or pending
        assert left > 3 or pending is not None


def included(fee: FeeCap | None, base_fee: int, least: int) -> int | None:
    """What is paid per gas, by EIP-1559."""
    tip = 0 if fee is None else min(fee.max_priority_fee_per_gas_wei, fee.max_fee_per_gas_wei - base_fee)
    return None if fee is None or tip < least else base_fee + tip


@given(
    st.lists(st.integers(0, 10**10), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1)), min_size=12, max_size=60),
    st.integers(1, 12) | st.integers(13, 60),
)
def test_no_deadline_is_missed_while_blocks_ask_for_tips_that_recent_blocks_asked_for(
    asked: list[int], path: list[tuple[int, float]], deadline: int
) -> None:
    outlook, params, base_fee = FeeOutlook(FREE), FeeParameters(), 30 * 10**9
    for number, tip in enumerate(asked):
        outlook.add(usual(number, tip, base_fee=base_fee))
    pending: FeeCap | None = None
    for number, (choice, ratio) in enumerate(path[:deadline]):
        left = min(deadline, len(path)) - number
        pending = outlook.before(base_fee).timing(left, pending).cap or pending
        least = asked[choice % len(asked)]
        if included(pending, base_fee, least) is not None:
            return
        outlook.add(usual(number, least, base_fee=base_fee))
        base_fee = next_base_fee(base_fee, int(30_000_000 * ratio), 30_000_000, params)
    pytest.fail("the deadline was missed")


@pytest.mark.parametrize("deadline", [3, 5, 10, 20])
def test_a_rise_of_an_eighth_a_block_is_dear_but_no_deadline_is_missed(deadline: int) -> None:
    outlook, base_fee, pending = FeeOutlook(FREE), 10**9, None
    for number in range(200):
        outlook.add(usual(number, 10**6, base_fee=base_fee))
    for left in range(deadline, 0, -1):
        base_fee = base_fee * 9 // 8
        pending = outlook.before(base_fee).timing(left, pending).cap or pending
        if (paid := included(pending, base_fee, 10**6)) is not None:
            assert left == 3, "nothing is low in a rise, so the last three blocks are taken"
            assert paid == base_fee + 10**6
            return
        outlook.add(usual(0, 10**6, base_fee=base_fee))
    pytest.fail("the deadline was missed")


def test_one_block_full_of_dear_transactions_does_not_set_the_tip_of_the_last_block() -> None:
    outlook = FeeOutlook(FREE)
    for number in range(60):
        outlook.add(BlockFees(number, 0.5, (1, 2, 3, 4, 50, 60, 700), 100))
    calm = outlook.before(100).timing(1).cap
    outlook.add(block(60, 10**12))
    dear = outlook.before(100).timing(1).cap
    assert calm is not None
    assert dear is not None
    assert calm.max_priority_fee_per_gas_wei == 50
    assert dear.max_priority_fee_per_gas_wei == 700


@pytest.mark.parametrize("percentile", [5, 10, 20])
def test_a_long_history_counts_by_its_recent_blocks_alone(percentile: int) -> None:
    blocks = recorded("ethereum")
    windows = FeeWindows(tip_blocks=30, base_fee_blocks=40, tier_blocks=20, inclusion_percentile=percentile)
    long, short = FeeOutlook(FREE, windows), FeeOutlook(FREE, windows)
    for one in blocks:
        long.add(one)
    for one in blocks[-40:]:
        short.add(one)
    assert long.before(10**9) == short.before(10**9)
    assert long.tiers(10**9) == short.tiers(10**9)
    wish = {"within_blocks": 3, "probability": Fraction(9, 10)}
    assert long.tip_for(**wish) == short.tip_for(**wish)


def test_blocks_without_tips_still_tell_base_fees() -> None:
    history = [BlockFees(number, 0.5, (), 10_000 - 100 * number) for number in range(30)]
    decision = when_to_send(history, next_base_fee_wei=6_900, blocks_left=10, params=FREE)
    assert decision.reason is TimingReason.BASE_FEE_FALLING
    assert when_to_send(history, next_base_fee_wei=9_000, blocks_left=10, params=FREE).waits


def test_a_passed_deadline_is_refused() -> None:
    with pytest.raises(ValueError, match="deadline has passed"):
        when_to_send([], next_base_fee_wei=1, blocks_left=0, params=FREE)
