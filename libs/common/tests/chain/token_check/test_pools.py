"""Which pool a check trades in, and how its routers are asked: only pools that a known factory names count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dexlane.chain.abi import Frame
from dexlane.chain.link import RpcError
from dexlane.chain.token_check.asking import NoSubjectError
from dexlane.chain.token_check.pools import Market, Where, find_pool
from dexlane.chain.token_check.probe import call, selector
from dexlane.chain.token_check.venues import PURSE_WEI, UniswapV2, UniswapV3
from dexlane.domain.amm.tick_math import Q96
from dexlane.testing.told_node import ToldNode

TOKEN, WETH, USDC = "0x" + "7" * 40, "0x" + "c" * 40, "0x" + "a" * 40
V2_ROUTER, V3_ROUTER, QUOTER = "0x" + "21" * 20, "0x" + "31" * 20, "0x" + "32" * 20
V2_FACTORY, V3_FACTORY = "0x" + "2f" * 20, "0x" + "3f" * 20
PAIR, POOL, WIDE = "0x" + "b1" * 20, "0x" + "b2" * 20, "0x" + "b3" * 20
SINGLE = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))"
SINGLE_BY_DEADLINE = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))"
V2, V3 = Market("uniswap_v2", V2_ROUTER), Market("uniswap_v3", V3_ROUTER, QUOTER)


class Exchanges(ToldNode):
    """Contracts that answer calls by their data; nothing else is told."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.answers: dict[tuple[str, str], list[int]] = {}
        self.codes: dict[str, bytes] = {}

    def _answer(self, method: str, params: Sequence[Any]) -> Any:
        if method == "eth_getCode":
            return "0x" + self.codes.get(params[0], b"").hex()
        assert method == "eth_call"
        words = self.answers.get((params[0]["to"], params[0]["data"]))
        return RpcError(3, "reverted") if words is None else "0x" + "".join(f"{word:064x}" for word in words)

    def tells(self, to: str, data: bytes, *words: int | str) -> None:
        """What a contract says."""
        self.answers[to, "0x" + data.hex()] = [int(word, 16) if isinstance(word, str) else word for word in words]

    def v2(self) -> None:
        """A V2 exchange without any pool."""
        self.tells(V2_ROUTER, call("factory()"), V2_FACTORY)
        self.tells(V2_ROUTER, call("WETH()"), WETH)

    def v3(self, function: str = SINGLE) -> None:
        """A V3 exchange without any pool."""
        self.tells(V3_ROUTER, call("factory()"), V3_FACTORY)
        self.tells(V3_ROUTER, call("WETH9()"), WETH)
        self.codes[V3_ROUTER] = b"\x63" + selector(function)

    def pool(self, address: str, fee: int, quote: str = WETH, *, liquidity: int = 10**21, held: int = 10**20) -> None:
        """A V3 pool at a price of one."""
        self.tells(V3_FACTORY, call("getPool(address,address,uint24)", TOKEN, quote, fee), address)
        self.tells(address, call("slot0()"), Q96)
        self.tells(address, call("liquidity()"), liquidity)
        self.tells(quote, call("balanceOf(address)", address), held)
        self.tells(TOKEN, call("balanceOf(address)", address), 10**22)
        for name, word in (("token0()", TOKEN), ("token1()", quote), ("factory()", V3_FACTORY), ("fee()", fee)):
            self.tells(address, call(name), word)

    def pair(self) -> None:
        """A V2 pair."""
        self.tells(V2_FACTORY, call("getPair(address,address)", TOKEN, WETH), PAIR)
        self.tells(PAIR, call("getReserves()"), 5 * 10**24, 3 * 10**20)
        for name, word in (("token0()", TOKEN), ("token1()", WETH), ("factory()", V2_FACTORY)):
            self.tells(PAIR, call(name), word)

    async def found(self, *markets: Market, pool: str | None = None) -> Any:
        """The pool that a check would trade in."""
        return await find_pool(self, TOKEN, Where(markets or (V2, V3), (USDC,), pool), "latest")


@pytest.fixture
def exchanges() -> Exchanges:
    made = Exchanges()
    made.v2()
    made.v3()
    return made


async def test_a_pair_of_v2_goes_before_pools_of_v3_unless_one_is_named(exchanges: Exchanges) -> None:
    exchanges.pair()
    exchanges.pool(POOL, 3_000)
    first, named = await exchanges.found(), await exchanges.found(pool=POOL)
    assert (first.pool.pair, first.pool.venue) == (PAIR, UniswapV2(V2_ROUTER))
    assert (first.pool.reserve_quote, first.pool.reserve_token) == (3 * 10**20, 5 * 10**24)
    assert (named.pool.pair, named.pool.venue) == (POOL, UniswapV3(V3_ROUTER, QUOTER, 3_000))
    assert named.contracts == {V3_ROUTER, QUOTER, V3_FACTORY, WETH}
    assert (await exchanges.found(pool=PAIR)).pool == first.pool


async def test_of_several_fees_the_pool_that_holds_most_is_taken(exchanges: Exchanges) -> None:
    exchanges.pool(POOL, 3_000, held=10**20)
    exchanges.pool(WIDE, 10_000, held=10**21)
    found = (await exchanges.found()).pool
    assert (found.pair, found.venue.fee_pips) == (WIDE, 10_000)


async def test_reserves_of_a_concentrated_pool_are_no_more_than_lies_around_the_price_and_is_there(
    exchanges: Exchanges,
) -> None:
    exchanges.pool(POOL, 3_000, liquidity=10**30, held=10**20)
    deep = (await exchanges.found()).pool
    assert (deep.reserve_quote, deep.reserve_token) == (10**20, 10**20)
    exchanges.pool(POOL, 3_000, liquidity=10**15, held=10**20)
    assert (await exchanges.found()).pool.reserve_quote == 10**15


async def test_another_quote_is_bought_where_it_has_most_liquidity(exchanges: Exchanges) -> None:
    exchanges.pool(POOL, 500, USDC)
    with pytest.raises(NoSubjectError, match="cannot be bought with the wrapped coin"):
        await exchanges.found(V3)
    for fee, liquidity in ((500, 7), (3_000, 9)):
        bridge = f"0x{fee:040x}"
        exchanges.tells(V3_FACTORY, call("getPool(address,address,uint24)", WETH, USDC, fee), bridge)
        exchanges.tells(bridge, call("liquidity()"), liquidity)
    venue = (await exchanges.found(V3)).pool.venue
    assert venue == UniswapV3(V3_ROUTER, QUOTER, 500, bridge_pips=3_000)


async def test_a_pool_that_no_factory_names_is_none(exchanges: Exchanges) -> None:
    exchanges.pool(POOL, 3_000)
    exchanges.tells(V3_FACTORY, call("getPool(address,address,uint24)", TOKEN, WETH, 3_000), WIDE)
    with pytest.raises(NoSubjectError, match="belongs to no exchange"):
        await exchanges.found(pool=POOL)
    exchanges.tells(POOL, call("factory()"), "0x" + "99" * 20)
    with pytest.raises(NoSubjectError, match="belongs to no exchange"):
        await exchanges.found(pool=POOL)
    with pytest.raises(NoSubjectError, match="does not trade it"):
        await exchanges.found(pool="0x" + "12" * 20)


async def test_what_is_empty_or_unknown_is_said(exchanges: Exchanges) -> None:
    with pytest.raises(NoSubjectError, match="knows no pool"):
        await exchanges.found()
    exchanges.pool(POOL, 3_000, held=0)
    with pytest.raises(NoSubjectError, match="no pool of it holds anything"):
        await exchanges.found(V3)
    with pytest.raises(NoSubjectError, match="no exchange is known"):
        await find_pool(exchanges, TOKEN, Where(()), "latest")
    exchanges.codes[V3_ROUTER] = b""
    with pytest.raises(NoSubjectError, match="does not answer as a router of Uniswap V3 does"):
        await exchanges.found(V3)


async def test_the_older_router_of_v3_is_asked_with_a_deadline(exchanges: Exchanges) -> None:
    exchanges.v3(SINGLE_BY_DEADLINE)
    exchanges.pool(POOL, 3_000)
    venue = (await exchanges.found(V3)).pool.venue
    data = venue.swap(5, (TOKEN, WETH), QUOTER)
    assert data[:4].hex() == "414bf389"
    assert Frame(data[4:]).uint(venue.swap_amount_at) == 5
    assert venue.acquire(WETH, USDC, 6, QUOTER)[:4].hex() == "db3e2198"


def test_calls_are_those_of_the_published_interfaces() -> None:
    venue = UniswapV3(V3_ROUTER, QUOTER, 500, bridge_pips=3_000)
    swap, bought, quote = (
        venue.swap(5, (TOKEN, WETH), QUOTER),
        venue.acquire(WETH, USDC, 6, QUOTER),
        venue.quote(7, (TOKEN, WETH)),
    )
    assert [swap[:4].hex(), bought[:4].hex(), quote.data[:4].hex()] == ["04e45aaf", "5023b4df", "c6a5026a"]
    words = Frame(swap[4:])
    assert [words.address(0), words.address(1), words.uint(2), words.address(3)] == [TOKEN, WETH, 500, QUOTER]
    assert [words.uint(venue.swap_amount_at), words.uint(5), words.uint(6)] == [5, 0, 0]
    assert [Frame(bought[4:]).uint(at) for at in (2, 4, 5)] == [3_000, 6, PURSE_WEI]
    assert (quote.target, Frame(quote.data[4:]).uint(quote.amount_at)) == (QUOTER, 7)
    v2 = UniswapV2(V2_ROUTER)
    assert v2.swap(5, (TOKEN, WETH), QUOTER)[:4].hex() == "5c11d795"
    assert v2.quote(5, (TOKEN, WETH)).data[:4].hex() == "d06ca61f"
    assert v2.acquire(WETH, USDC, 6, QUOTER)[:4].hex() == "fb3bdb41"
