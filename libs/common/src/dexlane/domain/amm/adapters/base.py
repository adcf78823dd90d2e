"""What every pool adapter answers: a state goes in; amount, gas and the next state come out."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from dexlane.values.pools import Pool, PoolState


class Quote(NamedTuple):
    """What one pool does with an order, in smallest units.

    ``amount_in`` includes ``fee_amount``, which is in the token paid in. ``gas`` is the leg alone, without what the
    transaction around it costs. With ``partial`` the pool ran out of liquidity: the amounts are what it really moves.
    """

    amount_in: int
    amount_out: int
    fee_amount: int
    gas: int
    next_state: PoolState
    partial: bool


class Pair(NamedTuple):
    """The two tokens of an order, by address: what is paid in and what is taken out."""

    token_in: str
    token_out: str


class Adapter(Protocol):
    """The maths of one protocol, equal to the wei to its deployed contracts. Adapters show nothing of earlier calls.

    Amounts are at least one. Both quotes raise ``InsufficientLiquidity`` when the contract would revert or no token
    would move. Callers have checked that the pool trades the pair.
    """

    def exact_in(self, pool: Pool, pair: Pair, amount_in: int) -> Quote:
        """Sell exactly ``amount_in``; a pool with ticks that cannot take all of it fills in part."""
        ...

    def exact_out(self, pool: Pool, pair: Pair, amount_out: int) -> Quote:
        """Buy exactly ``amount_out``; a pool with ticks that holds less fills in part."""
        ...

    def spot_price(self, pool: Pool, pair: Pair) -> tuple[int, int]:
        """The marginal price before fee as (numerator, denominator): units of ``token_out`` per unit of ``token_in``.

        Either is zero when the pool has no price.
        """
        ...

    def virtual_reserves(self, pool: Pool, pair: Pair) -> tuple[int, int]:
        """Reserves (in, out) of the constant-product pool that prices alike near the present price, before fee."""
        ...
