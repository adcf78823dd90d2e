"""The flow player: replays the recorded day with real transactions and lets the synthetic traders act."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from dexlane_devnet.accounts import account
from dexlane_devnet.addresses import ADDRESSES, ETHEREUM_CHAIN, LIQUIDITY_DESK, V3_POOL_005
from dexlane_devnet.clock import monotonic_s
from dexlane_devnet.desk import burn_calldata, collect_calldata, mint_calldata
from dexlane_devnet.errors import DevnetError
from dexlane_devnet.fees import GWEI, LoadPlan, next_base_fee
from dexlane_devnet.load import BackgroundLoad
from dexlane_devnet.market import act, pool_state, rewind_calls, top_up
from dexlane_devnet.outbox import Outbox, Sent, fee_fields, market_fee_cap
from dexlane_devnet.profile import starting_pool
from dexlane_devnet.rpc import Rpc, RpcError
from dexlane_devnet.schedule import Rewind, Step, steps
from dexlane_devnet.swaps import V3_SWAP_TOPIC, SwapLog, decode_v3_swap, exact_in_calldata
from dexlane_devnet.synthetic import Intention
from dexlane_devnet.tape import Tape, TapeEvent, load_tape
from dexlane_devnet.tracking import Deviation, FlowStats

MAX_LATE_S = 2.0
"""A player that falls behind by more (node busy, mining held) goes on at its pace and does not catch up in a burst."""
LOGS_KEPT = 5_000
RECEIPT_TRIES = 50
RECEIPT_PAUSE_S = 0.02
LOOKS_AFTER_S = 0.1
"""So long after a block the player asks what became of its swaps: whoever trades on the block asks the node first."""


@dataclass(frozen=True)
class FlowSettings:
    """What to play.

    Attributes:
        synthetic: let the labelled synthetic traders act.
        background: burn gas so that the base fee stays alive (never while the chain mines each transaction at once).
        target_base_fee_wei: middle of the base fee's walk.
        max_swaps: stop after this many recorded swaps are mined; None plays for ever.
        report_every_s: wall seconds between two reports.
    """

    synthetic: bool = True
    background: bool = True
    target_base_fee_wei: int = 2 * GWEI
    max_swaps: int | None = None
    report_every_s: float = 10.0


class FlowPlayer:
    """Plays a tape onto a running devnet at ``speed`` times the recorded pace."""

    def __init__(
        self,
        url: str,
        tape: Tape | None = None,
        *,
        speed: float = 100.0,
        seed: int = 1,
        settings: FlowSettings | None = None,
    ) -> None:
        if speed <= 0:
            raise DevnetError("the speed of the flow must be positive.")
        self._url = url
        self._tape = tape or load_tape()
        self._speed = speed
        self._seed = seed
        self._settings = settings or FlowSettings()
        self._start = starting_pool(self._tape)
        self._stats = FlowStats()
        self._deviation = Deviation()
        self._logs: dict[str, SwapLog] = {}
        self._last_block = 0
        self._finished = asyncio.Event()

    @property
    def stats(self) -> FlowStats:
        """The figures of this moment."""
        samples, middle, high = self._deviation.figures()
        return replace(self._stats, samples=samples, median_bps=middle, p95_bps=high)

    async def run(self, stop: asyncio.Event, report: Callable[[FlowStats], None] = lambda stats: None) -> FlowStats:
        """Play until ``stop`` is set or ``max_swaps`` are mined; the final figures.

        Raises:
            DevnetError: the connection to the chain is lost.
        """
        async with await Rpc.connect(self._url) as rpc:
            outbox = Outbox(rpc, account("flow").address)
            plan = LoadPlan(self._settings.target_base_fee_wei, self._seed)
            load = BackgroundLoad(rpc, plan) if self._settings.background else None
            await top_up(rpc, ETHEREUM_CHAIN)
            await outbox.open()
            await rpc.subscribe_heads()
            self._last_block = int(await rpc.call("eth_blockNumber"), 16)
            await first_to_end(
                self._follow(rpc, outbox, load),
                self._play(rpc, outbox),
                self._report(report),
                stop.wait(),
                self._finished.wait(),
            )
        return self.stats

    async def _play(self, rpc: Rpc, outbox: Outbox) -> None:
        await self._rewind(rpc, outbox)
        await outbox.drained()
        started = monotonic_s()
        limit = self._settings.max_swaps
        for step in steps(self._tape, self._seed, synthetic=self._settings.synthetic):
            if limit is not None and self._stats.swaps_sent >= limit:
                # Nothing follows the last swap: how far the tape came must not depend on when that one is mined.
                await self._finished.wait()
                return
            early = started + step.at_ms / 1000 / self._speed - monotonic_s()
            if early > 0:
                await asyncio.sleep(early)
            elif early < -MAX_LATE_S:
                started -= early
            await self._do(rpc, outbox, step)
            self._stats = replace(self._stats, recorded_s=step.at_ms // 1000, pass_number=step.pass_number)

    async def _do(self, rpc: Rpc, outbox: Outbox, step: Step) -> None:
        match step.action:
            case Intention() as intention:
                await self._trade(rpc, outbox, intention)
            case Rewind():
                await outbox.drained()
                await top_up(rpc, ETHEREUM_CHAIN)
                await self._rewind(rpc, outbox)
                self._count(rewinds=1)
            case TapeEvent(kind="swap") as event:
                await self._swap(outbox, event)
            case TapeEvent() as event:
                await self._change_liquidity(outbox, event)

    async def _swap(self, outbox: Outbox, event: TapeEvent) -> None:
        token, amount = (ADDRESSES.usdc, event.amount0) if event.amount0 > 0 else (ADDRESSES.weth, event.amount1)
        data = exact_in_calldata(V3_POOL_005, token, amount, account("flow").address)
        await outbox.send(ADDRESSES.swap_router02, data, event)
        self._count(swaps_sent=1)

    async def _change_liquidity(self, outbox: Outbox, event: TapeEvent) -> None:
        lower, upper = event.tick_lower, event.tick_upper
        if event.kind == "collect":
            data = collect_calldata(lower, upper)
        elif event.liquidity == 0:
            return  # a "poke" that only updates owed fees; without a position of its own it would revert
        else:
            data = (mint_calldata if event.kind == "mint" else burn_calldata)(lower, upper, event.liquidity)
        await outbox.send(LIQUIDITY_DESK, data)
        self._count(liquidity_changes=event.kind != "collect")

    async def _trade(self, rpc: Rpc, outbox: Outbox, intention: Intention) -> None:
        reference, _ = await pool_state(rpc, V3_POOL_005)
        fees = fee_fields(market_fee_cap(outbox.next_base_fee_wei))
        if await act(rpc, ETHEREUM_CHAIN, intention, reference, fees):
            self._count(synthetic_trades=1, shocks=intention.kind == "shock")

    async def _rewind(self, rpc: Rpc, outbox: Outbox) -> None:
        for to, data in await rewind_calls(rpc, self._tape, self._start):
            await outbox.send(to, data)

    async def _follow(self, rpc: Rpc, outbox: Outbox, load: BackgroundLoad | None) -> None:
        while True:
            head = await rpc.next_head()
            number, gas_used, base_fee = (int(head[key], 16) for key in ("number", "gasUsed", "baseFeePerGas"))
            outbox.next_base_fee_wei = next_base_fee(base_fee, gas_used)
            await asyncio.sleep(LOOKS_AFTER_S)
            if load is not None:
                await load.on_block(gas_used, outbox.next_base_fee_wei)
            try:
                await self._collect_logs(rpc, number)
                mined = await outbox.on_block(number)
            except RpcError:
                continue  # the block was replaced between its announcement and our questions; the next head repairs it
            for sent in mined:
                await self._compare(rpc, sent)
            self._stats = replace(
                self._stats,
                base_fee_wei=base_fee,
                outstanding=len(outbox.outstanding),
                lost_to_reorg=outbox.lost_to_reorg,
                resyncs=outbox.resyncs,
            )

    async def _collect_logs(self, rpc: Rpc, number: int) -> None:
        """Remember what the pool logged for the flow's own swaps up to block ``number``."""
        query = {
            "fromBlock": hex(min(self._last_block + 1, number)),
            "toBlock": hex(number),
            "address": V3_POOL_005.address,
            "topics": [V3_SWAP_TOPIC, _topic(ADDRESSES.swap_router02), _topic(account("flow").address)],
        }
        for log in await rpc.call("eth_getLogs", query):
            self._logs[log["transactionHash"]] = decode_v3_swap(log)
        self._last_block = number
        while len(self._logs) > LOGS_KEPT:
            del self._logs[next(iter(self._logs))]

    async def _compare(self, rpc: Rpc, sent: Sent) -> None:
        if sent.event is None:
            return
        log = self._logs.pop(sent.tx_hash, None) or await _log_in_receipt(rpc, sent.tx_hash)
        if log is None:
            self._count(swaps_failed=1)
        else:
            self._deviation.add(sent.event.sqrt_price_x96, log.sqrt_price_x96)
            self._count(swaps_mined=1)
        limit = self._settings.max_swaps
        if limit is not None and self._stats.swaps_mined + self._stats.swaps_failed >= limit:
            self._finished.set()

    async def _report(self, report: Callable[[FlowStats], None]) -> None:
        while True:
            await asyncio.sleep(self._settings.report_every_s)
            report(self.stats)

    def _count(self, **more: int) -> None:
        self._stats = replace(self._stats, **{name: getattr(self._stats, name) + n for name, n in more.items()})


async def _log_in_receipt(rpc: Rpc, tx_hash: str) -> SwapLog | None:
    """The pool's Swap log by way of the receipt: anvil announces a head a moment before its logs can be asked for."""
    receipt = None
    for _ in range(RECEIPT_TRIES):
        receipt = await rpc.call("eth_getTransactionReceipt", tx_hash)
        if receipt is not None:
            break
        await asyncio.sleep(RECEIPT_PAUSE_S)
    logs = receipt["logs"] if receipt else []
    found = [log for log in logs if log["topics"][0] == V3_SWAP_TOPIC]
    return decode_v3_swap(found[-1]) if found else None


def _topic(address: str) -> str:
    return "0x" + address[2:].lower().rjust(64, "0")


async def first_to_end(*jobs: Coroutine[Any, Any, Any]) -> None:
    """Run jobs until one ends, cancel the others, and raise what the ended one raised."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
