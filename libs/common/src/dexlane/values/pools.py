"""Pools: what never changes about them, and their state at one block."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from dexlane.values.amounts import Amount, SignedAmount
from dexlane.values.base import Value
from dexlane.values.chains import Address
from dexlane.values.tokens import Token


class Protocol(StrEnum):
    """The exchange protocol of a pool; it selects the quoting maths and the router command."""

    UNISWAP_V2 = "uniswap_v2"
    UNISWAP_V3 = "uniswap_v3"


class PoolKey(Value):
    """The immutable part of a pool. ``fee_pips`` is in hundredths of a basis point (3000 = 0.3 %)."""

    address: Address
    protocol: Protocol
    token0: Token
    token1: Token
    fee_pips: int = Field(ge=0, lt=1_000_000)
    tick_spacing: int = Field(default=0, ge=0, le=16_384, description="zero for pools without ticks")

    @model_validator(mode="after")
    def _consistent(self) -> PoolKey:
        if int(self.token0.address, 16) >= int(self.token1.address, 16):
            raise ValueError("token0 must sort before token1")
        if (self.protocol is Protocol.UNISWAP_V3) != (self.tick_spacing > 0):
            raise ValueError("exactly the concentrated pools have a tick spacing")
        return self

    def token(self, address: str) -> Token:
        """The token of this pool with that address; ``KeyError`` if the pool does not trade it."""
        for token in (self.token0, self.token1):
            if token.address == address:
                return token
        raise KeyError(f"pool {self.address} does not trade {address}")

    def other(self, address: str) -> Token:
        """The token on the other side of the given one."""
        return self.token1 if self.token(address) is self.token0 else self.token0


class Tick(NamedTuple):
    """An initialised tick: liquidity that references it, and what crossing it upward adds."""

    tick: int
    liquidity_gross: Amount
    liquidity_net: SignedAmount


class ConstantProductState(Value):
    """Reserves of an ``x * y = k`` pool."""

    kind: Literal["constant_product"] = "constant_product"
    reserve0: Amount
    reserve1: Amount


class ConcentratedState(Value):
    """State of a concentrated-liquidity pool. Ticks are sorted by index and complete."""

    kind: Literal["concentrated"] = "concentrated"
    sqrt_price_x96: Amount
    tick: int
    liquidity: Amount
    ticks: tuple[Tick, ...] = ()


PoolState = Annotated[ConstantProductState | ConcentratedState, Field(discriminator="kind")]


class Pool(Value):
    """A pool with its state at some block."""

    key: PoolKey
    state: PoolState


class ReservesDelta(Value):
    """New reserves of a constant-product pool (absolute, so applying twice is harmless)."""

    kind: Literal["reserves"] = "reserves"
    pool: Address
    reserve0: Amount
    reserve1: Amount


class ConcentratedDelta(Value):
    """New price, tick and active liquidity of a concentrated pool, and the ticks that changed.

    All values are absolute; a tick with ``liquidity_gross`` zero is no longer initialised.
    """

    kind: Literal["concentrated"] = "concentrated"
    pool: Address
    sqrt_price_x96: Amount
    tick: int
    liquidity: Amount
    ticks: tuple[Tick, ...] = ()


PoolDelta = Annotated[ReservesDelta | ConcentratedDelta, Field(discriminator="kind")]
