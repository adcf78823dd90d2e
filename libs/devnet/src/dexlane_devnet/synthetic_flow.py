"""The flow of a chain without a recorded day: labelled synthetic traders alone."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from dexlane_devnet.addresses import DevnetChain
from dexlane_devnet.clock import monotonic_s
from dexlane_devnet.fees import LoadPlan, next_base_fee
from dexlane_devnet.flow import MAX_LATE_S, first_to_end
from dexlane_devnet.load import BackgroundLoad
from dexlane_devnet.market import act, pool_state, top_up
from dexlane_devnet.rpc import Rpc
from dexlane_devnet.schedule import synthetic_intentions
from dexlane_devnet.synthetic import Intention
from dexlane_devnet.tracking import FlowStats

TIP_WEI = 1_000_000
TOP_UP_EVERY_S = 600.0


class SyntheticPlayer:
    """Lets a leader walk the leading pool and the synthetic traders keep the others near it, at ``speed`` times the
    pace of a real day."""

    def __init__(
        self, url: str, chain: DevnetChain, *, speed: float = 100.0, seed: int = 1, report_every_s: float = 10.0
    ) -> None:
        self._url = url
        self._chain = chain
        self._speed = speed
        self._seed = seed
        self._report_every_s = report_every_s
        self._next_base_fee_wei = chain.base_fee_wei
        self._start_price = 0
        self.stats = FlowStats()

    async def run(self, stop: asyncio.Event, report: Callable[[FlowStats], None] = lambda stats: None) -> FlowStats:
        """Play until ``stop`` is set; the final figures. The walk begins at the price found at the start.

        Raises:
            DevnetError: the connection to the chain is lost.
        """
        async with await Rpc.connect(self._url) as rpc:
            await top_up(rpc, self._chain)
            await rpc.subscribe_heads()
            self._start_price, _ = await pool_state(rpc, self._chain.leading)
            load = BackgroundLoad(rpc, LoadPlan(self._chain.base_fee_wei, self._seed))
            await first_to_end(
                self._follow(rpc, load), self._play(rpc), self._keep_funded(rpc), self._report(report), stop.wait()
            )
        return self.stats

    async def _play(self, rpc: Rpc) -> None:
        started = monotonic_s()
        for intention in synthetic_intentions(self._seed):
            early = started + intention.at_ms / 1000 / self._speed - monotonic_s()
            if early > 0:
                await asyncio.sleep(early)
            elif early < -MAX_LATE_S:
                started -= early
            await self._trade(rpc, intention)

    async def _trade(self, rpc: Rpc, intention: Intention) -> None:
        walks = intention.kind == "walk"
        reference = self._start_price if walks else (await pool_state(rpc, self._chain.leading))[0]
        # As in outbox.py: half above the base fee, so that a trader who caps at twice the base fee goes first.
        cap = self._next_base_fee_wei * 3 // 2 + TIP_WEI
        fees = {"maxFeePerGas": hex(cap), "maxPriorityFeePerGas": hex(TIP_WEI)}
        sent = await act(rpc, self._chain, intention, reference, fees)
        self.stats = replace(
            self.stats,
            recorded_s=intention.at_ms // 1000,
            synthetic_trades=self.stats.synthetic_trades + sent,
            shocks=self.stats.shocks + (sent and intention.kind == "shock"),
        )

    async def _follow(self, rpc: Rpc, load: BackgroundLoad) -> None:
        while True:
            head = await rpc.next_head()
            gas_used, base_fee = (int(head[key], 16) for key in ("gasUsed", "baseFeePerGas"))
            self._next_base_fee_wei = next_base_fee(base_fee, gas_used)
            await load.on_block(gas_used, self._next_base_fee_wei)
            self.stats = replace(self.stats, base_fee_wei=base_fee)

    async def _keep_funded(self, rpc: Rpc) -> None:
        while True:
            await asyncio.sleep(TOP_UP_EVERY_S)
            await top_up(rpc, self._chain)

    async def _report(self, report: Callable[[FlowStats], None]) -> None:
        while True:
            await asyncio.sleep(self._report_every_s)
            report(self.stats)
