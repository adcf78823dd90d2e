"""Which pool of a token is traded: the one that is asked for, or the first that holds anything.

An exchange's word about itself counts, a pool's does not: a pool is taken only when the factory of a known router
names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dexlane.chain.deployments import deployments
from dexlane.chain.link import Request
from dexlane.chain.token_check.asking import Node, NoSubjectError, address_of, bytes_of, number_of, views, word_of
from dexlane.chain.token_check.probe import call, selector
from dexlane.chain.token_check.venues import Pool, UniswapV2, UniswapV3
from dexlane.domain.amm.tick_math import Q96

Family = Literal["uniswap_v2", "uniswap_v3"]
FAMILIES: tuple[Family, ...] = ("uniswap_v2", "uniswap_v3")
FEES_PIPS = (100, 500, 3_000, 10_000)
"""The fees that Uniswap V3's factory allows by default on the chains that are known here."""
_SINGLE = selector("exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))")
_SINGLE_BY_DEADLINE = selector("exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))")


@dataclass(frozen=True, slots=True)
class Market:
    """A router of an exchange, and of Uniswap V3's kind the contract that quotes for it."""

    family: Family
    router: str
    quoter: str | None = None


@dataclass(frozen=True, slots=True)
class Where:
    """Where a token may be traded: ``markets`` in the order they are looked at, ``quotes`` besides the wrapped coin.
    With ``pool`` in that pool alone. ``chain_id``: whose factories and lockers are known; without it none is."""

    markets: tuple[Market, ...]
    quotes: tuple[str, ...] = ()
    pool: str | None = None
    chain_id: int = 0


def known_markets(chain_id: int) -> tuple[Market, ...]:
    """Every exchange of a chain that a check can trade at, Uniswap's own first; none on an unknown chain."""
    found = [
        (exchange.name != exchange.family, FAMILIES.index(family), Market(family, exchange.router, exchange.quoter))
        for exchange in deployments().exchanges
        for family in FAMILIES
        if exchange.chain_id == chain_id and exchange.family == family and exchange.router is not None
        if family == "uniswap_v2" or exchange.quoter is not None
    ]
    return tuple(market for _, _, market in sorted(found, key=lambda each: each[:2]))


def known_quotes(chain_id: int) -> tuple[str, ...]:
    """The stable coins of a chain that tokens are tried against besides the wrapped coin."""
    try:
        return tuple(quote.address for quote in deployments().chain(chain_id).quote_tokens)
    except KeyError:
        return ()


@dataclass(frozen=True, slots=True)
class Exchange:
    """A market, and what its router says of itself."""

    market: Market
    factory: str
    wrapped: str
    deadline: bool


@dataclass(frozen=True, slots=True)
class Traded:
    """The pool that is traded, and the exchange's own contracts, which have no say in a token."""

    pool: Pool
    contracts: frozenset[str]


async def find_pool(node: Node, token: str, where: Where, at: str) -> Traded:
    """The pool to trade in. ``NoSubjectError`` when there is none; ``RpcError`` when the node refuses to say."""
    exchanges = await _exchanges(node, where.markets, at)
    if where.pool is not None:
        return await _pinned(node, token, where.pool, exchanges, at)
    sentences = []
    for exchange in exchanges:
        quotes = [quote for quote in dict.fromkeys((exchange.wrapped, *where.quotes)) if quote != token]
        try:
            return await _find(node, exchange, token, quotes, at)
        except NoSubjectError as error:
            sentences.append(str(error))
    raise NoSubjectError(sentences[0])


async def _exchanges(node: Node, markets: Sequence[Market], at: str) -> list[Exchange]:
    """The exchanges whose routers answer as routers do; ``NoSubjectError`` when none does."""
    questions: list[Request] = [("eth_getCode", (market.router, at)) for market in markets]
    for market in markets:
        wrapped = "WETH()" if market.family == "uniswap_v2" else "WETH9()"
        questions += views(at, (market.router, call("factory()")), (market.router, call(wrapped)))
    answers = await node.batch(questions)
    found = []
    for index, market in enumerate(markets):
        code, pair = bytes_of(answers[index]), answers[len(markets) + 2 * index :][:2]
        factory, wrapped_coin = address_of(pair[0]), address_of(pair[1])
        trades = market.family == "uniswap_v2" or (_SINGLE in code or _SINGLE_BY_DEADLINE in code)
        if factory and wrapped_coin and trades:
            found.append(Exchange(market, factory, wrapped_coin, _SINGLE not in code))
    if not markets:
        raise NoSubjectError("no exchange is known that it could be traded at")
    if not found:
        family = markets[0].family.replace("uniswap_v", "Uniswap V")
        raise NoSubjectError(f"{markets[0].router} does not answer as a router of {family} does")
    return found


async def _pinned(node: Node, token: str, pool: str, exchanges: Sequence[Exchange], at: str) -> Traded:
    """One pool by its address, where the factory of an exchange names it."""
    names = ("token0()", "token1()", "factory()", "fee()")
    told = await node.batch(views(at, *((pool, call(name)) for name in names)))
    first, second, factory, fee = *(address_of(answer) for answer in told[:3]), number_of(told[3])
    if first is None or second is None or token not in (first, second):
        raise NoSubjectError(f"pool {pool} does not trade it")
    quote = second if first == token else first
    for exchange in exchanges:
        v3 = exchange.market.family == "uniswap_v3"
        if exchange.factory != factory or v3 != (fee is not None):
            continue
        for candidate in await _candidates(node, exchange, token, [quote], ((fee or 0,) if v3 else (), at)):
            if candidate.pair == pool:
                return Traded(await _paid_for(node, exchange, candidate, at), _contracts(exchange))
    raise NoSubjectError(f"pool {pool} belongs to no exchange that a check can trade at, or holds nothing")


async def _find(node: Node, exchange: Exchange, token: str, quotes: Sequence[str], at: str) -> Traded:
    """The pool with the wrapped coin if it has anything, else the first with another quote; of several fees the one
    that holds most."""
    found = await _candidates(node, exchange, token, quotes, (FEES_PIPS, at))
    for quote in quotes:
        ours = [pool for pool in found if pool.quote == quote]
        if ours:
            best = max(ours, key=lambda pool: pool.reserve_quote)
            return Traded(await _paid_for(node, exchange, best, at), _contracts(exchange))
    raise NoSubjectError("no pool of it holds anything")


def _contracts(exchange: Exchange) -> frozenset[str]:
    named = (exchange.market.router, exchange.market.quoter, exchange.factory, exchange.wrapped)
    return frozenset(each for each in named if each is not None)


async def _candidates(
    node: Node, exchange: Exchange, token: str, quotes: Sequence[str], how: tuple[Sequence[int], str]
) -> list[Pool]:
    """The pools of the token with these quotes that hold anything of both. ``NoSubjectError`` where there is none."""
    fees, at = how
    v3 = exchange.market.family == "uniswap_v3"
    asked = [(quote, fee) for quote in quotes for fee in (fees if v3 else (0,))]
    name, places = ("getPool(address,address,uint24)", 3) if v3 else ("getPair(address,address)", 2)
    calls = ((exchange.factory, call(name, *(token, quote, fee)[:places])) for quote, fee in asked)
    answers = await node.batch(views(at, *calls))
    pools = [(*each, pool) for each, answer in zip(asked, answers, strict=True) if (pool := address_of(answer))]
    if not pools:
        raise NoSubjectError("the router's factory knows no pool of it")
    looks = [look for quote, _, pool in pools for look in (_v3_looks(token, quote, pool) if v3 else _v2_looks(pool))]
    told = await node.batch(views(at, *looks))
    width, found = len(looks) // len(pools), []
    for index, (quote, fee, pool) in enumerate(pools):
        state = told[index * width : (index + 1) * width]
        reserves = (_v3_reserves if v3 else _v2_reserves)(state, int(quote, 16) < int(token, 16))
        if min(reserves) > 0:
            venue = _v3(exchange, fee) if v3 else UniswapV2(exchange.market.router)
            found.append(Pool(venue, exchange.wrapped, quote, pool, *reserves))
    return found


def _v3(exchange: Exchange, fee_pips: int) -> UniswapV3:
    return UniswapV3(exchange.market.router, exchange.market.quoter or "", fee_pips, exchange.deadline)


def _v2_looks(pool: str) -> list[tuple[str, bytes]]:
    return [(pool, call("getReserves()"))]


def _v3_looks(token: str, quote: str, pool: str) -> list[tuple[str, bytes]]:
    balances = [(each, call("balanceOf(address)", pool)) for each in (quote, token)]
    return [(pool, call("slot0()")), (pool, call("liquidity()")), *balances]


def _v2_reserves(state: Sequence[Any], quote_first: bool) -> tuple[int, int]:
    """Reserves of the quote and of the token."""
    first, second = word_of(state[0], 0) or 0, word_of(state[0], 1) or 0
    return (first, second) if quote_first else (second, first)


def _v3_reserves(state: Sequence[Any], quote_first: bool) -> tuple[int, int]:
    """Of a constant product of the same price, at most what lies around the price and what the pool holds of either.

    Virtual reserves are L / sqrt(P) and L * sqrt(P) (Uniswap V3 white paper, 6.1).
    """
    root, liquidity, quote_held, token_held = (number_of(answer) or 0 for answer in state)
    if not (root and liquidity and quote_held and token_held):
        return 0, 0
    virtual = (liquidity * Q96 // root, liquidity * root // Q96)
    quote, token = virtual if quote_first else virtual[::-1]
    if not (quote and token):
        return 0, 0
    least = min(quote, quote_held, token_held * quote // token)
    return least, least * token // quote


async def _paid_for(node: Node, exchange: Exchange, pool: Pool, at: str) -> Pool:
    """With the way to buy another quote than the wrapped coin: the fee of the pool of both that has most liquidity."""
    if not isinstance(pool.venue, UniswapV3) or pool.quote == pool.wrapped:
        return pool
    pair, name = (pool.wrapped, pool.quote), "getPool(address,address,uint24)"
    calls = ((exchange.factory, call(name, *pair, fee)) for fee in FEES_PIPS)
    pools = [address_of(answer) or exchange.factory for answer in await node.batch(views(at, *calls))]
    told = await node.batch(views(at, *((each, call("liquidity()")) for each in pools)))
    depths = [(number_of(answer) or 0, fee) for answer, fee in zip(told, FEES_PIPS, strict=True)]
    most, bridge = max(depths)
    if most == 0:
        raise NoSubjectError(f"its pool is with {pool.quote}, which cannot be bought with the wrapped coin")
    v3 = pool.venue
    venue = UniswapV3(v3.router, v3.quoter, v3.fee_pips, v3.deadline, bridge)
    return Pool(venue, pool.wrapped, pool.quote, pool.pair, pool.reserve_quote, pool.reserve_token)
