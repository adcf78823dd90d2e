"""What a budget means holds on every path of the price of gas; a budget that is ignored is noticed."""

from __future__ import annotations

from unittest.mock import patch

from dexlane.domain import send_state
from dexlane.domain.fees import fee_parameters, next_base_fee
from simulation.demand import FULL_BPS, GWEI, base_fee_after
from simulation.fee_paths import walk

PATHS = range(1, 301)


def test_no_attempt_pays_more_than_its_budget_and_every_slot_comes_to_its_end() -> None:
    total, breaches = walk(PATHS)
    assert breaches == []
    assert total["trades"] > 0
    assert total["cancels"] > 0
    assert total["attempts"] > total["paths"]


def test_a_replacement_beyond_the_budget_is_noticed() -> None:
    bumped = send_state.bumped
    with patch.object(send_state, "bumped", lambda fee, percent, most_wei: bumped(fee, percent, 2 * most_wei)):
        _, breaches = walk(PATHS)
    assert any("may pay" in breach for breach in breaches)


def test_a_slot_that_is_never_replaced_is_noticed() -> None:
    with patch.object(send_state, "cancel_fee", lambda *_: None):
        _, breaches = walk(PATHS)
    assert any("still open" in breach for breach in breaches)


def test_twenty_full_blocks_raise_the_base_fee_tenfold_by_both_readings_of_the_rule() -> None:
    ours = theirs = 10 * GWEI
    for _ in range(20):
        ours = base_fee_after(ours, FULL_BPS)
        theirs = next_base_fee(theirs, 30_000_000, 30_000_000, fee_parameters(1))
    assert ours == theirs
    assert 10 * 10 * GWEI < ours < 11 * 10 * GWEI
