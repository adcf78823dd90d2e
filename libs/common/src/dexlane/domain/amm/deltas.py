"""How pool states change: from the contracts' events to states, from states to deltas and back. All pure."""

from __future__ import annotations

from bisect import bisect_left
from operator import itemgetter

from dexlane.values.pools import (
    BalancesDelta,
    BalancesState,
    ConcentratedDelta,
    ConcentratedState,
    ConstantProductState,
    Pool,
    PoolDelta,
    PoolState,
    ReservesDelta,
    Tick,
)

_TICK_INDEX = itemgetter(0)


class InconsistentDelta(ValueError):  # noqa: N818 - named for what it says about the delta
    """A change that cannot follow from the state it is applied to: an event was missed or belongs to another pool."""


def after_swap(state: ConcentratedState, sqrt_price_x96: int, liquidity: int, tick: int) -> ConcentratedState:
    """The state after a V3 ``Swap`` event, which carries price, active liquidity and tick as they then are."""
    return ConcentratedState.unchecked(sqrt_price_x96, tick, liquidity, state.ticks)


def after_liquidity_change(
    state: ConcentratedState, tick_lower: int, tick_upper: int, liquidity_delta: int
) -> ConcentratedState:
    """The state after a position in ``[tick_lower, tick_upper)`` grew or shrank (``UniswapV3Pool._modifyPosition``).

    Raises ``InconsistentDelta`` when more liquidity is taken than the ticks hold.
    """
    if tick_lower >= tick_upper:
        raise InconsistentDelta(f"a position from tick {tick_lower} to {tick_upper} is empty")
    if liquidity_delta == 0:
        return state
    active = state.liquidity
    if tick_lower <= state.tick < tick_upper:
        active += liquidity_delta
    if active < 0:
        raise InconsistentDelta(f"{-liquidity_delta} liquidity leaves a pool that has only {state.liquidity} active")
    ticks = list(state.ticks)
    _reference(ticks, tick_lower, gross=liquidity_delta, net=liquidity_delta)
    _reference(ticks, tick_upper, gross=liquidity_delta, net=-liquidity_delta)
    return ConcentratedState.unchecked(state.sqrt_price_x96, state.tick, active, tuple(ticks))


def apply_mint(state: ConcentratedState, tick_lower: int, tick_upper: int, amount: int) -> ConcentratedState:
    """The state after a V3 ``Mint`` event of ``amount`` liquidity."""
    return after_liquidity_change(state, tick_lower, tick_upper, amount)


def apply_burn(state: ConcentratedState, tick_lower: int, tick_upper: int, amount: int) -> ConcentratedState:
    """The state after a V3 ``Burn`` event of ``amount`` liquidity."""
    return after_liquidity_change(state, tick_lower, tick_upper, -amount)


def delta_between(pool_address: str, before: PoolState, after: PoolState) -> PoolDelta:
    """The absolute delta that turns ``before`` into ``after``. Raises ``InconsistentDelta`` for different kinds."""
    if isinstance(before, ConstantProductState) and isinstance(after, ConstantProductState):
        return ReservesDelta(pool=pool_address, reserve0=after.reserve0, reserve1=after.reserve1)
    if isinstance(before, ConcentratedState) and isinstance(after, ConcentratedState):
        return ConcentratedDelta(
            pool=pool_address,
            sqrt_price_x96=after.sqrt_price_x96,
            tick=after.tick,
            liquidity=after.liquidity,
            ticks=_changed_ticks(before, after),
        )
    if isinstance(before, BalancesState) and isinstance(after, BalancesState):
        changed = None if before.terms == after.terms else after.terms
        return BalancesDelta(pool=pool_address, balances=after.balances, terms=changed)
    raise InconsistentDelta(f"pool {pool_address} cannot turn from {before.kind} into {after.kind}")


def apply_delta(pool: Pool, delta: PoolDelta) -> Pool:
    """The pool after a delta. Raises ``InconsistentDelta`` when the delta is of another pool or kind."""
    if delta.pool != pool.key.address:
        raise InconsistentDelta(f"a delta of pool {delta.pool} was given to pool {pool.key.address}")
    return pool.with_state(state_after(pool.state, delta))


def state_after(state: PoolState, delta: PoolDelta) -> PoolState:
    """The state after a delta of its pool. Raises ``InconsistentDelta`` when the delta is of another kind."""
    # By exact type: ``isinstance`` on pydantic's metaclass costs more than the rest where it says no.
    if type(state) is ConstantProductState and type(delta) is ReservesDelta:
        return ConstantProductState.unchecked(delta.reserve0, delta.reserve1)
    if type(state) is ConcentratedState and type(delta) is ConcentratedDelta:
        ticks = _merged_ticks(state.ticks, delta.ticks) if delta.ticks else state.ticks
        return ConcentratedState.unchecked(delta.sqrt_price_x96, delta.tick, delta.liquidity, ticks)
    if type(state) is BalancesState and type(delta) is BalancesDelta:
        if len(delta.balances) != len(state.balances):
            raise InconsistentDelta(f"pool {delta.pool} has {len(state.balances)} balances, not {len(delta.balances)}")
        return state.model_copy(update={"balances": delta.balances, "terms": delta.terms or state.terms})
    raise InconsistentDelta(f"a {delta.kind} delta cannot apply to the {state.kind} pool {delta.pool}")


def _reference(ticks: list[Tick], index: int, *, gross: int, net: int) -> None:
    """Add to what references a tick, in place; a tick that nothing references any more is dropped."""
    at = bisect_left(ticks, index, key=_TICK_INDEX)
    known = at < len(ticks) and ticks[at].tick == index
    old = ticks[at] if known else Tick(index, 0, 0)
    if old.liquidity_gross + gross < 0:
        raise InconsistentDelta(f"tick {index} holds {old.liquidity_gross} liquidity, {-gross} was taken")
    ticks[at : at + known] = _initialised(Tick(index, old.liquidity_gross + gross, old.liquidity_net + net))


def _initialised(tick: Tick) -> list[Tick]:
    # Gross, not net, decides: positions that end and begin at one tick may cancel out in net, yet it is a stop.
    return [tick] if tick.liquidity_gross else []


def _merged_ticks(ticks: tuple[Tick, ...], changes: tuple[Tick, ...]) -> tuple[Tick, ...]:
    merged = list(ticks)
    for change in changes:
        at = bisect_left(merged, (change.tick,))  # a prefix sorts before every tick of that index
        known = at < len(merged) and merged[at].tick == change.tick
        merged[at : at + known] = _initialised(change)
    return tuple(merged)


def _changed_ticks(before: ConcentratedState, after: ConcentratedState) -> tuple[Tick, ...]:
    if before.ticks is after.ticks:
        return ()
    old, new = set(before.ticks), set(after.ticks)
    kept = {tick.tick for tick in new}
    gone = [Tick(tick.tick, 0, 0) for tick in old - new if tick.tick not in kept]
    return tuple(sorted([*(new - old), *gone]))
