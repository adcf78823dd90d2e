"""All changes of one pool in one block, folded into one delta: the last price counts for the state, volumes need all.

A fold is begun from the pool's state before the block and takes the changes in log order; it never builds the states in
between. To fold a new kind of state, write a class with the methods of ``PoolFold`` and enter it in ``FOLDS``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, cast

from dexlane.domain.amm.balances_folding import BalancesFold
from dexlane.domain.amm.changes import LiquidityChanged, PoolChange, PoolSwapped, ReservesSynced
from dexlane.domain.amm.deltas import InconsistentDelta
from dexlane.values.pools import (
    ConcentratedDelta,
    ConcentratedState,
    ConstantProductState,
    Pool,
    PoolDelta,
    ReservesDelta,
    Tick,
)


class PoolFold(Protocol):
    """One pool while the logs of one block are read."""

    def take(self, change: PoolChange, /) -> None:
        """The next change. Raises ``InconsistentDelta`` when it cannot follow; the fold is then of no more use."""
        ...

    def moved(self) -> tuple[int, ...]:
        """Gross amounts that swaps moved so far, one for each token in the order of the pool's key."""
        ...

    def delta(self) -> PoolDelta:
        """The absolute delta from the state before the block to the state after all changes taken."""
        ...


class ReservesFold:
    """A constant-product pool: the last ``Sync`` is the state."""

    __slots__ = ("_address", "_moved0", "_moved1", "_reserve0", "_reserve1")

    def __init__(self, pool: Pool) -> None:
        state = cast("ConstantProductState", pool.state)
        self._address = pool.key.address
        self._reserve0, self._reserve1 = state.reserve0, state.reserve1
        self._moved0 = self._moved1 = 0

    def take(self, change: PoolChange, /) -> None:
        """A swap moves the reserves in opposite directions; minting and burning move both the same way."""
        if type(change) is not ReservesSynced:
            raise InconsistentDelta(f"a {type(change).__name__} event cannot happen to pool {self._address}")
        reserve0, reserve1 = change
        moved0, moved1 = reserve0 - self._reserve0, reserve1 - self._reserve1
        if (moved0 > 0 > moved1) or (moved0 < 0 < moved1):
            self._moved0 += abs(moved0)
            self._moved1 += abs(moved1)
        self._reserve0, self._reserve1 = reserve0, reserve1

    def moved(self) -> tuple[int, int]:
        """Gross amounts of token0 and token1."""
        return self._moved0, self._moved1

    def delta(self) -> ReservesDelta:
        """The reserves after the last change."""
        return ReservesDelta.unchecked(
            {"kind": "reserves", "pool": self._address, "reserve0": self._reserve0, "reserve1": self._reserve1}
        )


class ConcentratedFold:
    """A concentrated-liquidity pool: price and tick of the last swap, active liquidity, and the ticks that changed."""

    __slots__ = ("_address", "_before", "_changed", "_liquidity", "_moved0", "_moved1", "_sqrt_price_x96", "_tick")

    def __init__(self, pool: Pool) -> None:
        state = cast("ConcentratedState", pool.state)
        self._address = pool.key.address
        self._before = state.ticks
        self._sqrt_price_x96, self._tick, self._liquidity = state.sqrt_price_x96, state.tick, state.liquidity
        self._changed: dict[int, Tick] | None = None
        self._moved0 = self._moved1 = 0

    def take(self, change: PoolChange, /) -> None:
        """A swap replaces price, tick and active liquidity; a mint or burn changes liquidity and two ticks."""
        if type(change) is PoolSwapped:
            amount0, amount1, self._sqrt_price_x96, self._liquidity, self._tick = change
            self._moved0 += abs(amount0)
            self._moved1 += abs(amount1)
        elif type(change) is LiquidityChanged:
            self._reposition(*change)
        else:
            raise InconsistentDelta(f"a {type(change).__name__} event cannot happen to pool {self._address}")

    def moved(self) -> tuple[int, int]:
        """Gross amounts of token0 and token1."""
        return self._moved0, self._moved1

    def delta(self) -> ConcentratedDelta:
        """Price, tick and liquidity after the last change, and each tick that is now other than before the block."""
        return ConcentratedDelta.unchecked(
            {
                "kind": "concentrated",
                "pool": self._address,
                "sqrt_price_x96": self._sqrt_price_x96,
                "tick": self._tick,
                "liquidity": self._liquidity,
                "ticks": self._changed_ticks() if self._changed else (),
            }
        )

    def _reposition(self, lower: int, upper: int, liquidity: int) -> None:
        """``UniswapV3Pool._modifyPosition``; see ``after_liquidity_change``, which does the same to a whole state."""
        if lower >= upper:
            raise InconsistentDelta(f"a position from tick {lower} to {upper} is empty")
        if not liquidity:
            return
        if lower <= self._tick < upper:
            if self._liquidity + liquidity < 0:
                raise InconsistentDelta(f"{-liquidity} liquidity leaves a pool that has only {self._liquidity} active")
            self._liquidity += liquidity
        self._reference(lower, liquidity, liquidity)
        self._reference(upper, liquidity, -liquidity)

    def _reference(self, index: int, gross: int, net: int) -> None:
        if self._changed is None:
            self._changed = {}
        old = self._changed.get(index) or self._tick_before(index)
        gross += old.liquidity_gross
        if gross < 0:
            raise InconsistentDelta(f"tick {index} holds {old.liquidity_gross} liquidity, more was taken")
        self._changed[index] = Tick(index, gross, old.liquidity_net + net) if gross else Tick(index, 0, 0)

    def _tick_before(self, index: int) -> Tick:
        ticks = self._before
        at = bisect_left(ticks, (index,))
        return ticks[at] if at < len(ticks) and ticks[at].tick == index else Tick(index, 0, 0)

    def _changed_ticks(self) -> tuple[Tick, ...]:
        changed = self._changed or {}
        return tuple(changed[index] for index in sorted(changed) if changed[index] != self._tick_before(index))


FOLDS: Mapping[str, Callable[[Pool], PoolFold]] = MappingProxyType(
    cast(
        "dict[str, Any]", {"constant_product": ReservesFold, "concentrated": ConcentratedFold, "balances": BalancesFold}
    )
)
"""How the changes of a pool are folded, by the ``kind`` of its state."""
