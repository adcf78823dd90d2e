"""What surroundings say against a token: what is not seen is never better than what is seen to be bad."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.risk.token_background import (
    SOON_S,
    Background,
    BackgroundLimits,
    Birth,
    Holding,
    Keeper,
    LiquidityPast,
    Release,
    Shares,
    lets_out_parts,
    remarks,
)
from dexlane.domain.risk.token_trial import TokenTrial
from dexlane.domain.risk.token_verdict import STRICT, TrialLimits, judge, trial_facts

DAY = 86_400
BURNED = "0x" + "0" * 40
WHO = "0x" + "1" * 40


def holding(amount: int, keeper: Keeper = Keeper.KEY, *releases: tuple[int, int]) -> Holding:
    return Holding(holder=WHO, amount=amount, keeper=keeper, releases=tuple(Release(*each) for each in releases))


def shares(*holdings: Holding, total: int = 1_000, in_pools: int = 0) -> Shares:
    return Shares(total=total, holdings=holdings, from_block=0, in_pools=in_pools)


@pytest.mark.parametrize(
    ("held", "kept"),
    [
        (holding(1_000, Keeper.BURNED), 10_000),
        (holding(1_000, Keeper.KEY), 0),
        (holding(1_000, Keeper.CONTRACT), 0),
        (holding(1_000, Keeper.LOCKER), 0),
        (holding(1_000, Keeper.LOCK), 0),
        (holding(1_000, Keeper.LOCK, (0, 0), (SOON_S, 0), (90 * DAY, 1_000)), 10_000),
        (holding(1_000, Keeper.LOCK, (0, 0), (DAY, 1_000)), 0),
        (holding(1_000, Keeper.LOCK, (0, 0), (DAY, 100), (7 * DAY, 300), (90 * DAY, 1_000)), 7_000),
        (holding(1_000, Keeper.LOCKER, (0, 50), (90 * DAY, 1_000)), 9_500),
    ],
    ids=["burned", "key", "contract", "undated locker", "no release seen", "for long", "tomorrow", "vesting", "locker"],
)
def test_only_what_was_seen_to_stay_is_locked(held: Holding, kept: int) -> None:
    assert shares(held).kept_bps(SOON_S) == kept


@pytest.mark.parametrize(
    ("amounts", "parts"),
    [
        ((0, 0, 0, 0, 0, 1_000), False),
        ((0, 0, 100, 400, 1_000, 1_000), False),
        ((0, 0, 100, 100, 100, 1_000), True),
        ((0, 0, 0, 0, 300, 300), False),
        ((1, 1, 30, 60, 90, 1_000), True),
    ],
    ids=["at once", "growing", "a limit in each block", "done after a year", "dust in each block"],
)
def test_the_same_part_at_near_times_is_a_limit_and_no_share_that_grows(amounts: tuple[int, ...], parts: bool) -> None:
    times = (0, DAY, 7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY)
    releases = [Release(*each) for each in zip(times, amounts, strict=True)]
    assert lets_out_parts(releases, 1_000) is parts


def test_the_largest_holder_is_known_only_when_nobody_unseen_can_be_larger() -> None:
    assert shares(holding(400), holding(100), in_pools=300).largest_bps(SOON_S) == 4_000
    assert shares(holding(400), in_pools=100).largest_bps(SOON_S) is None
    assert shares(holding(600)).largest_bps(SOON_S) == 6_000
    assert shares(holding(900, Keeper.LOCK, (0, 0), (365 * DAY, 900)), holding(100)).largest_bps(SOON_S) == 1_000
    assert shares(total=0).kept_bps(SOON_S) is None
    assert shares(total=0).largest_bps(SOON_S) is None


@given(st.lists(st.tuples(st.sampled_from(Keeper), st.integers(0, 500)), max_size=6), st.integers(0, 3_000))
def test_shares_are_shares(held: list[tuple[Keeper, int]], total: int) -> None:
    found = shares(*(holding(amount, keeper) for keeper, amount in held), total=total)
    for share in (found.kept_bps(SOON_S), found.largest_bps(SOON_S)):
        assert share is None or 0 <= share <= 10_000


ASKED = BackgroundLimits(max_pulled_bps=9_000, min_locked_bps=8_000, max_holder_bps=2_000, min_age_s=100)
GOOD = Background(
    now_s=1_000,
    birth=Birth(7, 800, exact=True),
    liquidity=shares(holding(900, Keeper.BURNED), holding(100)),
    holders=shares(holding(150), holding(100), in_pools=750),
    past=LiquidityPast(now=100, most=120, most_block=7, from_block=0),
)


def meanings(background: Background | None, limits: BackgroundLimits = ASKED) -> dict[str, str]:
    return {remark.flag: remark.means for remark in remarks(background, limits)}


def test_good_surroundings_say_nothing_and_what_is_not_asked_for_neither() -> None:
    assert meanings(GOOD) == {}
    assert meanings(None, BackgroundLimits()) == {}
    assert meanings(Background(), BackgroundLimits(max_pulled_bps=9_000)) == {}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"liquidity": shares(holding(1_000))}, {"liquidity_loose": "unsafe"}),
        (
            {"liquidity": shares(holding(1_000, Keeper.LOCK, (0, 0), (DAY, 1_000)))},
            {"lock_ends": "unsafe", "liquidity_loose": "unsafe"},
        ),
        ({"liquidity": None}, {"not_seen": "unknown"}),
        ({"holders": shares(holding(900), in_pools=100)}, {"whale": "unsafe"}),
        ({"holders": shares(holding(100))}, {"not_seen": "unknown"}),
        ({"holders": None}, {"not_seen": "unknown"}),
        ({"birth": Birth(7, 901, exact=True)}, {"young": "unsafe"}),
        ({"birth": Birth(7, 901, exact=False)}, {"young": "unknown"}),
        ({"birth": Birth(7, 900, exact=False)}, {}),
        ({"birth": Birth(7, None, exact=True)}, {"not_seen": "unknown"}),
        ({"birth": Birth(7, 2_000, exact=True)}, {"young": "unsafe"}),
        ({"birth": None}, {"not_seen": "unknown"}),
        ({"past": LiquidityPast(now=5, most=100, most_block=7, from_block=0)}, {"liquidity_pulled": "unsafe"}),
        ({"past": None}, {}),
    ],
)
def test_each_limit_speaks_for_itself(change: dict[str, object], told: dict[str, str]) -> None:
    assert meanings(replace(GOOD, **change)) == told  # type: ignore[arg-type]


@given(st.integers(0, 1_000), st.integers(0, 1_000))
def test_more_locked_liquidity_and_a_smaller_holder_never_make_it_worse(less: int, more: int) -> None:
    low, high = sorted((less, more))
    looser = replace(GOOD, liquidity=shares(holding(low, Keeper.BURNED), holding(1_000 - low)))
    tighter = replace(GOOD, liquidity=shares(holding(high, Keeper.BURNED), holding(1_000 - high)))
    assert set(meanings(tighter)) <= set(meanings(looser))
    spread = replace(GOOD, holders=shares(holding(low), in_pools=1_000 - low))
    gathered = replace(GOOD, holders=shares(holding(high), in_pools=1_000 - high))
    assert set(meanings(spread)) <= set(meanings(gathered))


def test_pulled_liquidity_counts_always_and_the_rest_where_it_is_asked_for() -> None:
    trial = TokenTrial(token=WHO, block=1, method="eth_simulateV1", background=GOOD)
    pulled = replace(GOOD, past=LiquidityPast(now=1, most=100, most_block=7, from_block=0))
    loose = replace(GOOD, liquidity=shares(holding(1_000)))
    flags = [judge(replace(trial, background=each), TrialLimits()).flags for each in (GOOD, pulled, loose)]
    assert ["liquidity_pulled" in each for each in flags] == [False, True, False]
    assert "liquidity_loose" in judge(replace(trial, background=loose), STRICT).flags
    assert "liquidity_loose" not in judge(replace(trial, background=loose), STRICT, known_issuer=True).flags


def test_facts_of_a_trial_tell_age_locked_liquidity_and_the_largest_holder() -> None:
    trial = TokenTrial(token=WHO, block=1, background=GOOD)
    facts = trial_facts(WHO, judge(trial, TrialLimits()))
    assert (facts.age_s, facts.lp_locked_bps, facts.top_holder_bps) == (200, 9_000, 1_500)
    unknown = trial_facts(WHO, judge(replace(trial, background=None), TrialLimits()))
    assert (unknown.age_s, unknown.lp_locked_bps, unknown.top_holder_bps) == (None, None, None)
