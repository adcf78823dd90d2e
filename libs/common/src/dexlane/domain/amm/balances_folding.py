"""All changes of a balance-based pool in one block, folded into one delta."""

from __future__ import annotations

from typing import cast

from dexlane.domain.amm.adapters import ADAPTERS, Pair
from dexlane.domain.amm.adapters.stableswap import FEE_DENOMINATOR
from dexlane.domain.amm.changes import (
    BalancesMoved,
    CoinsExchanged,
    LiquidityShifted,
    PoolChange,
    SwapFeeChanged,
    TermsChanged,
)
from dexlane.domain.amm.deltas import InconsistentDelta
from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.values.pools import BalancesDelta, BalancesState, Pool


class BalancesFold:
    """A balance-based pool: balances moved by amounts, exchanges computed again and held against their event."""

    __slots__ = ("_before", "_moved", "_places", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._before = cast("BalancesState", pool.state)
        self._places = {token.address: place for place, token in enumerate(pool.key.tokens)}
        self._moved = [0] * len(self._places)

    def take(self, change: PoolChange, /) -> None:
        """The next change. Raises ``InconsistentDelta`` where only the pool itself can say what it holds now."""
        if isinstance(change, BalancesMoved):
            self._move(change)
        elif isinstance(change, CoinsExchanged):
            self._exchange(change)
        elif isinstance(change, LiquidityShifted):
            self._shift(change)
        elif isinstance(change, SwapFeeChanged):
            terms = self._state.terms.model_copy(update={"fee": change.fee})
            self._become(self._state.model_copy(update={"terms": terms}))
        elif isinstance(change, TermsChanged):
            raise InconsistentDelta(f"pool {self._pool.key.address} has to be read anew: {change.why}")
        else:
            raise InconsistentDelta(f"a {type(change).__name__} event cannot happen to pool {self._pool.key.address}")

    def moved(self) -> tuple[int, ...]:
        """Gross amounts of each token."""
        return tuple(self._moved)

    def delta(self) -> BalancesDelta:
        """The balances after the last change, and the terms if they changed."""
        state = self._state
        return BalancesDelta(
            pool=self._pool.key.address,
            balances=state.balances,
            terms=None if state.terms == self._before.terms else state.terms,
        )

    @property
    def _state(self) -> BalancesState:
        return cast("BalancesState", self._pool.state)

    def _become(self, state: BalancesState) -> None:
        if min(state.balances) < 0:
            raise InconsistentDelta(f"more left pool {self._pool.key.address} than it held")
        self._pool = self._pool.with_state(state)

    def _move(self, change: BalancesMoved) -> None:
        # A composable pool's own token is not among the places: it moves without changing what is priced.
        balances = list(self._state.balances)
        for token, amount in change.moves:
            place = self._places.get(token)
            if place is not None:
                balances[place] += amount
                self._moved[place] += abs(amount) if change.traded else 0
        self._become(self._state.model_copy(update={"balances": tuple(balances)}))

    def _exchange(self, change: CoinsExchanged) -> None:
        sold, bought = self._coin(change.sold_id), self._coin(change.bought_id)
        tokens = self._pool.key.tokens
        pair = Pair(tokens[sold].address, tokens[bought].address)
        try:
            quote = ADAPTERS[self._pool.key.protocol].exact_in(self._pool, pair, change.sold)
        except InsufficientLiquidity as error:
            raise InconsistentDelta(f"an exchange in pool {self._pool.key.address} cannot follow: {error}") from error
        if quote.amount_out != change.bought:
            raise InconsistentDelta(
                f"pool {self._pool.key.address} gave {change.bought} where {quote.amount_out} follows: read it anew"
            )
        self._moved[sold] += change.sold
        self._moved[bought] += change.bought
        self._become(cast("BalancesState", quote.next_state))

    def _shift(self, change: LiquidityShifted) -> None:
        if not len(change.amounts) == len(change.fees) == len(self._places):
            raise InconsistentDelta(f"pool {self._pool.key.address} has another number of coins than its event")
        balances = list(self._state.balances)
        for coin, (amount, fee) in enumerate(zip(change.amounts, change.fees, strict=True)):
            balances[self._coin(coin)] += amount - fee * self._state.terms.admin_fee // FEE_DENOMINATOR
        self._become(self._state.model_copy(update={"balances": tuple(balances)}))

    def _coin(self, number: int) -> int:
        """The place in the key of a coin of the contract."""
        order = self._state.terms.order or range(len(self._places))
        if number >= len(order):
            raise InconsistentDelta(f"pool {self._pool.key.address} has no coin {number}")
        return order[number]
