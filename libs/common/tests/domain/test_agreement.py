"""What several providers' words about a slot amount to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.agreement import Weighed, Word, agreed_height, weigh
from dexlane.domain.send_values import Inclusion, Sighting
from dexlane.testing.builders import a_block_ref, a_hash

HERE = Sighting(a_hash("trade"), a_block_ref(100, "main"), True)
ELSEWHERE = Sighting(a_hash("trade"), a_block_ref(100, "other"), True)


def sees(seen: Sighting = HERE, head: int = 101) -> Word:
    return Word(head=head, used=True, seen=seen, absent=False)


def misses(head: int = 101, used: bool | None = False, absent: bool | None = True) -> Word:
    return Word(head=head, used=used, absent=absent)


SILENT = Word(head=101, used=None, answered=False)


def test_a_receipt_seen_by_one_of_two_counts_but_is_not_agreed() -> None:
    weighed = weigh({"a": sees(), "b": misses(head=99)}, 2)
    assert (weighed.seen, weighed.complete, weighed.quorate, weighed.dissenters) == (HERE, True, False, ())


def test_two_that_see_the_same_block_agree_against_one_that_does_not() -> None:
    weighed = weigh({"a": sees(ELSEWHERE), "b": sees(), "c": sees()}, 2)
    assert (weighed.seen, weighed.quorate, weighed.dissenters) == (HERE, True, ("a",))


def test_one_that_has_the_block_and_not_the_receipt_dissents_and_one_that_lags_does_not() -> None:
    assert weigh({"a": sees(), "b": sees(), "c": misses(head=100)}, 2).dissenters == ("c",)
    assert weigh({"a": sees(), "b": sees(), "c": misses(head=99)}, 2).dissenters == ()
    assert weigh({"a": sees(), "b": sees(), "c": SILENT}, 2).dissenters == ()


def test_of_two_equal_claims_the_known_one_holds_and_nothing_is_agreed() -> None:
    words = {"a": sees(ELSEWHERE), "b": sees()}
    before = Inclusion(number=1, block=HERE.block, success=True)
    assert weigh(words, 2, before).seen == HERE
    assert weigh(words, 2).seen == ELSEWHERE
    assert not weigh(words, 2, before).quorate


def test_a_flipped_outcome_in_the_same_block_is_another_claim() -> None:
    failed = Sighting(HERE.tx_hash, HERE.block, False)
    assert not weigh({"a": sees(), "b": sees(failed)}, 2).quorate


def test_absence_is_complete_with_one_and_agreed_with_enough() -> None:
    assert weigh({"a": misses()}, 2) == Weighed(complete=True, absent=True)
    assert weigh({"a": misses(), "b": misses()}, 2) == Weighed(complete=True, quorate=True, absent=True)
    assert weigh({"a": misses(), "b": misses(absent=False)}, 2).absent is False
    assert weigh({"a": misses(), "b": misses(absent=None)}, 2).absent is False


def test_contradicting_nonces_decide_nothing() -> None:
    assert weigh({"a": misses(used=True), "b": misses(used=False)}, 1) == Weighed()


def test_silence_decides_nothing() -> None:
    assert weigh({}, 1) == Weighed()
    assert weigh({"a": SILENT}, 1) == Weighed()
    assert weigh({"a": misses(used=None)}, 1) == Weighed()


@given(
    st.lists(st.sampled_from([sees(), sees(ELSEWHERE), misses(), misses(used=True), misses(99), SILENT]), max_size=6),
    st.integers(1, 3),
)
def test_nothing_is_agreed_that_fewer_than_the_quorum_say(words: list[Word], quorum: int) -> None:
    weighed = weigh({str(index): word for index, word in enumerate(words)}, quorum)
    if weighed.quorate:
        assert weighed.complete
        if weighed.seen is not None:
            assert sum(word.seen == weighed.seen for word in words) >= quorum
        else:
            assert sum(word.answered and word.used is weighed.used for word in words) >= quorum
    for name in weighed.dissenters:
        assert words[int(name)].seen != weighed.seen


def test_a_height_is_agreed_when_enough_have_reached_it() -> None:
    assert agreed_height([7, 5, 9], 2) == 7
    assert agreed_height([7], 1) == 7
    assert agreed_height([7], 2) is None
    assert agreed_height([], 1) is None
