"""What the journals, the ledger, the chain and the streams say, read from outside once everything is still."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
import orjson
from nats.js.api import ConsumerConfig, DeliverPolicy

from crash_rows import rows
from crash_stack import LIVE, CrashStack
from dexlane_devnet import account

JOURNALS = ("fast-executor", "smart-executor", "paper-sim", "portfolio", "gateway")
EXECUTORS = JOURNALS[:2]
BLOCKS_AT_ONCE = 50
LONGEST = 6


class Journals:
    """Intents, slots and attempts of both executors, as their journals have them."""

    def __init__(self, data: Path | str) -> None:
        self.data = data
        self.intents = self._all("SELECT intent_id, mode, purpose, is_open FROM execution_intents")
        self.slots = self._all("SELECT account, nonce, intent_id, record FROM execution_slots")
        self.attempts = self._all("SELECT intent_id, number, kind, tx_hash, raw FROM execution_attempts")

    def _all(self, query: str) -> list[dict[str, Any]]:
        return [{**row, "journal": name} for name in EXECUTORS for row in rows(self.data, name, query)]

    def count(self, mode: str) -> int:
        """How many intents of that mode there are."""
        return sum(intent["mode"] == mode for intent in self.intents)


@dataclass(frozen=True)
class MinedTransaction:
    """A transaction of one of our accounts in a block."""

    hash: str
    account: str
    nonce: int
    block: int
    succeeded: bool


@dataclass
class OurChain:
    """Every transaction of our accounts that is in a block, read block by block."""

    stack: CrashStack
    read_to: int = 0
    first_nonces: dict[str, int] = field(default_factory=dict)
    mined: list[MinedTransaction] = field(default_factory=list)

    @property
    def accounts(self) -> list[str]:
        """The live accounts."""
        return [account(role).address.lower() for roles in LIVE.values() for role in roles]

    async def begin_at_openings(self) -> None:
        """From the blocks with which the accounts were opened: nothing of ours was sent before."""
        opened = []
        for name in EXECUTORS:
            opened += await asyncio.to_thread(rows, self.stack.data, name, "SELECT * FROM execution_accounts")
        if {row["account"] for row in opened} != set(self.accounts):
            raise AssertionError(f"not all live accounts are open: {opened}")
        self.read_to = min(row["block_number"] for row in opened)
        for address in self.accounts:
            count = await self.stack.rpc("eth_getTransactionCount", address, hex(self.read_to))
            self.first_nonces[address] = int(count, 16)

    async def read(self) -> None:
        """Up to the newest block. Call it when nothing of ours can leave its block any more."""
        head = int(await self.stack.rpc("eth_blockNumber"), 16)
        while self.read_to < head:
            numbers = range(self.read_to + 1, min(head, self.read_to + BLOCKS_AT_ONCE) + 1)
            blocks = await self.stack.rpc_batch([("eth_getBlockByNumber", [hex(n), True]) for n in numbers])
            ours = [tx for block in blocks for tx in block["transactions"] if tx["from"].lower() in self.first_nonces]
            calls = [("eth_getTransactionReceipt", [tx["hash"]]) for tx in ours]
            receipts = await self.stack.rpc_batch(calls) if calls else []
            self.mined += [_mined(tx, receipt) for tx, receipt in zip(ours, receipts, strict=True)]
            self.read_to = numbers[-1]


def _mined(tx: dict[str, Any], receipt: dict[str, Any]) -> MinedTransaction:
    return MinedTransaction(
        hash=tx["hash"].lower(),
        account=tx["from"].lower(),
        nonce=int(tx["nonce"], 16),
        block=int(tx["blockNumber"], 16),
        succeeded=receipt["status"] == "0x1",
    )


@dataclass
class Streams:
    """Message ids of the TRADING stream, and the last of every subject of STATE."""

    stack: CrashStack
    trading: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    state: dict[str, str] = field(default_factory=dict)
    dead_letters: list[str] = field(default_factory=list)
    read_to: int = 0

    async def read(self) -> None:
        """What came since the last time."""
        client = await nats.connect(self.stack.nats_url, max_reconnect_attempts=20, reconnect_time_wait=0.2)
        try:
            js = client.jetstream(timeout=10)
            async for sequence, headers, _ in _messages(js, "TRADING", self.read_to + 1):
                self.read_to = sequence
                if headers.get("Nats-Msg-Id"):
                    self.trading[headers["Nats-Msg-Id"].partition(":")[2]] += 1
            self.state = {s: h["Nats-Msg-Id"].partition(":")[2] async for _, h, s in _messages(js, "STATE", 1)}
            dead = [(h, s) async for _, h, s in _messages(js, "DEAD_LETTERS", 1)]
            self.dead_letters = [f"{subject}: {headers.get('Dexlane-Error')}" for headers, subject in dead]
        finally:
            await client.close()

    def start_over(self) -> None:
        """The stream was made anew."""
        self.trading.clear()
        self.read_to = 0


async def _messages(js: Any, stream: str, start: int):  # type: ignore[no-untyped-def]
    if (await js.stream_info(stream)).state.last_seq < start:
        return
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=max(1, start), headers_only=True
    )
    subscription = await js.subscribe(">", stream=stream, ordered_consumer=True, config=config)
    try:
        while True:
            try:
                message = await subscription.next_msg(timeout=2)
            except nats.errors.TimeoutError:
                return
            sequence = message.metadata.sequence.stream
            yield sequence, message.headers or {}, message.subject
            # Not at the last one that was there before: a last value moves to the end while it is read.
            if message.metadata.num_pending == 0:
                return
    finally:
        with suppress(nats.errors.Error):
            await subscription.unsubscribe()


async def backlog(stack: CrashStack) -> dict[str, int]:
    """Messages that a durable consumer has not acknowledged yet, by its name."""
    client = await nats.connect(stack.nats_url, max_reconnect_attempts=20, reconnect_time_wait=0.2)
    try:
        js = client.jetstream(timeout=5)
        infos = await js.consumers_info("TRADING")
        counts = {str(i.name): (i.num_pending or 0) + (i.num_ack_pending or 0) for i in infos if i.config.durable_name}
        missing = {f"{name}, which is gone": 1 for name in stack.consumers - counts.keys()}
        stack.consumers |= counts.keys()
        return {name: count for name, count in counts.items() if count} | missing
    finally:
        await client.close()


def open_work(data: Path | str) -> dict[str, int]:
    """What is not settled in the journals, by a name a person understands."""
    found = {
        f"outbox of {name}": rows(data, name, "SELECT count(*) n FROM outbox WHERE sent_ms IS NULL")[0]["n"]
        for name in JOURNALS
    }
    for name in EXECUTORS:
        found[f"open slots of {name}"] = rows(data, name, "SELECT count(*) n FROM execution_slots WHERE is_open")[0][
            "n"
        ]
        open_intents = "SELECT count(*) n FROM execution_intents WHERE is_open"
        found[f"open intents of {name}"] = rows(data, name, open_intents)[0]["n"]
    open_trades = "SELECT count(*) n FROM paper_trade WHERE status != 'closed'"
    found["open paper trades"] = rows(data, "paper-sim", open_trades)[0]["n"]
    open_exits = "SELECT count(*) n FROM exits WHERE state = 'open'"
    found["open exits of portfolio"] = rows(data, "portfolio", open_exits)[0]["n"]
    # An open position can be closed at any moment, and then nothing is still.
    held = "SELECT count(*) n FROM positions WHERE quantity != '0'"
    found["open positions"] = rows(data, "portfolio", held)[0]["n"]
    return {what: count for what, count in found.items() if count}


def overdue(data: Path | str, head: int, grace_blocks: int) -> Iterator[str]:
    """Slots that are open longer than their deadline and a grace allow."""
    for name in EXECUTORS:
        for row in rows(data, name, "SELECT account, nonce, intent_id, record FROM execution_slots WHERE is_open"):
            state = orjson.loads(row["record"])["state"]
            if head > state["deadline_block"] + grace_blocks:
                yield f"{name}: {row} is open {head - state['deadline_block']} blocks past its deadline"


class Settling:
    """How long is waited for stillness. The time begins anew, up to ``LONGEST`` times as much in all, whenever less
    waits than ever before: after the loss of the broker's store every fact is published again, and consumers read tens
    of thousands that they know."""

    def __init__(self, now_s: float, patience_s: float) -> None:
        self._patience_s = patience_s
        self._least: float = math.inf
        self._deadline_s = now_s + patience_s
        self._end_s = now_s + LONGEST * patience_s

    def note(self, now_s: float, waiting: int) -> None:
        """So much waits at this moment."""
        if waiting < self._least:
            self._least, self._deadline_s = waiting, now_s + self._patience_s

    def is_over(self, now_s: float) -> bool:
        """Whether nothing became less for too long, or it takes too long in all."""
        return now_s >= min(self._deadline_s, self._end_s)


async def settled(stack: CrashStack, timeout_s: float) -> dict[str, Any]:
    """Wait until nothing is under way; what still is when the time is over, empty when all is still."""
    left: dict[str, Any] = {"nothing was looked at": 1}
    loop = asyncio.get_running_loop()
    settling, still = Settling(loop.time(), timeout_s), 0
    while not settling.is_over(loop.time()):
        left = await stack.not_ready()
        if not left:
            left = {**await asyncio.to_thread(open_work, stack.data), **await backlog(stack)}
            settling.note(loop.time(), sum(left.values()))
        still = 0 if left else still + 1
        if still == 2:
            return {}
        await asyncio.sleep(1.0)
    return left
