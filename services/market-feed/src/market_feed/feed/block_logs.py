"""All logs of one block's watched pools, and the patience that takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dexlane.chain.answers import Header, RawLog
from dexlane.chain.block_logs import LogsWanted
from dexlane.chain.bloom import chance_of_error
from dexlane.chain.rpc import Rpc, RpcUnavailable

LOGS_RETRY_S = 0.002
LOGS_ATTEMPTS = 4
CERTAIN = 1e-4
"""Below this chance of an error a bloom that names a pool is taken at its word: the pool has logs in the block."""

Suspect = Callable[[Header], None]
"""Is told of a block whose logs are gone on with although the bloom names more, be it by chance."""
Doubt = Callable[[Header, str], None]
"""Is told of a block whose logs cannot be right, and why: a clause whose subject is the provider."""


class BlockLogs:
    """Asks for the logs of some contracts, block by block."""

    def __init__(self, rpc: Rpc, wanted: Callable[[], LogsWanted]) -> None:
        """``wanted`` is asked anew for each block: pools join and leave."""
        self.doubt: Doubt = lambda header, reason: None
        self.suspect: Suspect = lambda header: None
        self._rpc = rpc
        self._wanted = wanted

    async def of(self, header: Header) -> list[RawLog]:
        """The block's logs. Raises ``RpcError`` or ``RpcUnavailable``.

        A node may announce a head before its logs can be read, and then answers with none of them. The header's bloom
        tells: it names every pool that has logs, and by chance one that has none. Where chance is out of the question
        the block is not applied without them. Elsewhere the number of attempts is bounded, and what is gone on with is
        suspect: in the blocks of large chains the bloom names nearly every pool, and cannot tell late from quiet.
        """
        wanted = self._wanted()
        if not wanted.addresses and not wanted.by_topic:
            return []  # a node takes no addresses for all of them
        wait_s = LOGS_RETRY_S
        for attempt in range(LOGS_ATTEMPTS):
            logs = list(await self._rpc.logs(header.hash, wanted.addresses))
            if not wanted.may_lack(header.logs_bloom, logs):
                break
            if attempt < LOGS_ATTEMPTS - 1:
                await asyncio.sleep(wait_s)
                wait_s *= 2
        else:
            self._refuse_certain_loss(header)
        return logs

    def _refuse_certain_loss(self, header: Header) -> None:
        if header.proved and chance_of_error(header.logs_bloom) < CERTAIN:
            self.doubt(header, f"keeps back logs that the bloom of block {header.number} names")
            raise RpcUnavailable(f"logs of block {header.number} are missing that its bloom names")
        self.suspect(header)
