"""One holder at a time, whatever clocks, stores and processes do."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.runtime.clock import ManualClock
from dexlane.runtime.lease import Conflict, Entry, Lease, LeasePolicy

POLICY = LeasePolicy(ttl_s=3.0, margin_s=0.75)


class Store:
    """A bucket in memory: compare-and-set on revisions, and silence on demand."""

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self.silent = False
        self.loses_answers = False

    async def read(self) -> Entry | None:
        if self.silent:
            raise OSError("no answer")
        return self.entry

    async def write(self, entry: Entry) -> int:
        if self.silent:
            raise OSError("no answer")
        if entry.revision != (self.entry.revision if self.entry else 0):
            raise Conflict
        self.entry = Entry(entry.holder, entry.epoch, entry.ttl_ms, entry.revision + 1)
        if self.loses_answers:
            raise TimeoutError
        return self.entry.revision


class Pair:
    """Two processes with clocks of their own and one store."""

    def __init__(self) -> None:
        self.store = Store()
        self.clocks = [ManualClock(), ManualClock(5_000_000)]
        self.leases = [
            Lease(self.store, name, clock=clock, policy=POLICY)
            for name, clock in zip(("a", "b"), self.clocks, strict=True)
        ]

    def wait(self, ms: int) -> None:
        for clock in self.clocks:
            clock.advance(ms)


async def test_the_first_takes_it_and_keeps_it_by_renewing() -> None:
    pair = Pair()
    a, b = pair.leases
    for _ in range(20):
        await a.pursue()
        await b.pursue()
        assert (a.held, b.held) == (True, False)
        pair.wait(750)
    assert (a.epoch, b.holder) == (1, "a")


async def test_a_dead_holder_is_followed_after_its_time_and_the_epoch_grows() -> None:
    pair = Pair()
    a, b = pair.leases
    await a.pursue()
    await b.pursue()
    pair.wait(2_999)
    await b.pursue()
    assert not b.held
    pair.wait(1)
    await b.pursue()
    assert (a.held, b.held, b.epoch) == (False, True, 2)


async def test_a_holder_that_cannot_renew_stops_before_anybody_may_follow() -> None:
    pair = Pair()
    a, b = pair.leases
    await a.pursue()
    await b.pursue()
    pair.store.silent = True
    pair.wait(2_249)
    await a.pursue()
    assert a.held
    pair.wait(1)
    assert not a.held
    await a.pursue()
    assert a.changed.is_set()
    pair.store.silent = False
    await b.pursue()
    assert not b.held


async def test_a_released_lease_is_taken_at_once() -> None:
    pair = Pair()
    a, b = pair.leases
    await a.pursue()
    await b.pursue()
    await a.release()
    await b.pursue()
    assert (a.held, b.held, b.epoch) == (False, True, 2)


async def test_a_lost_answer_to_a_renewal_costs_nothing() -> None:
    pair = Pair()
    [a, _] = pair.leases
    await a.pursue()
    pair.store.loses_answers = True
    pair.wait(700)
    await a.pursue()
    pair.store.loses_answers = False
    pair.wait(700)
    await a.pursue()  # finds its own revision
    pair.wait(700)
    await a.pursue()
    pair.wait(700)
    assert (a.held, a.epoch) == (True, 1)


async def test_a_frozen_holder_finds_its_lease_over() -> None:
    pair = Pair()
    a, b = pair.leases
    await a.pursue()
    await b.pursue()
    pair.wait(10_000)
    await b.pursue()
    assert not a.held
    await a.pursue()
    assert (a.held, b.held, a.holder) == (False, True, "b")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "silence", "lost answers", "release"]), st.integers(0, 2_000)), max_size=60
    ),
    st.integers(980, 1_020),
)
async def test_there_are_never_two_holders(steps: list[tuple[str, int]], permille: int) -> None:
    """Whatever answers are lost, and however processes are starved, with clocks up to two per cent apart."""
    pair = Pair()
    for step, ms in steps:
        pair.clocks[0].advance(ms)
        pair.clocks[1].advance(ms * permille // 1_000)
        if step == "silence":
            pair.store.silent = not pair.store.silent
        elif step == "lost answers":
            pair.store.loses_answers = not pair.store.loses_answers
        elif step == "release":
            await pair.leases[0].release()
        else:
            await pair.leases["ab".index(step)].pursue()
        assert sum(lease.held for lease in pair.leases) <= 1


async def test_who_retires_leaves_it_to_the_standby_at_once_and_never_takes_it_again() -> None:
    pair = Pair()
    a, b = pair.leases
    await a.pursue()
    await a.retire()
    await a.pursue()
    assert not a.held
    await b.pursue()
    assert b.held
