"""Who holds the liquidity of pools: read from the node in the background, never waited for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dexlane.chain.link import Request
from dexlane.chain.token_check.asking import number_of
from dexlane.domain.risk.evidence import Seen
from dexlane.domain.risk.lp_shares import WITH_LP_TOKENS, LpShares, keepers
from dexlane.runtime.clock import Clock
from dexlane.runtime.errors import Transient
from dexlane.values.chains import BlockRef
from dexlane.values.pools import Pool
from risk_scorer.metrics import Moments
from risk_scorer.node_facts import BatchClient

TOTAL_SUPPLY, BALANCE_OF = "0x18160ddd", "0x70a08231"
"""Selectors of ``totalSupply()`` and ``balanceOf(address)``."""


class ShareDesk:
    """LP shares of the pools of one chain that have LP tokens."""

    def __init__(self, chain_id: int, client: BatchClient, clock: Clock, moments: Moments, timeout_s: float) -> None:
        self._keepers = tuple(keepers(chain_id))
        self._client = client
        self._clock = clock
        self._moments = moments
        self._timeout_s = timeout_s
        self._known: dict[str, Seen[LpShares]] = {}

    def of(self, pools: Iterable[str]) -> dict[str, Seen[LpShares]]:
        """What is held about these pools; those of which nothing is known are left out."""
        return {pool: self._known[pool] for pool in pools if pool in self._known}

    async def gather(self, pools: Iterable[Pool], block: BlockRef) -> None:
        """Ask the node about all pools with LP tokens in one message. What it does not tell stays as it was."""
        asked = [pool.key.address for pool in pools if pool.key.protocol in WITH_LP_TOKENS]
        if not asked:
            return
        asked_ms = self._clock.now_ms()
        try:
            read = await self._read(asked)
        except Transient as error:
            self._moments.gathering_failed(str(error))
            return
        self._known |= {shares.pool: Seen(shares, block.number, asked_ms) for shares in read}

    async def _read(self, pools: Sequence[str]) -> list[LpShares]:
        data = [TOTAL_SUPPLY, *(BALANCE_OF + "0" * 24 + keeper[2:] for keeper in self._keepers)]
        requests: list[Request] = [
            ("eth_call", ({"to": pool, "data": each}, "latest")) for pool in pools for each in data
        ]
        answers = await self._client.batch(requests, timeout_s=self._timeout_s)
        found = []
        for index, pool in enumerate(pools):
            numbers = [number_of(answer) for answer in answers[index * len(data) : (index + 1) * len(data)]]
            known = [number for number in numbers if number is not None]
            if len(known) == len(data):
                held = dict(zip(self._keepers, known[1:], strict=True))
                found.append(LpShares(pool=pool, total=known[0], held=held))
        return found
