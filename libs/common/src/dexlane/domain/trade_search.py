"""The best way to sell an amount, or the most of it, as the routers can trade it: one path, or several when they bring
more after gas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from dexlane.domain.amm.quoting import InsufficientLiquidity
from dexlane.domain.circumstances import Market, PlanningRules
from dexlane.domain.rollup_fees import PERMIT_BYTES, dearest_rollup_fee_wei, expected_size
from dexlane.domain.routing import Errand, GasTerms, PoolGraph, best_on, best_split, out_per_wei
from dexlane.domain.selling import most_taken, pools_between, routes_between, sold_in_parts
from dexlane.domain.trade_quotes import TradeQuote, quote_trade
from dexlane.values.amounts import apply_bps
from dexlane.values.pools import Pool, Protocol
from dexlane.values.routes import Route

ROUTABLE = frozenset({Protocol.UNISWAP_V2, Protocol.UNISWAP_V3})
"""Protocols that our routers have calls for."""


class TradeSearch:
    """Searches on one state of the market; the graph of its pools is built once, when it is first asked for."""

    def __init__(self, market: Market, rules: PlanningRules, gas_price_wei: int) -> None:
        self._market = market
        self._rules = rules
        self._gas_price_wei = gas_price_wei
        self._worth: dict[str, tuple[int, int] | None] = {}

    def best(self, token_in: str, token_out: str, amount: int) -> TradeQuote | None:
        """What brings most for the whole amount; None when the pools cannot take it.

        A trade is split only when gas has a price in the token bought, and the split brings more after it. Taxed tokens
        are routed through pools that measure what arrives, as if they were not taxed, and then quoted with their tax;
        they are never split.
        """
        errand = Errand(token_in, token_out, amount, self._rules.max_legs)
        single = best_on(self._measuring if self._taxed(token_in, token_out) else self._graph, errand)
        found = [] if single is None else self._quoted([(single.route, amount)])
        gas = self._gas_terms(token_out)
        if self._rules.max_paths > 1 and gas is not None and not self._market.taxes.keys() & {token_in, token_out}:
            split = best_split(self._graph, errand, max_paths=self._rules.max_paths, gas=gas)
            if split is not None:
                routes = [(chain.as_route().route, chain.amount_in) for chain in split.chains]
                found += self._quoted(routes)
        return max(found, key=lambda quote: (self._net(quote, gas), -len(quote.paths)), default=None)

    def most(self, token_in: str, token_out: str, amount: int, spare_bps: int) -> TradeQuote | None:
        """As ``best``; where no route takes the whole amount, or a part of it brings more than all of it does, that
        part which brings most.

        What goes to the very end of a pool's liquidity no longer fits when others sell a little before us, so a part is
        smaller than the most that its routes take by ``spare_bps``. A taxed token is sold whole: the pools in which it
        can be sold take any amount.
        """
        whole = self.best(token_in, token_out, amount)
        if self._taxed(token_in, token_out) or (whole is not None and not self._is_short(token_in, token_out, amount)):
            return whole
        part = self._part(token_in, token_out, amount, spare_bps)
        return part if part is not None and (whole is None or part.amount_out > whole.amount_out) else whole

    def is_better(self, found: TradeQuote, than: TradeQuote, token_out: str) -> bool:
        """Whether one trade brings more than another; after gas when one of them is split."""
        if len(found.paths) == len(than.paths):
            return found.amount_out > than.amount_out
        gas = self._gas_terms(token_out)
        return self._net(found, gas) > self._net(than, gas)

    def _part(self, token_in: str, token_out: str, amount: int, spare_bps: int) -> TradeQuote | None:
        """What the routes that bring most for a part take together, as many as a trade may have paths."""
        legs = min(2, self._rules.max_legs)
        pools = self._routable(pools_between(self._market.pools, token_in, token_out, legs))
        parts = sold_in_parts(pools, routes_between(pools, token_in, token_out, legs), amount).parts
        kept = [part.route for part in parts[: self._rules.max_paths]]
        sold = sold_in_parts(pools, kept, amount)
        # Sold at once, what fills a pool may be a few units too much for it: then it needs room as well.
        for spare in (spare_bps,) if sold.rest else (0, spare_bps):
            amounts = [(part.route, part.amount_in - apply_bps(part.amount_in, spare)) for part in sold.parts]
            found = self._quoted([one for one in amounts if one[1]]) if amounts else []
            if found:
                return found[0]
        return None

    def _is_short(self, token_in: str, token_out: str, amount: int) -> bool:
        """Whether a pool takes less than the whole amount, so that a part may bring more in it."""
        pools = self._routable(pools_between(self._market.pools, token_in, token_out, 1))
        found = [most_taken(pools, route, amount) for route in routes_between(pools, token_in, token_out, 1)]
        return any(quote is not None and quote.amount_in < amount for quote in found)

    @staticmethod
    def _routable(pools: Mapping[str, Pool]) -> dict[str, Pool]:
        return {address: pool for address, pool in pools.items() if pool.key.protocol in ROUTABLE}

    def _taxed(self, *tokens: str) -> bool:
        return any(self._market.taxes.get(token) for token in tokens)

    @cached_property
    def _graph(self) -> PoolGraph:
        return PoolGraph(pool for pool in self._market.pools.values() if pool.key.protocol in ROUTABLE)

    @cached_property
    def _measuring(self) -> PoolGraph:
        return PoolGraph(pool for pool in self._market.pools.values() if pool.key.protocol is Protocol.UNISWAP_V2)

    def _gas_terms(self, token_out: str) -> GasTerms | None:
        wrapped = self._market.wrapped_native
        if wrapped is None or self._rules.max_paths == 1:
            return None
        if token_out not in self._worth:
            self._worth[token_out] = (1, 1) if wrapped == token_out else out_per_wei(self._graph, wrapped, token_out)
        worth = self._worth[token_out]
        if worth is None:
            return None
        terms = self._market.data_fee
        if terms is None:
            return GasTerms(self._gas_price_wei, worth)

        def data_fee_wei(signed_bytes: int) -> int:
            """What a rollup takes for a trade of so many bytes."""
            return dearest_rollup_fee_wei(terms, expected_size(PERMIT_BYTES + signed_bytes), 0)

        return GasTerms(self._gas_price_wei, worth, data_fee_wei)

    def _quoted(self, routes: Sequence[tuple[Route, int]]) -> list[TradeQuote]:
        try:
            quote = quote_trade(self._market.pools, routes, self._market.taxes)
        except InsufficientLiquidity:
            return []
        return [quote] if all(path.amount_out > 0 for _, path in quote.paths) else []

    @staticmethod
    def _net(quote: TradeQuote, gas: GasTerms | None) -> int:
        if gas is None:
            return quote.amount_out
        return quote.amount_out - gas.cost(quote.gas, [route.legs for route, _ in quote.paths])
