"""Where pools are made: the factories of each chain, and what their events say.

Event signatures: ``IUniswapV2Factory.PairCreated`` (v2-core 1.0.1), ``IUniswapV3Factory.PoolCreated`` (v3-core 1.0.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from dexlane.chain import abi
from dexlane.chain.answers import RawLog
from dexlane.chain.logs import UnreadableLog
from dexlane.values.base import Value
from dexlane.values.chains import Address
from dexlane.values.pools import Protocol

V2_PAIR_CREATED_TOPIC = "0x0d3648bd0f6ba80134a33ba9275ac585d9d315f0ad8355cddefde31afa28d0e9"
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
    }
)
"""The event of each kind of factory."""

FACTORIES: Mapping[int, tuple[Factory, ...]] = MappingProxyType(
    {
        chain_id: (
            Factory(address=v2, protocol=Protocol.UNISWAP_V2),
            Factory(address=v3, protocol=Protocol.UNISWAP_V3),
        )
        for chain_id, v2, v3 in (
            (1, "0x5c69bee701ef814a2b6a3edd4b1652cb9cc5aa6f", "0x1f98431c8ad98523631ae4a59f267346ea31f984"),
            (10, "0x0c3c1c532f1e39edf36be9fe0be1410313e074bf", "0x1f98431c8ad98523631ae4a59f267346ea31f984"),
            (56, "0x8909dc15e40173ff4699343b6eb8132c65e18ec6", "0xdb1d10011ad0ff90774d0c6bb92e5c5c8b4461f7"),
            (137, "0x9e5a52f57b3038f1b8eee45f28b3c1967e22799c", "0x1f98431c8ad98523631ae4a59f267346ea31f984"),
            (8_453, "0x8909dc15e40173ff4699343b6eb8132c65e18ec6", "0x33128a8fc17869897dce68ed026d694621f6fdfd"),
            (42_161, "0xf1d7cc64fb4452f05c498126312ebe29f30fbcf9", "0x1f98431c8ad98523631ae4a59f267346ea31f984"),
        )
    }
)
"""Uniswap's own factories (source: ``@uniswap/sdk-core``, MIT)."""


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
    return NewPool(pool, factory.protocol, token0, token1)


def by_address(factories: Iterable[Factory]) -> dict[str, Factory]:
    """Factories to look up by the address of a log."""
    return {factory.address: factory for factory in factories}
