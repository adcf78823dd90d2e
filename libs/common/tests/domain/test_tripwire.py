"""The tripwire names what went wrong: every defect planted in a random history, alone and beside others."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.pool_book import PoolBook, PoolHistory, StateAfter
from dexlane.domain.tripwire import REPAIRED_BY_SNAPSHOT, ChainEvidence, Defect, Finding, agrees, judge
from dexlane.testing.builders import V2_POOL, a_block, a_block_ref, a_pool_v2, a_reserves_delta
from dexlane.values.chains import BlockRef
from dexlane.values.pools import ConstantProductState, Pool, PoolState

FIRST, LAST = 100, 110
BASE = 102


def state(reserve0: int) -> ConstantProductState:
    return ConstantProductState(reserve0=reserve0, reserve1=7)


def ref(number: int, fork: str = "") -> BlockRef:
    return a_block_ref(number, fork) if fork else a_block_ref(number)


@dataclass
class World:
    """A chain, and a history of it.

    ``logged``: reserve that a block's logs lead to. ``stored``: what the chain's storage says at the end, where that is
    something else.
    """

    logged: dict[int, int]
    stored: int | None = None
    lost: set[int] = field(default_factory=set)
    made_up: dict[int, int] = field(default_factory=dict)
    tip: int = LAST + 2
    fork_at: int | None = None
    before_base: int | None = None

    def chain(self) -> ChainEvidence:
        explained = tuple(StateAfter(ref(n), state(v)) for n, v in sorted(self.logged.items()) if BASE < n <= LAST)
        base = StateAfter(ref(BASE), state(self._logged_at(BASE)))
        last = self._logged_at(LAST) if self.stored is None else self.stored
        return ChainEvidence(ref(LAST), state(last), base, explained, ref(self.tip).hash)

    def local(self, tip: int | None = None) -> PoolHistory:
        tip = self.tip if tip is None else tip
        held = {n: v for n, v in self.logged.items() if n not in self.lost} | self.made_up
        if self.before_base is not None:
            held[FIRST + 1] = self.before_base
        changes = tuple(StateAfter(self._held(n), state(v)) for n, v in sorted(held.items()) if FIRST < n <= tip)
        blocks = tuple(self._held(n) for n in range(FIRST, tip + 1))
        return PoolHistory(StateAfter(ref(FIRST), state(1)), changes, blocks)

    def _held(self, number: int) -> BlockRef:
        return ref(number, "other") if self.fork_at is not None and number >= self.fork_at else ref(number)

    def _logged_at(self, number: int) -> int:
        return next((v for n, v in sorted(self.logged.items(), reverse=True) if n <= number), 1)

    def finding(self) -> Finding | None:
        return judge(self.local(), self.chain(), self.local())


LOGGED = st.lists(st.integers(BASE + 1, LAST), min_size=1, max_size=6, unique=True).map(
    lambda numbers: {number: 1_000 + number for number in numbers}
)


@given(LOGGED, st.integers(LAST, LAST + 5))
def test_a_history_that_holds_every_log_has_no_defect(logged: dict[int, int], tip: int) -> None:
    world = World(logged, tip=tip)
    assert world.finding() is None
    assert agrees(world.local(), ref(LAST), world.chain().state)


@given(LOGGED, st.data())
def test_a_lost_log_is_named_with_its_block_when_the_state_still_differs(
    logged: dict[int, int], data: st.DataObject
) -> None:
    lost = data.draw(st.sets(st.sampled_from(sorted(logged)), min_size=1))
    world = World(logged, lost=lost)
    found = world.finding()
    if max(logged) in lost:
        assert found == Finding(Defect.MISSED_LOG, ref(min(lost)))
        assert not agrees(world.local(), ref(LAST), world.chain().state)
    else:  # a later log carries the whole state: nothing is wrong any more at the finished block
        assert found is None


@given(LOGGED)
def test_a_state_that_no_log_explains_is_a_storage_change(logged: dict[int, int]) -> None:
    assert World(logged, stored=5).finding() == Finding(Defect.STORAGE_CHANGED, ref(LAST), storage_changed=True)


@given(LOGGED)
def test_a_storage_change_beside_a_lost_log_is_told_too(logged: dict[int, int]) -> None:
    last = max(logged)
    found = World(logged, stored=5, lost={last}).finding()
    assert found == Finding(Defect.MISSED_LOG, ref(last), storage_changed=True)


@given(LOGGED, st.integers(FIRST + 1, LAST), st.booleans())
def test_a_block_that_is_not_canonical_is_an_unhandled_reorg_whatever_else_differs(
    logged: dict[int, int], fork_at: int, also_lost: bool
) -> None:
    world = World(logged, fork_at=fork_at, lost=set(logged) if also_lost else set())
    found = world.finding()
    assert found == Finding(Defect.UNHANDLED_REORG, ref(LAST, "other"))
    assert not agrees(world.local(), ref(LAST), world.chain().state)


def test_a_lower_tip_on_another_branch_is_an_unhandled_reorg() -> None:
    world = World({105: 9}, tip=LAST - 1, fork_at=108)
    assert world.finding() == Finding(Defect.UNHANDLED_REORG, ref(LAST - 1, "other"))


@given(LOGGED, st.integers(BASE, LAST - 1))
def test_a_tip_behind_the_finished_block_is_late_delivery_when_a_log_is_still_to_come(
    logged: dict[int, int], tip: int
) -> None:
    found = World(logged, tip=tip).finding()
    to_come = sorted(number for number in logged if number > tip)
    assert found == (Finding(Defect.LATE_DELIVERY, ref(to_come[0])) if to_come else None)


@given(LOGGED)
def test_a_difference_that_heals_while_the_chain_is_read_was_late_delivery(logged: dict[int, int]) -> None:
    behind, whole = World(logged, lost={max(logged)}), World(logged, tip=LAST + 3)
    found = judge(behind.local(), behind.chain(), whole.local())
    assert found == Finding(Defect.LATE_DELIVERY, ref(max(logged)))


@given(LOGGED)
def test_a_difference_that_stays_while_blocks_arrive_is_no_late_delivery(logged: dict[int, int]) -> None:
    world, later = World(logged, lost={max(logged)}), World(logged, lost={max(logged)}, tip=LAST + 3)
    assert judge(world.local(), world.chain(), later.local()) == Finding(Defect.MISSED_LOG, ref(max(logged)))


@given(LOGGED, st.data())
def test_a_change_that_no_log_explains_is_named(logged: dict[int, int], data: st.DataObject) -> None:
    free = sorted(set(range(max(logged) + 1, LAST + 1)))
    if not free:
        return
    at = data.draw(st.sampled_from(free))
    assert World(logged, made_up={at: 3}).finding() == Finding(Defect.UNEXPLAINED_CHANGE, ref(at))


def test_a_block_that_was_applied_with_the_wrong_state_is_a_missed_log() -> None:
    assert World({105: 9}, made_up={105: 8}).finding() == Finding(Defect.MISSED_LOG, ref(105))


def test_a_difference_from_before_the_base_is_untraceable() -> None:
    world = World({105: 9}, lost={105}, before_base=44)
    assert world.finding() == Finding(Defect.UNTRACEABLE, ref(BASE))


def test_only_late_delivery_heals_by_itself() -> None:
    assert set(Defect) - REPAIRED_BY_SNAPSHOT == {Defect.LATE_DELIVERY}


DEFECTS = ("lost", "made_up", "stored", "fork_at", "before_base", "tip")


@pytest.mark.parametrize("seed", range(300))
def test_any_mixture_of_defects_is_named_whenever_the_states_differ(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  a repeatable mixture, no secret
    logged = {number: 1_000 + number for number in chance.sample(range(BASE + 1, LAST + 1), chance.randint(1, 6))}
    world = World(logged)
    for defect in chance.sample(DEFECTS, chance.randint(0, 4)):
        match defect:
            case "lost":
                world.lost = set(chance.sample(sorted(logged), 1))
            case "made_up":
                world.made_up = {chance.randint(BASE + 1, LAST): chance.randint(10, 20)}
            case "stored":
                world.stored = chance.randint(30, 40)
            case "fork_at":
                world.fork_at = chance.randint(FIRST + 1, LAST + 2)
            case "before_base":
                world.before_base = chance.randint(50, 60)
            case "tip":
                world.tip = chance.randint(BASE, LAST + 2)
    local, chain = world.local(), world.chain()
    found = world.finding()
    last: PoolState = local.at(LAST)
    on_branch = local.hash_at(min(LAST, world.tip)) == ref(min(LAST, world.tip)).hash
    if last == chain.state and on_branch:
        assert found is None or world.tip < LAST
    else:
        assert found is not None


def test_the_book_remembers_a_pools_states_as_far_as_it_could_undo() -> None:
    book = PoolBook(4)
    book.put(a_pool_v2(), a_block_ref(100))
    before = _state(book.pools[V2_POOL])
    assert book.history(V2_POOL) == PoolHistory(StateAfter(a_block_ref(100), before), (), (a_block_ref(100),))
    for number, change in ((101, 7), (102, None), (103, 8), (104, None), (105, 9)):
        book.apply(a_block(number, *([] if change is None else [a_reserves_delta(reserve0=change)])))
    history = book.history(V2_POOL)
    assert history.since.block == a_block_ref(101)
    assert [after.block.number for after in history.changes] == [103, 105]
    assert [_reserve0(history.at(number)) for number in range(101, 106)] == [7, 7, 8, 8, 9]
    assert history.hash_at(104) == a_block_ref(104).hash
    assert (history.covers(100), history.covers(101), history.covers(106)) == (False, True, False)
    book.undo_to(a_block_ref(103))
    assert book.history(V2_POOL).tip == a_block_ref(103)
    assert _reserve0(book.history(V2_POOL).at(103)) == 8


def test_a_newer_snapshot_is_where_the_memory_of_a_pool_begins() -> None:
    book = PoolBook(8)
    book.put(a_pool_v2(), a_block_ref(103))
    for number in (101, 102, 103, 104):
        book.apply(a_block(number, a_reserves_delta(reserve0=number)))
    history = book.history(V2_POOL)
    assert history.since.block == a_block_ref(103)
    assert [after.block.number for after in history.changes] == [104]


def _state(pool: Pool) -> PoolState:
    return pool.state


def _reserve0(found: PoolState) -> int:
    assert isinstance(found, ConstantProductState)
    return found.reserve0
