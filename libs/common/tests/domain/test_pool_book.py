"""The pool book against rules and against a naive model that keeps every block's full state."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dexlane.domain import pool_book
from dexlane.domain.amm.changes import LiquidityChanged, PoolChange, PoolSwapped, ReservesSynced, after_change
from dexlane.domain.amm.deltas import InconsistentDelta, after_liquidity_change, delta_between
from dexlane.domain.amm.folding import FOLDS
from dexlane.domain.pool_book import GapError, PoolBook
from dexlane.events.market import BlockApplied
from dexlane.testing.builders import (
    V2_POOL,
    V3_POOL_500,
    a_block,
    a_block_ref,
    a_pool_v2,
    a_pool_v3,
    a_reserves_delta,
    an_address,
)
from dexlane.values.chains import BlockRef
from dexlane.values.pools import BalancesState, BalanceTerms, ConcentratedState, ConstantProductState, Pool, PoolDelta

DEPTH = 6


def _book(*events: BlockApplied, at: int = 100, depth: int = DEPTH) -> PoolBook:
    book = PoolBook(depth)
    for pool in (a_pool_v2(), a_pool_v3()):
        book.put(pool, a_block_ref(at))
    for event in events:
        book.apply(event)
    return book


def _reserve0(book: PoolBook) -> int:
    state = book.pools[V2_POOL].state
    assert isinstance(state, ConstantProductState)
    return state.reserve0


def _changed(reserve0: int) -> PoolDelta:
    return a_reserves_delta(reserve0=reserve0)


def test_a_block_changes_the_pools_it_names_and_no_other() -> None:
    book = _book(a_block(101, _changed(7)))
    assert _reserve0(book) == 7
    assert book.pools[V3_POOL_500] == a_pool_v3()
    assert book.tip == a_block_ref(101)


def test_a_block_seen_twice_counts_once() -> None:
    book = _book(a_block(101, _changed(7)), a_block(102, _changed(8)), a_block(101, _changed(7)))
    assert (_reserve0(book), book.tip) == (8, a_block_ref(102))


def test_a_missing_block_is_a_gap() -> None:
    book = _book(a_block(101))
    with pytest.raises(GapError, match="does not follow"):
        book.apply(a_block(103))
    assert book.tip == a_block_ref(101)


def test_the_first_block_may_not_leave_a_gap_after_the_snapshots() -> None:
    with pytest.raises(GapError, match="snapshot"):
        _book(a_block(102))
    with pytest.raises(GapError, match="snapshot"):
        _book(a_block(101, parent_fork="other"))


def test_deltas_up_to_a_pools_snapshot_are_skipped_for_it() -> None:
    book = _book(a_block(99, _changed(7)), a_block(100, _changed(8)))
    assert book.pools[V2_POOL] == a_pool_v2()
    book.apply(a_block(101, _changed(9)))
    assert _reserve0(book) == 9


def test_undo_restores_the_states_and_the_new_branch_applies() -> None:
    book = _book(a_block(101, _changed(7)), a_block(102, _changed(8)), a_block(103))
    assert book.undo_to(a_block_ref(101)) == 2
    assert (_reserve0(book), book.tip) == (7, a_block_ref(101))
    book.apply(a_block(102, _changed(9), fork="b", parent_fork="main"))
    assert (_reserve0(book), book.tip) == (9, a_block_ref(102, "b"))


def test_undo_to_the_tip_undoes_nothing() -> None:
    assert _book(a_block(101, _changed(7))).undo_to(a_block_ref(101)) == 0


def test_undo_deeper_than_remembered_is_a_gap_and_changes_nothing() -> None:
    book = _book(*(a_block(number, _changed(number)) for number in range(101, 105)), depth=3)
    assert book.undo_to(a_block_ref(102)) == 2
    book.apply(a_block(103, _changed(103)))
    with pytest.raises(GapError, match="last 2 blocks"):
        book.undo_to(a_block_ref(100))
    assert (_reserve0(book), book.tip) == (103, a_block_ref(103))


def test_undo_before_a_pools_snapshot_is_a_gap_when_the_pool_changed_there() -> None:
    book = _book(a_block(99), a_block(100, _changed(8)))
    with pytest.raises(GapError, match="not known before"):
        book.undo_to(a_block_ref(99))


def test_undo_before_a_pools_snapshot_is_exact_when_nothing_touched_the_pool() -> None:
    book = _book(a_block(99), a_block(100))
    assert book.undo_to(a_block_ref(99)) == 1
    book.apply(a_block(100, _changed(9), fork="b", parent_fork="main"))
    assert _reserve0(book) == 9


def test_a_snapshot_ahead_of_the_book_survives_an_undo_of_older_blocks() -> None:
    book = _book(a_block(97), a_block(98, _changed(5)), a_block(98, fork="main"))
    book.undo_to(a_block_ref(97))
    book.apply(a_block(98, _changed(6), fork="b", parent_fork="main"))
    assert book.pools[V2_POOL] == a_pool_v2()


def test_a_newer_snapshot_replaces_a_pool_and_survives_an_undo_before_it() -> None:
    book = _book(a_block(101, _changed(7)))
    book.put(a_pool_v2(reserve0=50), a_block_ref(105))
    book.undo_to(a_block_ref(100))
    assert _reserve0(book) == 50


def test_an_older_snapshot_of_a_watched_pool_is_ignored() -> None:
    book = _book(a_block(101, _changed(7)))
    book.put(a_pool_v2(), a_block_ref(100))
    assert _reserve0(book) == 7


def test_a_pool_is_added_late_from_an_older_snapshot_only_when_nothing_was_missed() -> None:
    late = a_pool_v2(address=an_address("late"))
    book = _book(a_block(101), a_block(102))
    book.put(late, a_block_ref(101))
    assert book.pools[late.key.address] == late
    missed = _book(a_block(101), a_block(102, a_reserves_delta(pool=late.key.address)))
    with pytest.raises(GapError, match="may have changed"):
        missed.put(late, a_block_ref(101))
    with pytest.raises(GapError, match="may have changed"):
        missed.put(late, a_block_ref(102, "other"))


def test_a_contradicting_delta_leaves_the_book_unchanged() -> None:
    book = _book(a_block(101))
    with pytest.raises(InconsistentDelta):
        book.apply(a_block(102, _changed(7), a_reserves_delta(pool=V3_POOL_500)))
    assert (book.pools[V2_POOL], book.tip) == (a_pool_v2(), a_block_ref(101))


def test_a_digest_depends_on_the_named_states_only() -> None:
    one, other = _book(a_block(101, _changed(7))), _book(a_block(101))
    assert one.state_digest([V3_POOL_500]) == other.state_digest([V3_POOL_500])
    assert one.state_digest([V2_POOL]) != other.state_digest([V2_POOL])
    assert one.state_digest([V2_POOL, V3_POOL_500]) == one.state_digest([V3_POOL_500, V2_POOL, V2_POOL])
    with pytest.raises(KeyError):
        one.state_digest([an_address("unknown")])


def test_a_digest_sees_a_change_of_ticks_alone() -> None:
    book, state = _book(a_block(101)), a_pool_v3().state
    assert isinstance(state, ConcentratedState)
    before = book.state_digest([V3_POOL_500])
    outside = after_liquidity_change(state, 0, 600, 10**9)
    book.apply(a_block(102, delta_between(V3_POOL_500, state, outside)))
    assert book.state_digest([V3_POOL_500]) != before


def test_ticks_are_digested_once_for_a_book_and_all_that_are_frozen_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    book = _book()
    wanted = book.frozen().state_digest([V3_POOL_500])
    computed = Mock(wraps=pool_book.digest)
    monkeypatch.setattr(pool_book, "digest", computed)
    assert book.state_digest([V3_POOL_500]) == book.frozen().state_digest([V3_POOL_500]) == wanted
    assert [call for call in computed.call_args_list if isinstance(call.args[0][0], list)] == []


def test_the_view_of_the_pools_cannot_be_written() -> None:
    with pytest.raises(TypeError):
        _book().pools[V2_POOL] = a_pool_v2()  # type: ignore[index]


def test_a_book_needs_at_least_one_block_of_memory() -> None:
    with pytest.raises(ValueError, match="at least one"):
        PoolBook(0)


@st.composite
def histories(draw: st.DrawFn) -> list[list[tuple[str, PoolChange]]]:
    """Blocks of changes of a pair and a concentrated pool; positions are closed only if they were opened."""
    blocks: list[list[tuple[str, PoolChange]]] = []
    for _ in range(draw(st.integers(0, 8))):
        block: list[tuple[str, PoolChange]] = []
        for kind in draw(st.lists(st.sampled_from(("sync", "swap", "mint")), max_size=6)):
            number = draw(st.integers(1, 10**12))
            if kind == "sync":
                block.append((V2_POOL, ReservesSynced(number, 2 * number)))
            elif kind == "swap":
                block.append((V3_POOL_500, PoolSwapped(number, -number, 2**96 + number, 10**18, number % 800)))
            else:
                block.append((V3_POOL_500, LiquidityChanged(-10 * (number % 7 + 1), 10 * (number % 5 + 1), number)))
                if number % 3:
                    block.append((V3_POOL_500, LiquidityChanged(*block[-1][1][:2], -number // 2)))
        blocks.append(block)
    return blocks


def _folded(book: PoolBook, changes: list[tuple[str, PoolChange]]) -> list[PoolDelta]:
    touched: dict[str, list[PoolChange]] = {}
    for address, change in changes:
        touched.setdefault(address, []).append(change)
    states = book.pools.states
    return [FOLDS[states[key].kind](key, book.pools, some)[0] for key, some in touched.items()]


def _grow(book: PoolBook, blocks: list[list[tuple[str, PoolChange]]], fork: str, parent: BlockRef) -> list[BlockRef]:
    refs = []
    for changes in blocks:
        event = a_block(parent.number + 1, *_folded(book, changes), fork=fork, parent_hash=parent.hash)
        book.apply(event)
        parent = event.block
        refs.append(parent)
    return refs


@given(histories(), histories(), st.integers(0, 8))
def test_another_branch_after_an_undo_of_any_depth_is_equal_to_a_fresh_build(
    first: list[list[tuple[str, PoolChange]]], second: list[list[tuple[str, PoolChange]]], kept: int
) -> None:
    genesis = a_block_ref(100)
    kept = min(kept, len(first))
    book = _book(depth=128)
    refs = [genesis, *_grow(book, first, "a", genesis)]
    if first:
        book.undo_to(refs[kept])
    _grow(book, second, "b", refs[kept])
    fresh = _book(depth=128)
    _grow(fresh, second, "b", (_grow(fresh, first[:kept], "a", genesis) or [genesis])[-1])
    assert dict(book.pools) == dict(fresh.pools)
    plain = {V2_POOL: a_pool_v2(), V3_POOL_500: a_pool_v3()}
    for address, change in [each for block in first[:kept] + second for each in block]:
        state = after_change(plain[address].state, change)
        plain[address] = plain[address].with_state(state)
    one_by_one = PoolBook()
    for pool in plain.values():
        one_by_one.put(pool, genesis)
    assert book.state_digest(plain) == fresh.state_digest(plain) == one_by_one.state_digest(plain)


NEW = an_address("a new pool")


def _joined(book: PoolBook) -> PoolBook:
    assert book.tip is not None
    book.join(a_pool_v2(address=NEW, reserve0=1), book.tip)
    return book


def test_a_pool_joins_only_at_the_tip() -> None:
    book = _book(a_block(101), a_block(102))
    with pytest.raises(GapError, match="the tip is 102"):
        book.join(a_pool_v2(address=NEW), a_block_ref(101))
    assert NEW not in book.pools


def test_a_pool_that_joined_is_undone_exactly_and_leaves_with_the_block_it_joined_at() -> None:
    change = a_reserves_delta(pool=NEW, reserve0=2)
    book = _joined(_book(a_block(101), a_block(102)))
    book.apply(a_block(103, change))
    assert book.pools[NEW].state.reserve0 == 2  # type: ignore[union-attr]
    book.undo_to(a_block_ref(102))
    assert book.pools[NEW].state.reserve0 == 1  # type: ignore[union-attr]
    book.apply(a_block(103, change, fork="b", parent_hash=a_block_ref(102).hash))
    book.undo_to(a_block_ref(101))
    assert NEW not in book.pools


def test_a_pool_that_left_stays_away_whatever_is_undone() -> None:
    book = _book(a_block(101, _changed(7)), a_block(102, _changed(8)))
    book.leave(V2_POOL)
    book.apply(a_block(103, _changed(9)))
    book.undo_to(a_block_ref(101))
    assert set(book.pools) == {V3_POOL_500}


class BookAgainstModel(RuleBasedStateMachine):
    """Random blocks, reorganisations and duplicates; the model keeps every block's full state on a plain stack."""

    def __init__(self) -> None:
        super().__init__()
        self.book = _book()
        self.genesis = a_block_ref(100)
        self.stack: list[tuple[BlockApplied, dict[str, Pool]]] = []
        self.forks = 0
        self.remembered = 0

    @property
    def state(self) -> dict[str, Pool]:
        return self.stack[-1][1] if self.stack else {V2_POOL: a_pool_v2(), V3_POOL_500: a_pool_v3()}

    @property
    def tip(self) -> BlockRef:
        return self.stack[-1][0].block if self.stack else self.genesis

    def _mine(self, pools: dict[str, Pool]) -> None:
        self.forks += 1
        before = self.state
        deltas = [delta_between(key, before[key].state, pool.state) for key, pool in pools.items()]
        event = a_block(self.tip.number + 1, *deltas, fork=f"fork {self.forks}", parent_hash=self.tip.hash)
        self.book.apply(event)
        self.stack.append((event, before | pools))
        self.remembered = min(self.remembered + 1, DEPTH)

    @rule()
    def an_empty_block_arrives(self) -> None:
        self._mine({})

    @rule(reserve=st.integers(1, 10**20))
    def a_pair_trades(self, reserve: int) -> None:
        self._mine({V2_POOL: a_pool_v2(reserve0=reserve)})

    @rule(lower=st.integers(20_000, 20_040), width=st.integers(1, 5), liquidity=st.integers(-(10**12), 10**15))
    def a_position_changes(self, lower: int, width: int, liquidity: int) -> None:
        pool = self.state[V3_POOL_500]
        assert isinstance(pool.state, ConcentratedState)
        try:
            changed = after_liquidity_change(pool.state, lower * 10, (lower + width) * 10, liquidity)
        except InconsistentDelta:
            return
        self._mine({V3_POOL_500: pool.with_state(changed)})

    @precondition(lambda self: self.stack)
    @rule(back=st.integers(0, DEPTH - 1))
    def a_block_arrives_again(self, back: int) -> None:
        if back < self.remembered:
            self.book.apply(self.stack[-1 - back][0])

    @rule(depth=st.integers(0, DEPTH + 2))
    def the_chain_reorganises(self, depth: int) -> None:
        if depth > len(self.stack) or (depth == 0 and not self.stack):
            return
        ancestor = self.stack[-1 - depth][0].block if depth < len(self.stack) else self.genesis
        if depth > self.remembered:
            with pytest.raises(GapError):
                self.book.undo_to(ancestor)
            return
        assert self.book.undo_to(ancestor) == depth
        del self.stack[len(self.stack) - depth :]
        self.remembered -= depth

    @invariant()
    def the_book_equals_the_model(self) -> None:
        assert dict(self.book.pools) == self.state
        assert self.book.tip in (None, self.tip)


BookAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBookAgainstModel = BookAgainstModel.TestCase


def test_digest_tells_balances_and_terms_apart() -> None:
    def digest_of(balances: tuple[int, ...], amplification: int) -> str:
        terms = BalanceTerms(fee=1, scaling=(10**18, 10**18), amplification=amplification)
        state = BalancesState(balances=balances, terms=terms)
        book = PoolBook()
        book.put(a_pool_v2().with_state(state), a_block_ref())
        return book.state_digest([V2_POOL])

    assert digest_of((1, 2), 5) == digest_of((1, 2), 5)
    assert len({digest_of((1, 2), 5), digest_of((2, 1), 5), digest_of((1, 2), 6)}) == 3


def test_a_frozen_book_and_the_one_it_was_taken_of_go_their_own_ways() -> None:
    book = PoolBook()
    book.put(a_pool_v2(), a_block_ref())
    first, second = book.frozen(), book.frozen()
    before = dict(first.pools)
    book.put(a_pool_v2(reserve0=1), a_block_ref(101))
    book.put(a_pool_v3(), a_block_ref(101))
    assert dict(first.pools) == dict(second.pools) == before
    second.leave(V2_POOL)
    assert dict(first.pools) == before
    assert len(second.pools) == 0
    assert len(book.pools) == 2
