"""The paper exchange of one chain: takes intents, offers them to every block, keeps its journal, tells what happened.

Memory changes only after the journal has committed, and one thing is done at a time. What is open, the balances and
the own impacts are loaded from the journal at start, so that a stop at any instruction loses and doubles nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dexlane.domain.simulation import (
    PaperWorld,
    Result,
    Scene,
    SimulationModel,
    eligible_from,
    score_fill,
    simulate_block,
    take_back,
    why_not_affordable,
)
from dexlane.events.control import BookChanged
from dexlane.events.execution import AccountOpened, FailureReason, IntentCreated
from dexlane.events.fees import DataFeeTerms, FeeQuoted, FeeTier
from dexlane.events.market import BlockApplied, BlockReorged
from dexlane.runtime.clock import Clock
from dexlane.runtime.errors import InvalidEvent, Transient
from dexlane.runtime.journal import Journal, Tx
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.values.base import digest
from dexlane.values.books import Book, Lane, Mode
from dexlane.values.chains import NATIVE, BlockRef
from dexlane.values.tokens import TokenDelta
from paper_sim import tables, trades
from paper_sim.metrics import Moments
from paper_sim.trades import PaperTrade, Status, Step

CONSUMER = "paper-sim"
INCLUSION_TIER = FeeTier.COST_EFFICIENT
"""The tier of a fee quote whose tip a full block is taken to ask for: the lowest one that is quoted."""

REPEATED_BLOCKS = 256
"""More than a mirror ever goes back: it remembers 128 blocks and its snapshots are younger."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How this exchange works: the model of inclusion, the depth of finality, the opening gas money."""

    model: SimulationModel
    confirmations: int
    opening_native_wei: int


class PaperExchange:
    """Everything on paper on one chain. ``load`` first; then intents, books and blocks in any order."""

    def __init__(self, mirror: PoolMirror, journal: Journal, terms: Terms, *, clock: Clock, moments: Moments) -> None:
        self.chain_id = mirror.chain_id
        self._mirror = mirror
        self._journal = journal
        self._terms = terms
        self._clock = clock
        self._moments = moments
        self._turn = asyncio.Lock()
        self._world = PaperWorld()
        self._open: dict[str, PaperTrade] = {}
        self._accounts: set[str] = set()
        self._books: dict[str, Book] = {}
        self._cursor: BlockRef | None = None
        self._next_ordinal = 1
        self._reorgs: deque[BlockReorged] = deque()
        self._fees: FeeQuoted | None = None

    async def load(self) -> None:
        """Take up what the journal says was open."""
        async with self._journal.reading() as conn:
            self._world = await tables.load_world(conn, self.chain_id)
            self._open = {trade.intent.id: trade for trade in await tables.load_trades(conn, self.chain_id)}
            self._accounts = await tables.load_accounts(conn, self.chain_id)
            self._cursor = await tables.load_cursor(conn, self.chain_id)
            self._next_ordinal = await tables.next_ordinal(conn, self.chain_id)

    def note_fees(self, quote: FeeQuoted) -> None:
        """Remember what the market pays in full blocks, and what a rollup charges for data."""
        self._fees = quote

    async def note_book(self, event: BookChanged) -> None:
        """Open the accounts of a paper book that was not seen before; at the next block when there is none yet."""
        if event.book.mode is not Mode.PAPER:
            return
        self._books[event.book.id] = event.book
        async with self._turn:
            await self._open_accounts()

    async def accept(self, intent: IntentCreated) -> None:
        """Take an intent: it is paid for and waits for a block, or it has failed. ``Transient`` before its account is
        open, ``InvalidEvent`` when it is not on paper."""
        if intent.mode is not Mode.PAPER:
            raise InvalidEvent(f"intent {intent.id} is {intent.mode}; paper-sim takes paper only")
        async with self._turn:
            newest = self._newest_for(intent)
            async with self._journal.transaction() as tx:
                if not await tx.first_time(CONSUMER, intent.id):
                    self._moments.repeated(intent)
                    return
                step = self._judge(intent, newest.number)
                await self._write(tx, [step])
            self._next_ordinal += 1
            self._adopt([step])
        self._moments.stepped(step)

    async def on_block(self, event: BlockApplied) -> None:
        """Offer what waits to a new block, score and confirm what is in earlier ones."""
        async with self._turn:
            await self._settle_reorgs()
            if self._is_repeated(event.block):
                return
            self._note_gap(event)
            await self._open_accounts()
            world = self._world.copy()
            steps = self._play(event, world)
            if steps or self._open or world.impacts.keys() != self._world.impacts.keys():
                async with self._journal.transaction() as tx:
                    await self._write(tx, steps)
                    await tables.save_world(tx.conn, self.chain_id, self._world, world)
                    await tables.save_cursor(tx.conn, self.chain_id, event.block)
            self._world, self._cursor = world, event.block
            self._adopt(steps)
        for step in steps:
            self._moments.stepped(step)

    async def on_reorg(self, event: BlockReorged) -> None:
        """Take back what was in replaced blocks. What cannot be written now is done before the next block."""
        self._reorgs.append(event)
        async with self._turn:
            await self._settle_reorgs()

    def _newest_for(self, intent: IntentCreated) -> BlockRef:
        tip = self._mirror.tip
        if tip is None:
            raise Transient(f"no block of chain {self.chain_id} is known yet")
        overdue = intent.plan is not None and tip.number >= intent.plan.deadline_block
        if intent.account not in self._accounts and not overdue:
            raise Transient(f"account {intent.account} of book {intent.book_id} is not open yet")
        return tip

    def _judge(self, intent: IntentCreated, newest: int) -> Step:
        waiting = [trade.waiting for trade in self._open.values() if trade.status is Status.WAITING]
        fault = why_not_affordable(intent, self._world, waiting, self._data_fee())
        if fault is not None:
            reason, now_ms = FailureReason.INSUFFICIENT_FUNDS, self._clock.now_ms()
            return trades.refused(intent, ordinal=self._next_ordinal, reason=reason, detail=fault, now_ms=now_ms)
        return trades.accepted(
            intent,
            ordinal=self._next_ordinal,
            eligible_from=eligible_from(intent, newest, self._terms.model),
            now_ns=self._clock.now_ns(),
        )

    def _play(self, event: BlockApplied, world: PaperWorld) -> list[Step]:
        """Everything that a block brings about, in ``world`` and as steps of trades."""
        scene = Scene(event, self._mirror.book.pools, self._market_tip_wei(), self._data_fee())
        now_ms = self._clock.now_ms()
        followed = list(self._follow_up(scene, world, now_ms))
        waiting = [trade.waiting for trade in self._open.values() if trade.status is Status.WAITING]
        outcomes = simulate_block(scene, waiting, world, self._terms.model)
        taken = [trades.ended(self._open[entry.intent.id], outcome, now_ms) for entry, outcome in outcomes]
        return [*followed, *taken]

    def _follow_up(self, scene: Scene, world: PaperWorld, now_ms: int) -> Iterator[Step]:
        """Score and confirm what an earlier block took, or take it back where this block does not follow that one: of a
        reorganisation that a mirror passed over when it began anew nothing else is heard."""
        for trade in self._open.values():
            block, outcome, plan = trade.block, trade.outcome, trade.intent.plan
            if block is None or outcome is None or scene.block.block.number <= block.number:
                continue
            if scene.block.block.number == block.number + 1 and scene.block.parent_hash != block.hash:
                take_back(world, trade.intent.account, outcome)
                yield trades.reorged(trade, now_ms)
                continue
            current = trade
            if plan is not None and outcome.result is Result.FILLED and not trade.scored:
                score = score_fill(plan, outcome.amount_out, scene.pools)
                step = trades.scored(current, scene.block.block, score, now_ms)
                current = step.trade
                yield step
            # Counted as live: the block of the trade is its first confirmation.
            if scene.block.block.number - block.number + 1 >= self._terms.confirmations:
                yield trades.confirmed(current, now_ms)

    def _market_tip_wei(self) -> int | None:
        cap = None if self._fees is None else self._fees.tiers.get(INCLUSION_TIER)
        return None if cap is None else cap.max_priority_fee_per_gas_wei

    def _data_fee(self) -> DataFeeTerms | None:
        return None if self._fees is None else self._fees.data_fee

    async def _settle_reorgs(self) -> None:
        while self._reorgs:
            await self._take_back_above(self._reorgs[0])
            self._reorgs.popleft()

    async def _take_back_above(self, event: BlockReorged) -> None:
        world = self._world.copy()
        async with self._journal.transaction() as tx:
            # Two tips that replace each other twice give two events of one id; their times tell them apart.
            if not await tx.first_time(CONSUMER, digest(event.id, event.occurred_at_ms)):
                return
            steps = []
            for trade in self._open.values():
                if trade.block is not None and trade.outcome is not None and trade.block.number > event.ancestor.number:
                    take_back(world, trade.intent.account, trade.outcome)
                    steps.append(trades.reorged(trade, self._clock.now_ms()))
            world.impacts.clear()
            await self._write(tx, steps)
            await tables.save_world(tx.conn, self.chain_id, self._world, world)
            await tables.save_cursor(tx.conn, self.chain_id, event.ancestor)
        self._world, self._cursor = world, event.ancestor
        self._adopt(steps)
        self._moments.reorged(event, len(steps))

    async def _open_accounts(self) -> None:
        tip = self._mirror.tip
        if tip is None:
            return
        for book in self._books.values():
            for lane, account in book.accounts.items():
                if account not in self._accounts:
                    await self._open_account(self._opening(book, lane, tip))

    def _opening(self, book: Book, lane: Lane, tip: BlockRef) -> AccountOpened:
        return AccountOpened(
            id=AccountOpened.make_id(book.id, book.accounts[lane]),
            chain_id=book.chain_id,
            occurred_at_ms=self._clock.now_ms(),
            book_id=book.id,
            mode=book.mode,
            lane=lane,
            account=book.accounts[lane],
            quote=book.quote,
            block=tip,
            balances=(
                TokenDelta(token=book.quote.address, amount=book.limits[lane].capital),
                TokenDelta(token=NATIVE, amount=self._terms.opening_native_wei),
            ),
        )

    async def _open_account(self, opened: AccountOpened) -> None:
        world = self._world.copy()
        world.move(opened.account, opened.balances)
        async with self._journal.transaction() as tx:
            await tables.save_account(tx.conn, opened)
            await tables.save_world(tx.conn, self.chain_id, self._world, world)
            await tx.emit(opened)
        self._world = world
        self._accounts.add(opened.account)
        self._moments.account_opened(opened)

    def _note_gap(self, event: BlockApplied) -> None:
        follows = self._cursor is None or event.parent_hash == self._cursor.hash
        if not follows and self._cursor is not None and self._open:
            self._moments.blocks_unseen(self._cursor, event.block)

    def _is_repeated(self, block: BlockRef) -> bool:
        """Whether a mirror that began anew tells a block again. Far below the cursor it is another chain's block."""
        return self._cursor is not None and 0 <= self._cursor.number - block.number < REPEATED_BLOCKS

    async def _write(self, tx: Tx, steps: Sequence[Step]) -> None:
        latest = {step.trade.intent.id: step.trade for step in steps}
        await tables.save_trades(tx.conn, latest.values())
        for step in steps:
            for fact in step.facts:
                await tx.emit(fact)

    def _adopt(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if step.trade.status is Status.CLOSED:
                self._open.pop(step.trade.intent.id, None)
            else:
                self._open[step.trade.intent.id] = step.trade
