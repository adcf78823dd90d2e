"""When the same bytes may go out again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.publish_answers import PublishAnswer
from dexlane.domain.resending import DELAYS, Patience, after_answer

NEVER = {PublishAnswer.REVERTED, PublishAnswer.OVER_BLOCK_GAS, PublishAnswer.UNUSABLE}


def patience(answer: PublishAnswer, times: int = 1, jitter: int = 5_000) -> Patience:
    held: Patience | None = None
    for _ in range(times):
        held = after_answer(held, answer, 0, jitter)
    assert held is not None
    return held


def test_every_answer_has_its_own_patience() -> None:
    assert set(DELAYS) == set(PublishAnswer)
    assert {answer for answer, delay in DELAYS.items() if delay is None} == NEVER


@pytest.mark.parametrize("answer", sorted(NEVER))
def test_a_revert_and_unusable_bytes_are_never_sent_again_however_long_one_waits(answer: PublishAnswer) -> None:
    assert not patience(answer).is_over(10**12)
    assert not patience(answer).is_over(10**12, hurried=True)


@given(
    answer=st.sampled_from([answer for answer in PublishAnswer if answer not in NEVER]),
    times=st.integers(1, 40),
    jitter=st.integers(0, 9_999),
)
def test_a_wait_is_between_half_and_all_of_a_doubling_ceiling(answer: PublishAnswer, times: int, jitter: int) -> None:
    delay = DELAYS[answer]
    assert delay is not None
    ceiling = min(delay.longest_ms, delay.first_ms * 2 ** (times - 1))
    until = patience(answer, times, jitter).resend_at_ms
    assert until is not None
    assert ceiling // 2 <= until <= ceiling


def test_another_answer_starts_a_patience_of_its_own() -> None:
    limited = patience(PublishAnswer.RATE_LIMITED, 5)
    other = after_answer(limited, PublishAnswer.POOL_FULL, 0, 5_000)
    assert other == patience(PublishAnswer.POOL_FULL)
    assert (limited.times, other.times) == (5, 1)


def test_being_too_many_requests_costs_more_patience_than_a_lost_answer() -> None:
    limited, lost = patience(PublishAnswer.RATE_LIMITED), patience(PublishAnswer.UNKNOWN)
    assert (limited.resend_at_ms or 0) > (lost.resend_at_ms or 0)


def test_what_changed_since_ends_the_wait() -> None:
    short = patience(PublishAnswer.INSUFFICIENT_FUNDS)
    assert not short.is_over(0)
    assert short.is_over(0, hurried=True)
    assert short.is_over(short.resend_at_ms or 0)
