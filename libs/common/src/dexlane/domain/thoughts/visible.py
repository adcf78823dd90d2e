"""Which pools a decision could have looked at: those of a big market that it may have been computed from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations

from dexlane.domain.circumstances import Market, PlanningRules
from dexlane.domain.controls.collar import REFERENCE_LEGS
from dexlane.domain.dollars import stablecoins
from dexlane.domain.pool_book import PoolBook
from dexlane.domain.routing import GAS_PRICE_LEGS
from dexlane.events.portfolio import ExitTriggered
from dexlane.events.risk import VerdictApproved
from dexlane.values.books import Book
from dexlane.values.pools import Pool


@dataclass(frozen=True, slots=True)
class Search:
    """A search for routes: every walk of at most ``legs`` legs from one token to another may have been looked at."""

    token_in: str
    token_out: str
    legs: int


def seen_market(cause: VerdictApproved | ExitTriggered, book: Book, market: Market, rules: PlanningRules) -> Market:
    """The market with those pools alone that planning could have looked at: it gives the same plan."""
    quote = market.traded_as(book.quote.address)
    wrapped = market.wrapped_native
    tokens = {quote, *(() if wrapped is None else (wrapped,)), *tokens_about(cause), *stablecoins(market.chain_id)}
    start, goal = (cause.token.address, quote) if isinstance(cause, ExitTriggered) else _ends(cause)
    searches = [] if start == goal else [Search(start, goal, max(rules.max_legs, REFERENCE_LEGS))]
    if wrapped is not None and rules.max_paths > 1:
        searches.append(Search(wrapped, goal, GAS_PRICE_LEGS))
    return replace(market, pool_book=PoolBook.of(seen_pools(market.pools, tokens, searches)))


def tokens_about(cause: VerdictApproved | ExitTriggered) -> tuple[str, ...]:
    """What a cause wants to pay, pass and buy, each once."""
    if isinstance(cause, ExitTriggered):
        return (cause.token.address, cause.quote.address)
    route = cause.opportunity.route
    return tuple(dict.fromkeys([route.token_in, *(leg.token_out for leg in route.legs)]))


def _ends(verdict: VerdictApproved) -> tuple[str, str]:
    route = verdict.opportunity.route
    return route.token_in, route.token_out


def seen_pools(pools: Mapping[str, Pool], tokens: set[str], searches: Iterable[Search] = ()) -> dict[str, Pool]:
    """Pools that trade two of the tokens, and pools that a walk of one of the searches could pass."""
    seen = {address: pool for address, pool in pools.items() if len(tokens.intersection(_tokens(pool))) > 1}
    for search in searches:
        if search.legs > 1:
            seen.update(_on_walks(pools, search))
    return seen


def _on_walks(pools: Mapping[str, Pool], search: Search) -> Iterator[tuple[str, Pool]]:
    neighbours: dict[str, set[str]] = {}
    for pool in pools.values():
        for token in _tokens(pool):
            neighbours.setdefault(token, set()).update(_tokens(pool))
    behind = _distances(neighbours, search.token_in, search.legs)
    ahead = _distances(neighbours, search.token_out, search.legs)
    for address, pool in pools.items():
        pairs = permutations(_tokens(pool), 2)
        # A walk comes to the first token, trades it here for the second, and still has to arrive.
        if any(
            one in behind and other in ahead and behind[one] + 1 + ahead[other] <= search.legs for one, other in pairs
        ):
            yield address, pool


def _distances(neighbours: Mapping[str, set[str]], start: str, most: int) -> dict[str, int]:
    found, newest = {start: 0}, {start}
    for distance in range(1, most):
        newest = {other for token in newest for other in neighbours.get(token, ())} - found.keys()
        found.update(dict.fromkeys(newest, distance))
    return found


def _tokens(pool: Pool) -> tuple[str, ...]:
    key = pool.key
    return (key.token0.address, key.token1.address, *(token.address for token in key.more_tokens))
