"""What to ask a node for in each block, and whether its answer can be whole; the cost does not grow with the pools."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dexlane.chain.answers import RawLog
from dexlane.chain.bloom import BITS, bloom_mask, may_log
from dexlane.chain.pool_events import POOL_EVENTS

MOST_ADDRESSES = 500
"""Above this many pools logs are asked for by topic alone: nodes refuse long lists of addresses, or search them slowly.
Logs of unwatched pools then come along, and folding passes them over."""

MOST_BY_CHANCE = 0.05
"""Expected pools that a bloom names by chance, above which it says nothing about single pools."""


class LogsWanted:
    """The question for one set of watched pools.

    ``addresses`` goes to ``Rpc.logs`` as it is; it is empty where ``by_topic`` is set (or nothing is watched).
    """

    def __init__(self, watched: Collection[str]) -> None:
        self.by_topic = len(watched) > MOST_ADDRESSES
        self.addresses: Sequence[str] = () if self.by_topic else tuple(watched)
        self._masks = {item: bloom_mask(item) for item in (POOL_EVENTS if self.by_topic else self.addresses)}

    def may_lack(self, bloom: int, logs: Sequence[RawLog]) -> bool:
        """Whether the header's bloom names logs that the answer does not have. By chance it may do so wrongly.

        A node that announces a head before its logs can be read answers with none of them. So in the busy blocks of
        large chains, whose blooms name nearly everything by chance, any log at all shows that it is ready.
        """
        if self.by_topic or len(self._masks) * (bloom.bit_count() / BITS) ** 3 > MOST_BY_CHANCE:
            return not logs and any(may_log(bloom, mask) for mask in self._masks.values())
        seen = {log.address for log in logs}
        return any(item not in seen and may_log(bloom, mask) for item, mask in self._masks.items())
