"""All changes of one pool in one block, folded into one delta: the last price counts for the state, volumes need all.

The states in between are never built. To fold a new kind of state, write a ``Fold`` and enter it in ``FOLDS``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from dexlane.domain.amm.balances_folding import BalancesFold
from dexlane.domain.amm.changes import LiquidityChanged, PoolChange, PoolSwapped, ReservesSynced
from dexlane.domain.amm.deltas import InconsistentDelta
from dexlane.domain.pool_table import PoolTable
from dexlane.values.pools import ConcentratedDelta, PoolDelta, PoolState, ReservesDelta, Tick

Folded: TypeAlias = tuple[PoolDelta, tuple[int, ...]]
"""What a block did to one pool: the absolute delta from before the block to after it, and the gross amounts that swaps
moved, one for each token in the order of the pool's key."""

Fold: TypeAlias = Callable[[str, PoolTable, Sequence[PoolChange]], Folded]
"""A pool's address, the pools before the block, and its changes (at least one) in log order. Raises
``InconsistentDelta`` for a change that cannot follow. Fields of changes are in the range of their type: the delta is
built unchecked."""


def fold_reserves(address: str, pools: PoolTable, changes: Sequence[PoolChange]) -> Folded:
    """A constant-product pool: the last ``Sync`` is the state.

    A swap moves the reserves in opposite directions; minting and burning move both the same way and are no volume.
    """
    state: Any = pools.states[address]
    reserve0, reserve1 = state.reserve0, state.reserve1
    moved0 = moved1 = 0
    for change in changes:
        if type(change) is not ReservesSynced:
            raise _impossible(change, address, state)
        before0, before1 = reserve0, reserve1
        reserve0, reserve1 = change
        if (reserve0 > before0 and reserve1 < before1) or (reserve0 < before0 and reserve1 > before1):
            moved0 += abs(reserve0 - before0)
            moved1 += abs(reserve1 - before1)
    return ReservesDelta.unchecked(address, reserve0, reserve1), (moved0, moved1)


def fold_concentrated(address: str, pools: PoolTable, changes: Sequence[PoolChange]) -> Folded:
    """A concentrated-liquidity pool: a swap replaces price, tick and active liquidity, a mint or burn changes liquidity
    and two ticks. The delta names each tick that is other than before the block."""
    state: Any = pools.states[address]
    first = changes[0]
    if type(first) is PoolSwapped:  # replaces all of these: what the state has would be fetched from cold memory
        _, _, sqrt_price_x96, liquidity, tick = first
    else:
        sqrt_price_x96, tick, liquidity = state.sqrt_price_x96, state.tick, state.liquidity
    ticks: _ChangedTicks | None = None
    moved0 = moved1 = 0
    for change in changes:
        if type(change) is PoolSwapped:
            amount0, amount1, sqrt_price_x96, liquidity, tick = change
            moved0 += abs(amount0)
            moved1 += abs(amount1)
        elif type(change) is LiquidityChanged:
            ticks = ticks or _ChangedTicks(state.ticks)
            liquidity = ticks.reposition(change, tick, liquidity)
        else:
            raise _impossible(change, address, state)
    changed = ticks.differing() if ticks else ()
    return ConcentratedDelta.unchecked(address, sqrt_price_x96, tick, liquidity, changed), (moved0, moved1)


def fold_balances(address: str, pools: PoolTable, changes: Sequence[PoolChange]) -> Folded:
    """A balance-based pool: see ``BalancesFold``."""
    fold = BalancesFold(pools[address])
    for change in changes:
        fold.take(change)
    return fold.delta(), fold.moved()


def _impossible(change: PoolChange, address: str, state: PoolState) -> InconsistentDelta:
    return InconsistentDelta(f"a {type(change).__name__} event cannot happen to the {state.kind} pool {address}")


class _ChangedTicks:
    """Initialised ticks of a pool while positions change: only what is touched is held anew."""

    __slots__ = ("_before", "_changed")

    def __init__(self, before: tuple[Tick, ...]) -> None:
        self._before = before
        self._changed: dict[int, tuple[int, int, Tick]] = {}

    def reposition(self, change: LiquidityChanged, tick: int, liquidity: int) -> int:
        """Change two ticks and return the active liquidity after it (``UniswapV3Pool._modifyPosition``).

        The same as ``after_liquidity_change`` does to a whole state, with the same errors.
        """
        lower, upper, added = change
        if lower >= upper:
            raise InconsistentDelta(f"a position from tick {lower} to {upper} is empty")
        if not added:
            return liquidity
        if lower <= tick < upper:
            if liquidity + added < 0:
                raise InconsistentDelta(f"{-added} liquidity leaves a pool that has only {liquidity} active")
            liquidity += added
        self._reference(lower, added, added)
        self._reference(upper, added, -added)
        return liquidity

    def differing(self) -> tuple[Tick, ...]:
        """The ticks that are other than before, sorted; one that nothing references any more has zeros."""
        return tuple(
            [
                Tick(index, gross, net)
                for index, (gross, net, old) in sorted(self._changed.items())
                if (gross, net) != (old.liquidity_gross, old.liquidity_net)
            ]
        )

    def _reference(self, index: int, gross: int, net: int) -> None:
        known = self._changed.get(index)
        if known is None:
            old = self._tick_before(index)
            known = (old.liquidity_gross, old.liquidity_net, old)
        held, crossed, old = known
        if held + gross < 0:
            raise InconsistentDelta(f"tick {index} holds {held} liquidity, {-gross} was taken")
        self._changed[index] = (held + gross, crossed + net if held + gross else 0, old)

    def _tick_before(self, index: int) -> Tick:
        ticks = self._before
        at = bisect_left(ticks, (index,))  # a prefix sorts before every tick of that index
        return ticks[at] if at < len(ticks) and ticks[at].tick == index else Tick(index, 0, 0)


FOLDS: Mapping[str, Fold] = MappingProxyType(
    {"constant_product": fold_reserves, "concentrated": fold_concentrated, "balances": fold_balances}
)
"""How the changes of a pool are folded, by the ``kind`` of its state."""
