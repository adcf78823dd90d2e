"""From a block's raw logs to the deltas of its pools: by hand, some 300 times cheaper than a contract's decoding.

The table ``dexlane.chain.pool_events.POOL_EVENTS`` says which events count and how each is read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from dexlane.chain.answers import RawLog, UnreadableLog
from dexlane.chain.pool_events import POOL_EVENTS, PoolEvent
from dexlane.chain.pool_events.uniswap import V2_SYNC_TOPIC, V3_BURN_TOPIC, V3_MINT_TOPIC, V3_SWAP_TOPIC
from dexlane.domain.amm.changes import LiquidityChanged, PoolChange, PoolSwapped, ReservesSynced, after_change
from dexlane.domain.amm.folding import FOLDS
from dexlane.domain.pool_table import PoolTable
from dexlane.values.pools import PoolDelta, PoolState

__all__ = [
    "V2_SYNC_TOPIC",
    "V3_BURN_TOPIC",
    "V3_MINT_TOPIC",
    "V3_SWAP_TOPIC",
    "FoldedLogs",
    "LiquidityChanged",
    "PoolChange",
    "PoolSwapped",
    "ReservesSynced",
    "UnreadableLog",
    "after_change",
    "decode_log",
    "fold_logs",
]

_EVENTS = dict(POOL_EVENTS)
"""A plain copy: a look-up through a read-only view costs twice as much."""

_BY_INDEX = itemgetter(RawLog._fields.index("log_index"))


class FoldedLogs(NamedTuple):
    """What a block's logs did to the watched pools, in the order in which each pool was first touched.

    ``volumes``: gross amounts that swaps moved, by pool, in the order of its tokens. ``foreign``: an address that is no
    watched pool and yet emitted a pool's event (None when there is none): to be expected only where logs were asked
    for by topic.
    """

    deltas: tuple[PoolDelta, ...]
    volumes: Mapping[str, tuple[int, ...]]
    foreign: str | None


def decode_log(log: RawLog) -> PoolChange | None:
    """What a log says about its pool; None for an event that changes no price and no liquidity.

    Raises ``UnreadableLog`` when the number of topics, the length of the data or a field is not the event's.
    """
    event = _EVENTS.get(log.topics[0]) if log.topics else None
    return None if event is None else _decoded(event, log)


def _decoded(event: PoolEvent, log: RawLog) -> PoolChange:
    topics, words, decode, _ = event
    if len(log.topics) != topics or (words is not None and len(log.data) != 32 * words):
        raise UnreadableLog(
            f"log {log.log_index} of {log.tx_hash} has {len(log.topics)} topics and {len(log.data)} bytes"
        )
    try:
        return decode(log)
    except UnreadableLog:
        raise
    except ValueError as error:
        raise UnreadableLog(f"log {log.log_index} of {log.tx_hash} is malformed: {error}") from error


def fold_logs(logs: Sequence[RawLog], pools: PoolTable, singletons: Collection[str] = frozenset()) -> FoldedLogs:
    """All logs of one block, in any order, folded into one delta for each watched pool that they touch.

    ``pools`` are the watched pools as before the block; ``singletons`` are the contracts of this chain that
    hold many pools. Raises ``UnreadableLog`` for a log that is not what its topic says or that is there twice, and
    ``InconsistentDelta`` for one that cannot follow from the pool's state. The cost is that of the logs, whatever the
    number of pools.
    """
    states = pools.states
    touched: dict[str, tuple[PoolState, list[PoolChange]]] = {}
    foreign: str | None = None
    last_index = -1
    for log in sorted(logs, key=_BY_INDEX):
        address, topics, _, _, _, _, index = log
        if index == last_index:
            raise UnreadableLog(f"log {index} of block {log.block_number} is there twice")
        last_index = index
        event = _EVENTS.get(topics[0]) if topics else None
        if event is None:
            continue
        pool_in = event.pool_in
        if pool_in is not None:
            if address not in singletons:
                continue
            address = pool_in(log)
        known = touched.get(address)
        if known is not None:
            known[1].append(_decoded(event, log))
        elif (state := states.get(address)) is not None:
            touched[address] = (state, [_decoded(event, log)])
        elif pool_in is None:
            foreign = address
    folded = [FOLDS[state.kind](address, pools, changes) for address, (state, changes) in touched.items()]
    return FoldedLogs(
        deltas=tuple([delta for delta, _ in folded]),
        volumes=dict(zip(touched, [moved for _, moved in folded], strict=True)),
        foreign=foreign,
    )
