"""Where pools are made: the factories of each chain, and what their events say.

Event signatures: ``IUniswapV2Factory.PairCreated`` (v2-core 1.0.1), ``IUniswapV3Factory.PoolCreated`` (v3-core 1.0.1;
PancakeSwap V3 has the same), ``IPoolFactory.PoolCreated`` of Aerodrome and Velodrome V2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from dexlane.chain import abi
from dexlane.chain.answers import RawLog
from dexlane.chain.deployments import deployments
from dexlane.chain.logs import UnreadableLog
from dexlane.values.base import Value
from dexlane.values.chains import Address
from dexlane.values.pools import Protocol

V2_PAIR_CREATED_TOPIC = "0x0d3648bd0f6ba80134a33ba9275ac585d9d315f0ad8355cddefde31afa28d0e9"
SOLIDLY_POOL_CREATED_TOPIC = "0x2128d88d14c80cb081c1252a5acff7a264671bf199ce226b53788fb26065005e"
V3_POOL_CREATED_TOPIC = "0x783cca1c0412dd0d695e784568c96da2e9c22ff989357a2e8b1d9b2b4e6b7118"


class Factory(Value):
    """A contract whose events are believed when they announce pools of a protocol."""

    address: Address
    protocol: Protocol


class NewPool(NamedTuple):
    """A pool as its factory announced it; addresses in lower-case hex. Nothing about its tokens is known yet."""

    address: str
    protocol: Protocol
    token0: str
    token1: str


class _Creation(NamedTuple):
    """One event: its topic, how many topics and data words it has, and where the pool's address stands in the data."""

    topic: str
    topics: int
    words: int
    pool_word: int


_CREATIONS: Mapping[Protocol, _Creation] = MappingProxyType(
    {
        Protocol.UNISWAP_V2: _Creation(V2_PAIR_CREATED_TOPIC, 3, 2, 0),
        Protocol.UNISWAP_V3: _Creation(V3_POOL_CREATED_TOPIC, 4, 2, 1),
        Protocol.PANCAKESWAP_V3: _Creation(V3_POOL_CREATED_TOPIC, 4, 2, 1),
        Protocol.SOLIDLY_VOLATILE: _Creation(SOLIDLY_POOL_CREATED_TOPIC, 4, 2, 0),
    }
)
"""The event of each kind of factory. Solidly's say in a topic whether the new pool is a stable one."""

_FAMILIES: Mapping[str, Protocol] = MappingProxyType(
    {"uniswap_v2": Protocol.UNISWAP_V2, "uniswap_v3": Protocol.UNISWAP_V3}
)
"""Exchanges whose new pools are looked for by default: those that the executors' router reaches. Others by setting."""

FACTORIES: Mapping[int, tuple[Factory, ...]] = MappingProxyType(
    {
        chain.id: tuple(
            Factory(address=exchange.factory, protocol=_FAMILIES[exchange.name])
            for exchange in deployments().exchanges
            if exchange.chain_id == chain.id and exchange.name in _FAMILIES
        )
        for chain in deployments().chains
    }
)
"""The factories that are asked by default, by chain (``deployments.toml``)."""


def decode_creation(log: RawLog, factories: Mapping[str, Factory]) -> NewPool | None:
    """The pool that a log of a known factory announces; None for any other log or event.

    ``factories`` by address. Raises ``UnreadableLog`` when the event has another shape or names impossible tokens.
    """
    factory = factories.get(log.address)
    creation = None if factory is None else _CREATIONS.get(factory.protocol)
    if factory is None or creation is None or not log.topics or log.topics[0] != creation.topic:
        return None
    if len(log.topics) != creation.topics or len(log.data) != abi.WORD * creation.words:
        raise UnreadableLog(f"log {log.log_index} of {log.tx_hash} is no creation of a {factory.protocol} pool")
    try:
        token0, token1 = (abi.Frame(bytes.fromhex(topic[2:])).address(0) for topic in log.topics[1:3])
        pool = abi.Frame(log.data).address(creation.pool_word)
    except abi.AbiError as error:
        raise UnreadableLog(f"log {log.log_index} of {log.tx_hash}: {error}") from error
    if token0 >= token1:
        raise UnreadableLog(f"log {log.log_index} of {log.tx_hash} names tokens out of order")
    is_stable = factory.protocol is Protocol.SOLIDLY_VOLATILE and int(log.topics[3], 16) == 1
    return NewPool(pool, Protocol.SOLIDLY_STABLE if is_stable else factory.protocol, token0, token1)


def by_address(factories: Iterable[Factory]) -> dict[str, Factory]:
    """Factories to look up by the address of a log."""
    return {factory.address: factory for factory in factories}
