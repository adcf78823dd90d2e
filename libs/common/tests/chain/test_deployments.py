"""Addresses as data: complete, and true where a known pool follows from them."""

from __future__ import annotations

import pytest

from dexlane.chain.deployments import Exchange, deployments, emitter_of, pair_fee_pips, singletons
from dexlane.chain.pool_addresses import solidly_pool_address, v2_pair_address, v3_pool_address, v4_pool_id
from dexlane.domain.gas_value import WRAPPED_NATIVE
from dexlane.testing.builders.pools import a_pool_v2
from dexlane.values.chains import ZERO_ADDRESS
from dexlane.values.pools import PoolKey, Protocol
from dexlane.values.tokens import Token

CHAINS = {1, 10, 56, 137, 8_453, 42_161}
KNOWN = deployments()


def exchange(chain_id: int, name: str) -> Exchange:
    return KNOWN.exchange(chain_id, name)


def usdc(chain_id: int) -> str:
    return next(token.address for token in KNOWN.chain(chain_id).quote_tokens if token.symbol == "USDC")


def weth(chain_id: int) -> str:
    return KNOWN.chain(chain_id).wrapped_native


@pytest.mark.parametrize(
    ("chain_id", "name", "tokens", "pair"),
    [
        (1, "uniswap_v2", (usdc(1), weth(1)), "0xb4e16d0168e52d35cacd2c6185b44281ec28c9dc"),
        (1, "sushiswap_v2", (weth(1), usdc(1)), "0x397ff1542f962076d0bfe58ea045ffa2d347aca0"),
        (
            56,
            "pancakeswap_v2",
            (weth(56), "0x55d398326f99059ff775485246999027b3197955"),
            "0x16b9a82891338f9ba80e2d6970fdda79d1eb0dae",
        ),
        (
            137,
            "quickswap_v2",
            (weth(137), "0x2791bca1f2de4661ed88a30c99a7a9449aa84174"),
            "0x6e7a5fafcec6bb1e78bae2a1f0b612012bf14827",
        ),
    ],
)
def test_known_pairs_follow_from_factory_and_init_code_hash(
    chain_id: int, name: str, tokens: tuple[str, str], pair: str
) -> None:
    entry = exchange(chain_id, name)
    assert v2_pair_address(entry.factory, entry.init_code_hash or "", *tokens) == pair


@pytest.mark.parametrize(
    ("chain_id", "name", "fee_pips", "pool"),
    [
        (1, "uniswap_v3", 500, "0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640"),
        (1, "uniswap_v3", 3_000, "0x8ad599c3a0ff1de082011efddc58f1908eb6e6d8"),
        (1, "pancakeswap_v3", 500, "0x1ac1a8feaaea1900c4166deeed0c11cc10669d36"),
        (8_453, "uniswap_v3", 500, "0xd0b53d9277642d899df5c87a3966a349a798f224"),
    ],
)
def test_known_v3_pools_follow_from_deployer_and_init_code_hash(
    chain_id: int, name: str, fee_pips: int, pool: str
) -> None:
    entry = exchange(chain_id, name)
    deployer = entry.deployer or entry.factory
    found = v3_pool_address(deployer, entry.init_code_hash or "", weth(chain_id), usdc(chain_id), fee_pips)
    assert found == pool


@pytest.mark.parametrize(
    ("chain_id", "name", "token", "pool"),
    [
        (8_453, "aerodrome", usdc(8_453), "0xcdac0d6c6c59727a65f871236188350531885c43"),
        (
            10,
            "velodrome_v2",
            "0x7f5c764cbc14f9669b88837ca1490cca17c31607",
            "0x0493bf8b6dbb159ce2db2e0e8403e753abd1235b",
        ),
    ],
)
def test_known_volatile_pools_are_clones_of_the_implementation(chain_id: int, name: str, token: str, pool: str) -> None:
    entry = exchange(chain_id, name)
    found = solidly_pool_address(entry.factory, entry.implementation or "", token, weth(chain_id), stable=False)
    assert found == pool
    assert solidly_pool_address(entry.factory, entry.implementation or "", token, weth(chain_id), stable=True) != pool


def test_a_v4_pool_is_named_by_its_whole_key() -> None:
    """The id of ETH/USDC at 0.05 %, as Uniswap's own interface links it on Ethereum."""
    pool_id = "0x21c67e77068de97969ba93d4aab21826d33ca12bb9f565d8496e8fda8a82ca27"
    assert v4_pool_id(ZERO_ADDRESS, usdc(1), 500, 10) == pool_id
    assert v4_pool_id(ZERO_ADDRESS, usdc(1), 500, 60) != pool_id


def test_every_chain_has_uniswap_its_forks_and_what_quotes_need() -> None:
    assert {chain.id for chain in KNOWN.chains} == CHAINS
    for chain_id in CHAINS:
        names = {entry.name for entry in KNOWN.exchanges if entry.chain_id == chain_id}
        assert names >= {"uniswap_v2", "uniswap_v3", "uniswap_v4", "sushiswap_v2", "sushiswap_v3"}
        assert KNOWN.chain(chain_id).quote_tokens
    with pytest.raises(KeyError):
        KNOWN.chain(5)
    with pytest.raises(KeyError):
        exchange(1, "aerodrome")


def test_no_exchange_is_named_twice_on_a_chain() -> None:
    names = [(entry.chain_id, entry.name) for entry in KNOWN.exchanges]
    assert len(names) == len(set(names))


def test_the_wrapped_native_coins_are_those_that_gas_is_valued_in() -> None:
    assert {chain.id: chain.wrapped_native for chain in KNOWN.chains} == dict(WRAPPED_NATIVE)


def test_the_fee_of_a_pair_follows_from_its_factory() -> None:
    assert pair_fee_pips(exchange(1, "uniswap_v2").factory) == 3_000
    assert pair_fee_pips(exchange(56, "pancakeswap_v2").factory) == 2_500
    assert pair_fee_pips(ZERO_ADDRESS) is None


def test_the_logs_of_a_v4_pool_come_from_the_manager_of_its_chain() -> None:
    pool_id = v4_pool_id(ZERO_ADDRESS, usdc(1), 500, 10)
    eth = Token(address=ZERO_ADDRESS, symbol="ETH", decimals=18)
    key = PoolKey(
        address=pool_id[:42],
        protocol=Protocol.UNISWAP_V4,
        token0=eth,
        token1=KNOWN.chain(1).quote_tokens[0],
        fee_pips=500,
        tick_spacing=10,
        pool_id=pool_id,
    )
    assert emitter_of(1, key) == exchange(1, "uniswap_v4").factory
    assert singletons(1) == {emitter_of(1, key), exchange(1, "balancer_v2").factory}
    held = a_pool_v2().key.model_copy(update={"protocol": Protocol.BALANCER_WEIGHTED})
    assert emitter_of(1, held) == exchange(1, "balancer_v2").factory
    assert singletons(5) == frozenset()
    alone = a_pool_v2().key
    assert emitter_of(1, alone) == alone.address
