"""A tape: the recorded events of pools in chain order, and what was known about the pools before the first of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from pydantic import Field, model_validator

from dexlane.values.amounts import SignedAmount
from dexlane.values.base import Value
from dexlane.values.chains import Address
from dexlane.values.pools import ConcentratedState, ConstantProductState, Protocol
from dexlane.values.tokens import Token


class SwapRecord(NamedTuple):
    """A V3 ``Swap``. Amounts are what the pool gained (positive) or paid out; price, liquidity and tick are as after.

    ``pool`` is the index of the pool in the tape; ``timestamp_s`` is Unix seconds, zero where the source has no times.
    """

    block_number: int
    log_index: int
    timestamp_s: int
    pool: int
    amount0: int
    amount1: int
    sqrt_price_x96: int
    liquidity: int
    tick: int


class LiquidityRecord(NamedTuple):
    """A V3 ``Mint`` (positive ``liquidity_delta``) or ``Burn`` (negative; zero when a position was only touched).

    Amounts are what the position's owner paid in (mint) or was owed (burn): never negative.
    """

    block_number: int
    log_index: int
    timestamp_s: int
    pool: int
    tick_lower: int
    tick_upper: int
    liquidity_delta: int
    amount0: int
    amount1: int


class ReservesRecord(NamedTuple):
    """A V2 ``Sync``: reserves as after the change. It is logged before the ``Swap``, ``Mint`` or ``Burn`` it is of."""

    block_number: int
    log_index: int
    timestamp_s: int
    pool: int
    reserve0: int
    reserve1: int


class PairSwapRecord(NamedTuple):
    """A V2 ``Swap``: what the pair received and gave, each token in both directions."""

    block_number: int
    log_index: int
    timestamp_s: int
    pool: int
    amount0_in: int
    amount1_in: int
    amount0_out: int
    amount1_out: int


_PLACE = itemgetter(0, 1)

Record: TypeAlias = SwapRecord | LiquidityRecord | ReservesRecord | PairSwapRecord


class PoolStart(Value):
    """What is known about a pool before its first record.

    ``state`` holds reserves, or price and active liquidity; ``complete`` says that its ticks are all there are.
    ``nets`` are ticks of which only what crossing them upward adds is known (a tick that is not listed is unknown, not
    absent).
    """

    block_number: int | None = Field(default=None, ge=0)
    state: ConcentratedState | ConstantProductState | None = Field(default=None, discriminator="kind")
    complete: bool = False
    nets: tuple[tuple[int, SignedAmount], ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> PoolStart:
        if self.complete and self.state is None:
            raise ValueError("a complete start has a state")
        return self


class TapePool(Value):
    """A pool of a tape. Its address and tokens are None where the source of the tape does not tell them.

    A pair that prices by its reserves has a tick spacing of zero.
    """

    protocol: Protocol
    fee_pips: int = Field(ge=0, lt=1_000_000)
    tick_spacing: int = Field(ge=0, le=16_384)
    address: Address | None = None
    token0: Token | None = None
    token1: Token | None = None
    start: PoolStart = PoolStart()

    @property
    def has_ticks(self) -> bool:
        """Whether liquidity is concentrated between ticks."""
        return self.tick_spacing > 0


@dataclass(frozen=True, slots=True)
class Tape:
    """Pools and their records, sorted by (block number, log index). ``chain_id`` is None where it is not known."""

    pools: tuple[TapePool, ...]
    records: tuple[Record, ...]
    source: str
    chain_id: int | None = None

    def of_pool(self, index: int) -> tuple[Record, ...]:
        """The records of one pool."""
        if len(self.pools) == 1:
            return self.records
        return tuple(record for record in self.records if record.pool == index)


def in_chain_order(records: Iterable[Record]) -> tuple[Record, ...]:
    """Records sorted by (block number, log index)."""
    return tuple(sorted(records, key=_PLACE))
