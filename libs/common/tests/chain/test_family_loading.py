"""Loading of V2 forks, Solidly-style pools and Uniswap V4 from a node that answers as their contracts do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from pydantic import ValidationError

from dexlane.chain import abi
from dexlane.chain.answers import Header
from dexlane.chain.pool_loading import ChainReader, PoolUnreadable, V4Key, WatchedPool, load_pool
from dexlane.chain.rpc import RpcError
from dexlane.domain.amm.tick_math import sqrt_ratio_at_tick
from dexlane.testing.fake_chain import FakeChain
from dexlane.values.chains import ZERO_ADDRESS
from dexlane.values.pools import ConcentratedState, ConstantProductState, Pool, Protocol, Tick
from dexlane_signer.keccak import keccak256

USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
POOL = "0x" + "ab" * 20
FACTORY = "0x" + "fa" * 20
MANAGER = "0x000000000004444c5dc75cb358380d2e3de08a90"
SUSHISWAP = "0xc0aee478e3658e2610c5f7a4a2e1777ce9e4f2ac"
PANCAKESWAP_BSC = "0xca143ce32fe78f1f7019d7d551a6402fc5350c73"

Answers = Mapping[tuple[str, str], bytes]
"""What contracts answer, by address and whole call data in hex."""

TOKENS: Answers = {
    (USDC, "95d89b41"): abi.frame(abi.byte_string(b"USDC")),
    (USDC, "313ce567"): abi.uint(6),
    (WETH, "95d89b41"): abi.frame(abi.byte_string(b"WETH")),
    (WETH, "313ce567"): abi.uint(18),
}


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(32, "big", signed=value < 0) for value in values)


def pair(factory: str) -> Answers:
    return {
        (POOL, "0dfe1681"): abi.address(USDC),
        (POOL, "d21220a7"): abi.address(WETH),
        (POOL, "c45a0155"): abi.address(factory),
        (POOL, "0902f1ac"): words(7, 9, 1),
    }


def solidly(*, stable: bool, unit0: int = 10**6) -> Answers:
    get_fee = "cc56b2c5" + (abi.address(POOL) + abi.flag(stable)).hex()
    return {
        (POOL, "392f37e9"): words(unit0, 10**18, 7, 9, int(stable), int(USDC, 16), int(WETH, 16)),
        (POOL, "c45a0155"): abi.address(FACTORY),
        (FACTORY, get_fee): abi.uint(5),
    }


async def load(answers: Answers, watched: WatchedPool, default: Callable[[str, bytes], bytes] | None = None) -> Pool:
    known = {**TOKENS, **answers}

    def answer(to: str, data: bytes, header: Header) -> bytes:
        found = known.get((to, data.hex()))
        if found is None and default is not None:
            return default(to, data)
        if found is None:
            raise RpcError(3, "execution reverted", "0x")
        return found

    chain = FakeChain()
    chain.answer_call = answer
    return await load_pool(await ChainReader.at(chain.rpc(), chain.tip.hash), watched)


@pytest.mark.parametrize(("factory", "fee_pips"), [(SUSHISWAP, 3_000), (PANCAKESWAP_BSC, 2_500)])
async def test_the_fee_of_a_v2_fork_is_that_of_its_factory(factory: str, fee_pips: int) -> None:
    pool = await load(pair(factory), WatchedPool(address=POOL, protocol=Protocol.UNISWAP_V2))
    assert pool.key.fee_pips == fee_pips
    assert pool.state == ConstantProductState(reserve0=7, reserve1=9)


async def test_a_v2_fork_of_an_unknown_factory_is_refused_unless_its_fee_is_named() -> None:
    watched = WatchedPool(address=POOL, protocol=Protocol.UNISWAP_V2)
    with pytest.raises(PoolUnreadable, match="unknown factory"):
        await load(pair(FACTORY), watched)
    named = watched.model_copy(update={"fee_pips": 1_700})
    assert (await load(pair(FACTORY), named)).key.fee_pips == 1_700


@pytest.mark.parametrize("stable", [True, False])
async def test_a_solidly_pool_has_the_fee_that_its_factory_says(stable: bool) -> None:
    protocol = Protocol.SOLIDLY_STABLE if stable else Protocol.SOLIDLY_VOLATILE
    pool = await load(solidly(stable=stable), WatchedPool(address=POOL, protocol=protocol))
    assert pool.key.fee_pips == 500
    assert (pool.key.token0.address, pool.key.token1.address) == (USDC, WETH)
    assert pool.state == ConstantProductState(reserve0=7, reserve1=9)


async def test_a_solidly_pool_of_the_other_curve_is_refused() -> None:
    with pytest.raises(PoolUnreadable, match="a stable pool"):
        await load(solidly(stable=True), WatchedPool(address=POOL, protocol=Protocol.SOLIDLY_VOLATILE))


async def test_a_solidly_pool_that_counts_in_other_decimals_than_its_tokens_is_refused() -> None:
    with pytest.raises(PoolUnreadable, match="decimals"):
        await load(solidly(stable=True, unit0=10**8), WatchedPool(address=POOL, protocol=Protocol.SOLIDLY_STABLE))


class ManagerStorage:
    """The storage of a ``PoolManager`` with one pool, as ``extsload`` gives it."""

    def __init__(self, key: V4Key, state: ConcentratedState, *, protocol_fee: int = 0) -> None:
        base = slot(int(key.pool_id, 16), 6)
        price = state.sqrt_price_x96 | (state.tick & 0xFFFFFF) << 160 | protocol_fee << 184 | key.fee_pips << 208
        self.words = {base: price, base + 3: state.liquidity}
        for tick in state.ticks:
            at = slot(tick.tick, base + 4)
            self.words[at] = tick.liquidity_gross | (tick.liquidity_net & (1 << 128) - 1) << 128
            position, bit = divmod(tick.tick // key.tick_spacing, 256)
            at = slot(position, base + 5)
            self.words[at] = self.words.get(at, 0) | 1 << bit

    def __call__(self, to: str, data: bytes) -> bytes:
        assert (to, data[:4].hex()) == (MANAGER, "1e2eaeaf")
        return abi.uint(self.words.get(int.from_bytes(data[4:36], "big"), 0))


def slot(key: int, mapping: int) -> int:
    return int.from_bytes(keccak256(words(key) + words(mapping)), "big")


ETH_USDC = V4Key(currency0=ZERO_ADDRESS, currency1=USDC, fee_pips=500, tick_spacing=10)
STATE = ConcentratedState(
    sqrt_price_x96=sqrt_ratio_at_tick(-3),
    tick=-3,
    liquidity=104,
    ticks=(
        Tick(-887_270, 100, 100),
        Tick(-2_560, 7, 7),
        Tick(-10, 3, -3),
        Tick(2_550, 4, -4),
        Tick(887_270, 100, -100),
    ),
)


def v4(key: V4Key = ETH_USDC) -> WatchedPool:
    return WatchedPool(address=key.pool_id[:42], protocol=Protocol.UNISWAP_V4, singleton=MANAGER, v4=key)


async def test_a_v4_pool_is_read_from_the_managers_storage() -> None:
    pool = await load({}, v4(), ManagerStorage(ETH_USDC, STATE, protocol_fee=300 | 40 << 12))
    assert pool.state == STATE
    assert pool.key.pool_id == ETH_USDC.pool_id
    assert (pool.key.protocol_fee0_pips, pool.key.protocol_fee1_pips) == (300, 40)
    assert (pool.key.token0.address, pool.key.token0.decimals) == (ZERO_ADDRESS, 18)
    assert (pool.key.fee_pips, pool.key.tick_spacing) == (500, 10)


async def test_a_v4_pool_that_the_manager_does_not_hold_is_refused() -> None:
    other = ETH_USDC.model_copy(update={"tick_spacing": 60})
    with pytest.raises(PoolUnreadable, match="holds no pool"):
        await load({}, v4(other), ManagerStorage(ETH_USDC, STATE))


async def test_a_v4_pool_whose_ticks_contradict_its_liquidity_is_refused() -> None:
    with pytest.raises(PoolUnreadable, match="add up to"):
        await load({}, v4(), ManagerStorage(ETH_USDC, replace(STATE, liquidity=105)))


def test_a_v4_pool_is_watched_by_its_key_and_its_manager() -> None:
    assert v4().emitter == MANAGER
    with pytest.raises(ValidationError, match="its manager"):
        WatchedPool(address=ETH_USDC.pool_id[:42], protocol=Protocol.UNISWAP_V4, v4=ETH_USDC)
    with pytest.raises(ValidationError, match="first 20 bytes"):
        WatchedPool(address=POOL, protocol=Protocol.UNISWAP_V4, singleton=MANAGER, v4=ETH_USDC)
    with pytest.raises(ValidationError, match="only a pool of Uniswap V4"):
        WatchedPool(address=POOL, protocol=Protocol.UNISWAP_V3, v4=ETH_USDC)
    assert WatchedPool(address=POOL, protocol=Protocol.UNISWAP_V3).emitter == POOL
