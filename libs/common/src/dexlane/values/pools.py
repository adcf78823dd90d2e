"""Pools: what never changes about them, and their state at one block."""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from dexlane.values.amounts import Amount, SignedAmount
from dexlane.values.base import CLOSED, Value
from dexlane.values.chains import Address, Hash32
from dexlane.values.tokens import Token


class Protocol(StrEnum):
    """The exchange protocol of a pool; it selects the quoting maths and the router command."""

    UNISWAP_V2 = "uniswap_v2"
    """All forks too: fee and init-code hash are data of the pool and of its factory."""
    UNISWAP_V3 = "uniswap_v3"
    BALANCER_WEIGHTED = "balancer_weighted"
    BALANCER_STABLE = "balancer_stable"
    STABLESWAP = "stableswap"
    PANCAKESWAP_V3 = "pancakeswap_v3"
    SOLIDLY_VOLATILE = "solidly_volatile"
    """``x * y = k`` with fees outside the reserves (Aerodrome, Velodrome V2)."""
    SOLIDLY_STABLE = "solidly_stable"
    """``x^3 * y + y^3 * x = k`` (Aerodrome, Velodrome V2)."""
    UNISWAP_V4 = "uniswap_v4"
    """Pools without hooks; the address of such a pool is the first 20 bytes of its id."""


TICKED = frozenset({Protocol.UNISWAP_V3, Protocol.PANCAKESWAP_V3, Protocol.UNISWAP_V4})
"""Protocols of concentrated liquidity."""


def _is_empty(value: object) -> bool:
    """Fields that few pools have stay off the wire where they are empty."""
    return not value


class PoolKey(Value):
    """What stands beside a pool's state. ``fee_pips`` is in hundredths of a basis point (3000 = 0.3 %).

    A balance-based pool whose fee can change has it in its state, exactly; ``fee_pips`` then is the fee when the pool
    was loaded, rounded up: good for screening. Solidly's fee and the protocol's share of Uniswap V4 are as they were
    when the pool was loaded; a change of them means loading it anew. Tokens are sorted by address; ``more_tokens`` are
    those after the second. The native coin of a V4 pool is the zero address, as in its id.
    """

    address: Address
    protocol: Protocol
    token0: Token
    token1: Token
    fee_pips: int = Field(ge=0, lt=1_000_000)
    tick_spacing: int = Field(default=0, ge=0, le=32_767, description="zero for pools without ticks")
    more_tokens: tuple[Token, ...] = Field(default=(), exclude_if=_is_empty)
    pool_id: Hash32 | None = Field(default=None, exclude_if=_is_empty, description="Uniswap V4 only")
    protocol_fee0_pips: int = Field(
        default=0, ge=0, le=1_000, exclude_if=_is_empty, description="V4: taken of token0 paid in, before fee_pips"
    )
    protocol_fee1_pips: int = Field(
        default=0, ge=0, le=1_000, exclude_if=_is_empty, description="V4: taken of token1 paid in, before fee_pips"
    )

    @model_validator(mode="after")
    def _consistent(self) -> PoolKey:
        if int(self.token0.address, 16) >= int(self.token1.address, 16):
            raise ValueError("token0 must sort before token1")
        if self.more_tokens:
            addresses = [int(token.address, 16) for token in self.tokens[1:]]
            if any(first >= second for first, second in pairwise(addresses)):
                raise ValueError("tokens must be sorted by address")
        if (self.protocol in TICKED) != (self.tick_spacing > 0):
            raise ValueError("exactly the concentrated pools have a tick spacing")
        if (self.protocol is Protocol.UNISWAP_V4) != (self.pool_id is not None):
            raise ValueError("exactly the pools of Uniswap V4 have a pool id")
        if self.pool_id is not None and self.address != self.pool_id[: len(self.address)]:
            raise ValueError("a V4 pool is addressed by the first 20 bytes of its id")
        return self

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All tokens of the pool, sorted by address."""
        return (self.token0, self.token1, *self.more_tokens)

    def token(self, address: str) -> Token:
        """The token of this pool with that address; ``KeyError`` if the pool does not trade it."""
        for token in self.tokens:
            if token.address == address:
                return token
        raise KeyError(f"pool {self.address} does not trade {address}")

    def trades(self, first: str, second: str) -> bool:
        """True when both addresses are tokens of this pool, and not the same one."""
        if not self.more_tokens:
            pair = (self.token0.address, self.token1.address)
            return pair in ((first, second), (second, first))
        addresses = {token.address for token in self.tokens}
        return first != second and {first, second} <= addresses

    def other(self, address: str) -> Token:
        """The token on the other side of the given one; ``KeyError`` where a pool of more tokens has no such thing."""
        if self.more_tokens:
            raise KeyError(f"pool {self.address} trades {len(self.tokens)} tokens: name both of a pair")
        return self.token1 if self.token(address) is self.token0 else self.token0


class Tick(NamedTuple):
    """An initialised tick: liquidity that references it, and what crossing it upward adds."""

    tick: int
    liquidity_gross: Amount
    liquidity_net: SignedAmount


@dataclass(frozen=True, slots=True, kw_only=True, config=CLOSED)
class ConstantProductState:
    """Reserves of a pool of two tokens: ``x * y = k``, or Solidly's stable curve; the protocol says which."""

    kind: Literal["constant_product"] = "constant_product"
    reserve0: Amount
    reserve1: Amount

    @classmethod
    def unchecked(cls, reserve0: int, reserve1: int) -> Self:
        """A state of fields that were checked where they came in: some ten times cheaper."""
        made = _new(cls)
        _put_constant_kind(made, "constant_product")
        _put_reserve0(made, reserve0)
        _put_reserve1(made, reserve1)
        return made


@dataclass(frozen=True, slots=True, kw_only=True, config=CLOSED)
class ConcentratedState:
    """State of a concentrated-liquidity pool. Ticks are sorted by index and complete."""

    kind: Literal["concentrated"] = "concentrated"
    sqrt_price_x96: Amount
    tick: int
    liquidity: Amount
    ticks: tuple[Tick, ...] = ()

    @classmethod
    def unchecked(cls, sqrt_price_x96: int, tick: int, liquidity: int, ticks: tuple[Tick, ...]) -> Self:
        """A state of fields that were checked where they came in: some ten times cheaper."""
        made = _new(cls)
        _put_ticked_kind(made, "concentrated")
        _put_sqrt_price(made, sqrt_price_x96)
        _put_tick(made, tick)
        _put_liquidity(made, liquidity)
        _put_ticks(made, ticks)
        return made


class BalanceTerms(Value):
    """What the maths of a balance-based pool needs besides its balances; changes seldom, and never by a swap.

    ``scaling`` and ``weights`` have an entry per token of the key, in its order. ``scaling`` turns smallest units into
    eighteen decimals, as a fixed-point number with eighteen places: ``10 ** (36 - decimals)`` times the token's rate
    where it has one. ``fee`` is in units of 10 ** -18 for Balancer, of 10 ** -10 for StableSwap; ``admin_fee`` is the
    part of the fee that leaves the pool, in the same unit. Amplification is the present one: the contracts let it move
    with time, and a state stands for one block.
    """

    fee: Amount
    scaling: tuple[Amount, ...] = Field(min_length=2)
    weights: tuple[Amount, ...] = Field(default=(), description="normalised, eighteen places; weighted pools only")
    amplification: Amount = Field(default=0, description="in 1 / amplification_precision; stable pools only")
    amplification_precision: Amount = 1
    admin_fee: Amount = 0
    order: tuple[int, ...] = Field(
        default=(), description="positions of the contract's tokens in the key, where the contract does not sort them"
    )
    revision: int = Field(default=0, ge=0, description="of the contract's maths, where its versions round differently")


class BalancesState(Value):
    """Balances of a pool whose price follows from all of them, in the order of the key's tokens."""

    kind: Literal["balances"] = "balances"
    balances: tuple[Amount, ...] = Field(min_length=2)
    terms: BalanceTerms

    @model_validator(mode="after")
    def _consistent(self) -> BalancesState:
        count, terms = len(self.balances), self.terms
        if len(terms.scaling) != count or len(terms.weights) not in {0, count}:
            raise ValueError("every balance needs a scaling factor, and a weight where there are weights")
        if terms.order and sorted(terms.order) != list(range(count)):
            raise ValueError("the order names each token once")
        return self


PoolState = Annotated[ConstantProductState | ConcentratedState | BalancesState, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True, kw_only=True, config=CLOSED)
class Pool:
    """A pool with its state at some block."""

    key: PoolKey
    state: PoolState

    @classmethod
    def unchecked(cls, key: PoolKey, state: PoolState) -> Self:
        """A pool of parts that were checked where they came in."""
        made = _new(cls)
        _put_key(made, key)
        _put_state(made, state)
        return made

    def with_state(self, state: PoolState) -> Pool:
        """The same pool at another block, or after a swap that was only computed."""
        return Pool.unchecked(self.key, state)


@dataclass(frozen=True, slots=True, kw_only=True, config=CLOSED)
class ReservesDelta:
    """New reserves of a constant-product pool (absolute, so applying twice is harmless)."""

    kind: Literal["reserves"] = "reserves"
    pool: Address
    reserve0: Amount
    reserve1: Amount

    @classmethod
    def unchecked(cls, pool: str, reserve0: int, reserve1: int) -> Self:
        """A delta of fields that were checked where they came in."""
        made = _new(cls)
        _put_reserves_delta_kind(made, "reserves")
        _put_reserves_delta_pool(made, pool)
        _put_reserves_delta_reserve0(made, reserve0)
        _put_reserves_delta_reserve1(made, reserve1)
        return made


@dataclass(frozen=True, slots=True, kw_only=True, config=CLOSED)
class ConcentratedDelta:
    """New price, tick and active liquidity of a concentrated pool, and the ticks that changed.

    All values are absolute; a tick with ``liquidity_gross`` zero is no longer initialised.
    """

    kind: Literal["concentrated"] = "concentrated"
    pool: Address
    sqrt_price_x96: Amount
    tick: int
    liquidity: Amount
    ticks: tuple[Tick, ...] = ()

    @classmethod
    def unchecked(cls, pool: str, sqrt_price_x96: int, tick: int, liquidity: int, ticks: tuple[Tick, ...]) -> Self:
        """A delta of fields that were checked where they came in."""
        made = _new(cls)
        _put_concentrated_delta_kind(made, "concentrated")
        _put_concentrated_delta_pool(made, pool)
        _put_concentrated_delta_price(made, sqrt_price_x96)
        _put_concentrated_delta_tick(made, tick)
        _put_concentrated_delta_liquidity(made, liquidity)
        _put_concentrated_delta_ticks(made, ticks)
        return made


class BalancesDelta(Value):
    """New balances of a balance-based pool, all of them (absolute), and its terms where those changed."""

    kind: Literal["balances"] = "balances"
    pool: Address
    balances: tuple[Amount, ...] = Field(min_length=2)
    terms: BalanceTerms | None = None


PoolDelta = Annotated[ReservesDelta | ConcentratedDelta | BalancesDelta, Field(discriminator="kind")]

# The slots of the classes above. Only ``unchecked`` writes past the refusal of a frozen value, before anybody has it.
_new = object.__new__
_put_constant_kind = ConstantProductState.__dict__["kind"].__set__
_put_reserve0 = ConstantProductState.__dict__["reserve0"].__set__
_put_reserve1 = ConstantProductState.__dict__["reserve1"].__set__
_put_ticked_kind = ConcentratedState.__dict__["kind"].__set__
_put_sqrt_price = ConcentratedState.__dict__["sqrt_price_x96"].__set__
_put_tick = ConcentratedState.__dict__["tick"].__set__
_put_liquidity = ConcentratedState.__dict__["liquidity"].__set__
_put_ticks = ConcentratedState.__dict__["ticks"].__set__
_put_key = Pool.__dict__["key"].__set__
_put_state = Pool.__dict__["state"].__set__
_put_reserves_delta_kind = ReservesDelta.__dict__["kind"].__set__
_put_reserves_delta_pool = ReservesDelta.__dict__["pool"].__set__
_put_reserves_delta_reserve0 = ReservesDelta.__dict__["reserve0"].__set__
_put_reserves_delta_reserve1 = ReservesDelta.__dict__["reserve1"].__set__
_put_concentrated_delta_kind = ConcentratedDelta.__dict__["kind"].__set__
_put_concentrated_delta_pool = ConcentratedDelta.__dict__["pool"].__set__
_put_concentrated_delta_price = ConcentratedDelta.__dict__["sqrt_price_x96"].__set__
_put_concentrated_delta_tick = ConcentratedDelta.__dict__["tick"].__set__
_put_concentrated_delta_liquidity = ConcentratedDelta.__dict__["liquidity"].__set__
_put_concentrated_delta_ticks = ConcentratedDelta.__dict__["ticks"].__set__
