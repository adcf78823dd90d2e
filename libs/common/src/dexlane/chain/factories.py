"""Where pools are made: the factories of each chain, and what their events say.

Event signatures: ``IUniswapV2Factory.PairCreated`` (v2-core 1.0.1), ``IUniswapV3Factory.PoolCreated`` (v3-core 1.0.1;
PancakeSwap V3 has the same), ``IPoolFactory.PoolCreated`` of Aerodrome and Velodrome V2,
``IPoolManager.Initialize`` (v4-core 1.0.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from pydantic import ValidationError

from dexlane.chain import abi
from dexlane.chain.answers import RawLog
from dexlane.chain.deployments import deployments, emitter_of
from dexlane.chain.logs import UnreadableLog
from dexlane.chain.pool_events.uniswap_v4 import INITIALIZE_TOPIC
from dexlane.chain.pool_loading import V4Key, WatchedPool
from dexlane.values.base import Value
from dexlane.values.chains import ZERO_ADDRESS, Address
from dexlane.values.pools import PoolKey, Protocol

V2_PAIR_CREATED_TOPIC = "0x0d3648bd0f6ba80134a33ba9275ac585d9d315f0ad8355cddefde31afa28d0e9"
SOLIDLY_POOL_CREATED_TOPIC = "0x2128d88d14c80cb081c1252a5acff7a264671bf199ce226b53788fb26065005e"
V3_POOL_CREATED_TOPIC = "0x783cca1c0412dd0d695e784568c96da2e9c22ff989357a2e8b1d9b2b4e6b7118"


class Factory(Value):
    """A contract whose events are believed when they announce pools of a protocol (V4: the ``PoolManager``)."""

    address: Address
    protocol: Protocol


class NewPool(NamedTuple):
    """A pool as its factory announced it; addresses in lower-case hex. Nothing about its tokens is known yet.

    ``v4`` and ``manager`` name a pool of Uniswap V4, whose native coin is the zero address.
    """

    address: str
    protocol: Protocol
    token0: str
    token1: str
    v4: V4Key | None = None
    manager: str | None = None

    @property
    def to_watch(self) -> WatchedPool:
        """What its state is read by."""
        return WatchedPool(address=self.address, protocol=self.protocol, singleton=self.manager, v4=self.v4)


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

    ``factories`` by address. Raises ``UnreadableLog`` when the event has another shape, names impossible tokens, or
    announces a pool of Uniswap V4 whose amounts are not its own maths alone (hooks, a fee that changes).
    """
    factory = factories.get(log.address)
    if factory is None or not log.topics:
        return None
    try:
        if factory.protocol is Protocol.UNISWAP_V4:
            return _initialised(log) if log.topics[0] == INITIALIZE_TOPIC else None
        return _created(log, factory)
    except abi.AbiError as error:
        raise UnreadableLog(f"log {log.log_index} of {log.tx_hash}: {error}") from error


def _created(log: RawLog, factory: Factory) -> NewPool | None:
    creation = _CREATIONS.get(factory.protocol)
    if creation is None or log.topics[0] != creation.topic:
        return None
    if len(log.topics) != creation.topics or len(log.data) != abi.WORD * creation.words:
        raise UnreadableLog(f"log {log.log_index} of {log.tx_hash} is no creation of a {factory.protocol} pool")
    token0, token1 = _tokens(log, log.topics[1:3])
    pool = abi.Frame(log.data).address(creation.pool_word)
    is_stable = factory.protocol is Protocol.SOLIDLY_VOLATILE and int(log.topics[3], 16) == 1
    return NewPool(pool, Protocol.SOLIDLY_STABLE if is_stable else factory.protocol, token0, token1)


def _initialised(log: RawLog) -> NewPool:
    """``Initialize(id, currency0, currency1, fee, tickSpacing, hooks, sqrtPriceX96, tick)``, three of them topics."""
    if len(log.topics) != 4 or len(log.data) != abi.WORD * 5:
        raise UnreadableLog(f"log {log.log_index} of {log.tx_hash} is no creation of a uniswap_v4 pool")
    data = abi.Frame(log.data)
    currency0, currency1 = _tokens(log, log.topics[2:])
    if data.address(2) != ZERO_ADDRESS:
        raise UnreadableLog(f"pool {log.topics[1]} has the hooks {data.address(2)}")
    try:
        named = V4Key(currency0=currency0, currency1=currency1, fee_pips=data.uint(0), tick_spacing=data.uint(1))
    except ValidationError as error:
        raise UnreadableLog(f"pool {log.topics[1]} has no static fee, or an impossible spacing") from error
    if named.pool_id != log.topics[1]:
        raise UnreadableLog(f"log {log.log_index} of {log.tx_hash} announces another pool than its key names")
    return NewPool(named.pool_id[:42], Protocol.UNISWAP_V4, currency0, currency1, named, log.address)


def _tokens(log: RawLog, topics: Sequence[str]) -> tuple[str, str]:
    token0, token1 = (abi.Frame(bytes.fromhex(topic[2:])).address(0) for topic in topics)
    if token0 >= token1:
        raise UnreadableLog(f"log {log.log_index} of {log.tx_hash} names tokens out of order")
    return token0, token1


def known_pool(chain_id: int, key: PoolKey) -> NewPool:
    """A pool that was read before, as its factory announced it. Raises ``KeyError`` for a manager that is unknown."""
    named = manager = None
    if key.protocol is Protocol.UNISWAP_V4:
        manager = emitter_of(chain_id, key)
        currency0, currency1 = key.token0.address, key.token1.address
        named = V4Key(
            currency0=currency0, currency1=currency1, fee_pips=key.fee_pips, tick_spacing=key.tick_spacing or 0
        )
    return NewPool(key.address, key.protocol, key.token0.address, key.token1.address, named, manager)


def by_address(factories: Iterable[Factory]) -> dict[str, Factory]:
    """Factories to look up by the address of a log."""
    return {factory.address: factory for factory in factories}
