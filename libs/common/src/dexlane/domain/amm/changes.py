"""What the contracts' events say about a pool, decoded: the changes that a block's logs bring, in log order.

A change is absolute (reserves, price) or relative (liquidity); ``dexlane.domain.amm.folding`` makes one delta of all
changes of a pool in a block, ``after_change`` takes one alone. Fields are in the range of their Solidity type: decoders
refuse anything else, so nothing behind them checks again.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from dexlane.domain.amm.deltas import InconsistentDelta, after_liquidity_change, after_swap
from dexlane.values.pools import ConcentratedState, ConstantProductState, PoolState


class ReservesSynced(NamedTuple):
    """V2 ``Sync``: reserves after the change."""

    reserve0: int
    reserve1: int


class PoolSwapped(NamedTuple):
    """V3 ``Swap``. Amounts are what the pool gained (positive) or paid out; price, liquidity and tick are as after."""

    amount0: int
    amount1: int
    sqrt_price_x96: int
    liquidity: int
    tick: int


class LiquidityChanged(NamedTuple):
    """V3 ``Mint`` (positive) or ``Burn`` (negative; zero when a position was only touched)."""

    tick_lower: int
    tick_upper: int
    liquidity_delta: int


class ProtocolFeeChanged(NamedTuple):
    """The protocol's fees stand in the pool's key: no state can follow from this, the pool has to be loaded anew."""

    fee0_pips: int
    fee1_pips: int


class BalancesMoved(NamedTuple):
    """What a pool's balances gained (positive) or lost, by token; ``traded`` when a swap moved them."""

    moves: tuple[tuple[str, int], ...]
    traded: bool


class CoinsExchanged(NamedTuple):
    """A StableSwap exchange between two coins by their place in the contract; the event has no balances."""

    sold_id: int
    sold: int
    bought_id: int
    bought: int


class LiquidityShifted(NamedTuple):
    """Amounts that came (positive) into a StableSwap pool or left it, and the fees on them, by coin of the contract."""

    amounts: tuple[int, ...]
    fees: tuple[int, ...]


class SwapFeeChanged(NamedTuple):
    """A new swap fee of a balance-based pool, in the unit of its terms."""

    fee: int


class TermsChanged(NamedTuple):
    """Something that the event does not say in full: the pool has to be read anew."""

    why: str


PoolChange: TypeAlias = (
    ReservesSynced
    | PoolSwapped
    | LiquidityChanged
    | ProtocolFeeChanged
    | BalancesMoved
    | CoinsExchanged
    | LiquidityShifted
    | SwapFeeChanged
    | TermsChanged
)


def after_change(state: PoolState, change: PoolChange) -> PoolState:
    """The pool state after one change. Raises ``InconsistentDelta`` when it cannot happen to such a pool."""
    if isinstance(change, ReservesSynced) and isinstance(state, ConstantProductState):
        return ConstantProductState(reserve0=change.reserve0, reserve1=change.reserve1)
    if isinstance(change, PoolSwapped) and isinstance(state, ConcentratedState):
        return after_swap(state, change.sqrt_price_x96, change.liquidity, change.tick)
    if isinstance(change, LiquidityChanged) and isinstance(state, ConcentratedState):
        return after_liquidity_change(state, change.tick_lower, change.tick_upper, change.liquidity_delta)
    raise InconsistentDelta(f"a {type(change).__name__} event cannot happen to a {state.kind} pool")
