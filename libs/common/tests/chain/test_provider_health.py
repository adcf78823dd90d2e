"""When a provider is not to be used, and when it is again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dexlane.chain.provider_health import PLAUSIBLE_LEAD, HealthPolicy, ProviderHealth
from dexlane.chain.providers import names_of

POLICY = HealthPolicy()


def fit(health: ProviderHealth, now_ms: int) -> str:
    return health.why_unfit(now_ms, connected=True)


def test_a_provider_is_fit_until_something_is_known_against_it() -> None:
    health = ProviderHealth(POLICY)
    assert fit(health, 0) == ""
    assert health.why_unfit(1, connected=False) == "is not connected"


def test_a_short_lag_is_forgiven_and_a_lasting_one_is_not() -> None:
    health = ProviderHealth(POLICY)
    for now_ms in range(0, 10_000, 500):
        health.head_seen(100 + now_ms // 500, now_ms)
        health.others_at(103 + now_ms // 500, now_ms)
        assert bool(fit(health, now_ms)) == (now_ms >= POLICY.lag_for_ms)
    assert fit(health, 9_500) == "is 3 blocks behind"
    health.others_at(120, 9_600)
    health.head_seen(119, 9_700)
    health.others_at(120, 9_700)
    assert fit(health, 9_700) == ""


def test_a_head_that_stands_while_others_move_is_frozen() -> None:
    health = ProviderHealth(POLICY)
    health.head_seen(100, 0)
    for now_ms in range(0, 6_000, 1_000):
        health.others_at(103 + now_ms // 1_000, now_ms)
    assert fit(health, 5_000) == "answers but is frozen at block 100 while others are at 108"


def test_no_new_block_for_longer_than_the_chain_allows_is_frozen_too() -> None:
    health = ProviderHealth(POLICY)
    health.head_seen(100, 0)
    health.head_seen(100, 20_000)  # the same block once more is no news
    assert fit(health, 30_000) == ""
    assert fit(health, 30_001) == "answers but has had no new block for 30 s"


def test_an_absurd_head_of_another_provider_makes_nobody_late() -> None:
    health = ProviderHealth(POLICY)
    health.head_seen(100, 0)
    for now_ms in (0, 10_000):
        health.others_at(101 + PLAUSIBLE_LEAD, now_ms)
    assert fit(health, 10_000) == ""


def test_failed_calls_count_only_when_they_are_many_and_recent() -> None:
    health = ProviderHealth(POLICY)
    for now_ms in range(5):
        health.call_done(now_ms, failed=True)
    assert fit(health, 5) == ""
    health.call_done(6, failed=True)
    assert fit(health, 7) == "failed 6 of 6 calls"
    for now_ms in range(7, 14):
        health.call_done(now_ms, failed=False)
    assert fit(health, 14) == ""
    for now_ms in range(15, 30):
        health.call_done(now_ms, failed=True)
    assert fit(health, 40) != ""
    assert fit(health, 40 + POLICY.window_ms) == ""


def test_a_lie_costs_a_cool_down_and_each_further_one_twice_the_last() -> None:
    health, now_ms = ProviderHealth(POLICY), 0
    for cool_down_ms in (60_000, 120_000, 240_000):
        health.drop("gave a header that is none", now_ms)
        assert fit(health, now_ms + 1_000).startswith(
            f"dropped for another {cool_down_ms // 1_000 - 1} s because it gave"
        )
        assert fit(health, now_ms + cool_down_ms - 1)
        now_ms += cool_down_ms
        assert fit(health, now_ms) == ""
    for _ in range(100):
        health.drop("lied", now_ms)
    assert fit(health, now_ms + POLICY.longest_cool_down_ms) == ""


def test_a_provider_is_settled_only_when_it_was_well_all_the_time() -> None:
    health = ProviderHealth(POLICY)
    fit(health, 0)
    fit(health, 29_999)
    assert not health.is_settled(29_999)
    assert health.is_settled(30_000)
    health.why_unfit(30_001, connected=False)
    fit(health, 30_002)
    assert not health.is_settled(60_000)
    assert health.is_settled(60_002)


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 3), st.booleans()), max_size=200))
def test_whatever_happened_a_provider_that_is_well_for_long_is_fit_again(story: list[tuple[int, int, bool]]) -> None:
    health, now_ms, head = ProviderHealth(POLICY), 0, 1_000
    for wait_ms, blocks, failed in story:
        now_ms, head = now_ms + wait_ms, head + blocks
        if blocks < 3:
            health.head_seen(head, now_ms)
        health.others_at(head, now_ms)
        health.call_done(now_ms, failed=failed)
        if wait_ms == 4_999:
            health.drop("lied", now_ms)
    for _ in range(140):
        now_ms, head = now_ms + 30_000, head + 1
        health.head_seen(head, now_ms)
        health.others_at(head, now_ms)
        health.call_done(now_ms, failed=False)
    assert fit(health, now_ms) == ""


def test_names_of_providers_show_no_key_and_differ() -> None:
    urls = ["wss://user:secret@a.example/v2/KEY", "wss://b.example?key=KEY", "wss://a.example/v3/OTHER"]
    assert names_of(urls) == ["a.example", "b.example", "a.example#2"]
