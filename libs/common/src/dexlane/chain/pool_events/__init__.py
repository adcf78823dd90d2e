"""The events that change pools: one file per protocol family, and the table by topic 0.

To plug in a family: describe its events as ``PoolEvent`` (see there for pools that live in a singleton) in a module of
this package, and enter its table in ``_FAMILIES``. Changes that no class in ``dexlane.domain.amm.changes`` can say, and
states of a new kind, also need a fold (``dexlane.domain.amm.folding``).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dexlane.chain.pool_events import balancer, pancakeswap, solidly, stableswap, uniswap, uniswap_v4
from dexlane.chain.pool_events.base import PoolEvent

__all__ = ["POOL_EVENTS", "PoolEvent"]

_FAMILIES: tuple[Mapping[str, PoolEvent], ...] = (
    uniswap.EVENTS,
    pancakeswap.EVENTS,
    solidly.EVENTS,
    uniswap_v4.EVENTS,
    balancer.EVENTS,
    stableswap.EVENTS,
)

POOL_EVENTS: Mapping[str, PoolEvent] = MappingProxyType(
    {topic: event for family in _FAMILIES for topic, event in family.items()}
)
"""Every event that changes a pool, by topic 0 (lower-case hex). Also what to ask a node for by topics alone."""
