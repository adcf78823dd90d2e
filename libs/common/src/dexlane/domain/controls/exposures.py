"""Limits on what may be held: by token, pool, strategy, book and chain. Trades under way count as if they were held."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dexlane.domain.circumstances import Holdings
from dexlane.domain.controls.bounds import Bound, share_bound, unknown
from dexlane.domain.controls.facts import Candidate, OpenTrade
from dexlane.events.portfolio import ExposurePart
from dexlane.values.amounts import apply_bps
from dexlane.values.books import Book
from dexlane.values.routes import Route


def exposure_bounds(trade: Candidate, book: Book, holdings: Holdings) -> Iterator[Bound]:
    """What each limit leaves for an entry or a gap. A gap holds neither token nor pool afterwards."""
    controls, exposure = book.controls_in_force, holdings.exposure
    route, strategy, capital = trade.route, trade.strategy, trade.capital
    if exposure is None:
        return  # no trade is made without it, whatever the controls say
    trades = holdings.reserved.trades
    if controls.max_book_bps is not None:
        used = exposure.at_work + holdings.reserved.capital
        yield share_bound("book_exposure", "the book", used, apply_bps(capital, controls.max_book_bps), book)
    if controls.max_chain_bps is not None:
        yield from _of_chain(controls.max_chain_bps, book, holdings)
    by_part = (controls.max_token_bps, controls.max_pool_bps, controls.max_strategy_bps)
    if by_part == (None, None, None):
        return
    if exposure.parts is None:
        yield from unknown("parts_unknown", "what the book holds by token, pool and strategy is not known yet")
        return
    held = _Held(exposure.parts, trades)
    if controls.max_strategy_bps is not None:
        used = held.by(lambda part: part.strategy == strategy, lambda trade: trade.strategy == strategy)
        limit = apply_bps(capital, controls.max_strategy_bps)
        yield share_bound("strategy_exposure", f"the strategy {strategy}", used, limit, book)
    if not route.is_cycle:
        yield from _of_position(route, capital, book, held)


class _Held:
    """What is held, with what is under way."""

    def __init__(self, parts: tuple[ExposurePart, ...], trades: tuple[OpenTrade, ...]) -> None:
        self._parts = parts
        self._trades = trades

    def by(self, of_part: Callable[[ExposurePart], bool], of_trade: Callable[[OpenTrade], bool]) -> int:
        """The cost of some of it, quote units."""
        held = sum(part.cost for part in self._parts if of_part(part))
        return held + sum(trade.amount for trade in self._trades if of_trade(trade))


def _of_position(route: Route, capital: int, book: Book, held: _Held) -> Iterator[Bound]:
    controls, token = book.controls_in_force, route.token_out
    if controls.max_token_bps is not None:
        used = held.by(lambda part: part.token == token, lambda trade: trade.token == token)
        limit = apply_bps(capital, controls.max_token_bps)
        yield share_bound("token_exposure", f"the token {token}", used, limit, book)
    if controls.max_pool_bps is not None:
        limit = apply_bps(capital, controls.max_pool_bps)
        for pool in dict.fromkeys(leg.pool for leg in route.legs):
            yield share_bound("pool_exposure", f"the pool {pool}", _in_pool(pool, held), limit, book)


def _in_pool(pool: str, held: _Held) -> int:
    """What would be sold in this pool; of what nobody knows where it would be sold, all counts."""
    return held.by(lambda part: part.pool in {None, pool}, lambda trade: pool in trade.pools)


def _of_chain(limit_bps: int, book: Book, holdings: Holdings) -> Iterator[Bound]:
    chain = holdings.chain
    if chain is None or chain.used is None:
        yield from unknown("chain_unknown", "what the other books of the chain have at work is not known yet")
        return
    limit = apply_bps(chain.capital, limit_bps)
    yield share_bound("chain_exposure", f"chain {book.chain_id} with all its books", chain.used, limit, book)
