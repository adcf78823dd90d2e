"""The executor of one chain in one lane: verdicts and exits in, intents out, live ones carried to finality."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from dexlane.chain.calldata import UnroutableError
from dexlane.chain.execution import slots as store
from dexlane.chain.execution.allowances import AllowanceKeeper
from dexlane.chain.execution.brakes import Brakes
from dexlane.chain.execution.fencing import FencedJournal
from dexlane.chain.execution.holdings import AccountBook
from dexlane.chain.execution.intent_writing import IntentWriting, Written
from dexlane.chain.execution.live import LiveAccess, LiveDesk, LiveParts
from dexlane.chain.execution.market_view import MarketView, Milestone
from dexlane.chain.execution.moments import ExecutionMoments
from dexlane.chain.execution.path_choice import PathChoice
from dexlane.chain.execution.readiness import Readiness
from dexlane.chain.execution.records import Cause, Stamp, allowance_intent, asked
from dexlane.chain.execution.reservations import Reservations
from dexlane.chain.execution.side_values import SideValues
from dexlane.chain.execution.slots import Slot
from dexlane.chain.execution.thoughts import Considered, Decided, TradeThoughts, is_urgent
from dexlane.chain.execution.waiting import WaitingRoom, waited_for
from dexlane.domain.circumstances import Market, Objection, Planned, PlanningRules, Refused, refusal
from dexlane.domain.planning import plans
from dexlane.domain.trade_choice import first_carried
from dexlane.events.confirmations import ConfirmationGiven
from dexlane.events.control import Status
from dexlane.events.execution import FillConfirmed, IntentFailed, Purpose
from dexlane.events.market import BlockApplied
from dexlane.events.portfolio import ExitTriggered
from dexlane.events.risk import VerdictApproved
from dexlane.runtime.clock import Clock
from dexlane.runtime.errors import Transient
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.values.books import Book, Lane, Mode

PASS_GIVES_WAY_S = 0.02
"""How long the pass over a block lets verdicts on that block go first, while no trade is on its way."""


@dataclass(frozen=True, kw_only=True)
class ExecutorParts:
    """What an executor is made of. ``journal`` and ``reservations`` are those of one term; ``view``, which must be told
    of every block, outlives it, and side values serve all chains of the service. ``why_no_room`` says why nothing new
    may be begun for want of disk space."""

    service: str
    lane: Lane
    mirror: PoolMirror
    view: MarketView
    journal: FencedJournal
    clock: Clock
    moments: ExecutionMoments
    side: SideValues
    reservations: Reservations
    brakes: Brakes
    rules: PlanningRules = field(default_factory=PlanningRules)
    why_no_room: Callable[[], str | None] = lambda: None


def _routed(live: LiveDesk, lane: Lane, book: Book, planned: Planned) -> Planned | Refused:
    """The plan with the router that carries it out, or what stands against it; of the account only when live."""
    try:
        trade = live.payloads.routed(planned.plan, book.accounts[lane])
    except UnroutableError as error:
        return refusal([Objection("unroutable", str(error))])
    routed = planned if trade is planned.plan else replace(planned, plan=trade)
    if book.mode is Mode.PAPER:
        return routed
    objection = live.objection(book, trade, is_entry=planned.purpose is not Purpose.EXIT)
    return routed if objection is None else refusal([objection])


def _consumer(parts: ExecutorParts, chain_id: int) -> str:
    return f"{parts.service}-{chain_id}"


def _live_parts(parts: ExecutorParts, chain_id: int, on_final: Callable[[Slot], None]) -> LiveParts:
    return LiveParts(
        consumer=_consumer(parts, chain_id),
        journal=parts.journal,
        clock=parts.clock,
        moments=parts.moments,
        on_final=on_final,
        status=lambda: parts.side.status(chain_id),
        brakes=parts.brakes,
    )


class Executor:
    """Plans for every book of its chain and lane, and executes what is live, during one term."""

    def __init__(self, parts: ExecutorParts, access: LiveAccess) -> None:
        self._parts = parts
        self._side = parts.side
        self._journal = parts.journal
        self._clock = parts.clock
        self._reservations = parts.reservations
        self._brakes = parts.brakes
        self._consumer = _consumer(parts, access.chain_id)
        self._chain_id = access.chain_id
        self.view = parts.view
        self.live = LiveDesk(access, _live_parts(parts, access.chain_id, self._on_final))
        # One decision at a time: what it reserves and the nonce it takes must be visible to the next.
        self._deciding = asyncio.Lock()
        self._wake = asyncio.Event()
        self._born_ns = parts.clock.monotonic_ns()
        self._allowances = AllowanceKeeper(parts.lane, self.live, parts.moments)
        self._paths = PathChoice(access.relays, parts.moments.relays)
        self._passes = Milestone()
        self._thoughts = TradeThoughts(parts.rules)
        self._waiting = WaitingRoom(parts.journal, self._consumer, self._thoughts, parts.moments, self._stamp)
        self._writing = IntentWriting(parts.reservations, self.live, self._allowances, parts.clock, self._stamp)
        self._accounts = AccountBook(parts.lane, parts.side, parts.reservations, self.live, parts.clock)
        self._readiness = Readiness(parts.lane, self.live, parts.side, self._allowances.approvals)

    async def on_verdict(self, verdict: VerdictApproved) -> None:
        """Plan for every book that the verdict is for: what is live first, up to the node, then what is on paper.

        ``Transient`` while the disk is so full that only exits and open transactions may write.
        """
        began = self._clock.monotonic_ns()
        await self._ready_for(verdict)
        addressee = verdict.opportunity.addressee
        books = [book for book in self._side.books(self._chain_id) if addressee in {None, book.id}]
        await self._act(verdict, [book for book in books if book.mode is Mode.LIVE], self._consumer, began)
        paper = [book for book in books if book.mode is Mode.PAPER]
        await self._act(verdict, paper, f"{self._consumer}-paper", began)

    async def on_confirmation(self, given: ConfirmationGiven) -> None:
        """Plan a trade that a person confirmed, on the state of now: once, and never for more than was confirmed."""
        began = self._clock.monotonic_ns()
        book = self._side.book(given.book_id)
        if book is None:
            raise Transient(f"book {given.book_id} is not known yet")
        await self._ready_for(given.verdict)
        await self._act(given.verdict, [book], f"{self._consumer}-confirmed", began, given=given)

    async def _ready_for(self, verdict: VerdictApproved) -> None:
        """Wait a moment for the block of an entry, and for the pass over it. ``Transient`` without room for entries."""
        if (no_room := self._parts.why_no_room()) is not None:
            raise Transient(no_room)
        await self.view.reach(verdict.opportunity.block.number)
        if (tip := self.view.tip) is not None and self.live.is_busy:
            # The last trade may be in this very block; once the pass has seen that, the next one may go.
            await self._passes.wait_for(tip.block.number)

    async def _act(
        self,
        verdict: VerdictApproved,
        books: Sequence[Book],
        consumer: str,
        began_ns: int,
        *,
        given: ConfirmationGiven | None = None,
    ) -> None:
        """Plan, journal and launch for some books, noted in the inbox under a name of their own."""
        if not books:
            return
        with self._journal.relay_held():
            async with self._deciding:
                market = self.view.market()
                decided: list[Decided] = []
                for book in books:
                    decided.append(self._decide(verdict, book, market, decided, given))
                written: list[Written] = []
                try:
                    if given is None:
                        await self._waiting.for_cheaper_gas(verdict, decided, market, consumer)
                    written = await self._commit(verdict, decided, market, consumer, given)
                finally:
                    if not written:
                        self._brakes.probes.give_back([taken for one in decided for taken in one.rounds])
            await self._launch(written)
        seconds = (self._clock.monotonic_ns() - began_ns) / 1e9
        for one in written:
            self._parts.moments.planned(one.intent, seconds)
        await self._thoughts.follow(self._journal, verdict, decided if written else (), self._stamp())

    async def on_exit(self, exit_: ExitTriggered) -> None:
        """Close a position, once. What forbids it only for the moment is recorded once, and the exit comes again."""
        began = self._clock.monotonic_ns()
        book = self._side.book(exit_.book_id)
        if book is None:
            raise Transient(f"book {exit_.book_id} is not known yet")
        async with self._deciding:
            market = self.view.market()
            decided = self._decide(exit_, book, market)
            outcome = decided.outcome
            if isinstance(outcome, Refused) and outcome.passing and not await self._waiting.consumed(exit_.id):
                await self._waiting.tell(exit_, [decided])
                raise waited_for(outcome, market)
            written = await self._commit(exit_, [decided], market, self._consumer)
        for one in written:
            self._parts.moments.planned(one.intent, (self._clock.monotonic_ns() - began) / 1e9)
        await self._launch(written)
        await self._thoughts.follow(self._journal, exit_, [decided] if written else (), self._stamp())

    async def on_outcome(self, event: FillConfirmed | IntentFailed) -> None:
        """A paper intent of ours came to its end. Live ones are seen on the chain."""
        is_end = isinstance(event, FillConfirmed) or event.final
        if event.mode is not Mode.PAPER or not is_end or not self._reservations.is_held(event.intent_id):
            return
        intent = self._reservations.intent(event.intent_id)
        fill = event.fill if isinstance(event, FillConfirmed) else None
        async with self._journal.transaction() as tx:
            await store.close_intent(tx, event.intent_id, fill)
        self._brakes.ended(intent, event)
        self._reservations.release(event.intent_id, fill)

    def books_changed(self) -> None:
        """A book is new or different."""
        self.live.books_changed(self._side.books(self._chain_id))
        self._wake.set()

    def wake(self) -> None:
        """There is a new block, or something that open transactions should hear of before one, such as a halt."""
        self._wake.set()

    def why_not_ready(self) -> bool | str:
        """A readiness probe: open transactions are settled, and every enabled book could trade or never will."""
        age_ns = self._clock.monotonic_ns() - self._born_ns
        return self._readiness.why_not(self._side.books(self._chain_id), age_ns)

    async def run(self) -> None:
        """Follow the chain for ever: after each block settle open transactions and tend the accounts."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            tip = self.view.tip
            if tip is None:
                continue
            if not self.live.is_busy:
                # Nobody waits for this pass, and a verdict on the block may be about to come.
                await asyncio.sleep(PASS_GIVES_WAY_S)
            try:
                await self.step(self.view.tip or tip)
            except Transient as error:
                self._parts.moments.pass_failed(self._chain_id, str(error))

    async def step(self, tip: BlockApplied) -> None:
        """One pass over everything live; what an earlier one saw, but could not store, is stored before."""
        await self._brakes.look(self._journal)
        try:
            await self.live.on_head(tip, self._side.status(self._chain_id), self._parts.mirror.book.pools)
            if self.live.keys_loaded:
                await self._tend_allowances(tip)
        finally:
            self._passes.reached(tip.block.number)
        await self._brakes.look(self._journal)

    def _stamp(self) -> Stamp:
        return Stamp(self._parts.service, self._chain_id, self._parts.lane, self._clock.now_ns())

    def _on_final(self, slot: Slot) -> None:
        self._reservations.release(slot.intent.id, slot.fill)
        self._allowances.ended(slot)

    def _decide(
        self,
        cause: Cause,
        book: Book,
        market: Market,
        beside: Sequence[Decided] = (),
        given: ConfirmationGiven | None = None,
    ) -> Decided:
        if isinstance(cause, ExitTriggered) and book.mode is Mode.LIVE:
            self._allowances.approvals.ask(cause.account, cause.token.address, market.block.number)
        holdings = self._accounts.of(cause, book, ((one.book, one.outcome) for one in beside), given)
        considered: list[Considered] = []

        def planned(held: Market) -> Planned | Refused:
            wanted = plans(cause, book, holdings, held, self._parts.rules)
            preferred = next(wanted)
            considered.append(Considered(holdings, held, preferred))

            def carried(one: Planned) -> Planned | Refused:
                return self._paths.of(cause, book, _routed(self.live, self._parts.lane, book, one), held)

            return first_carried(chain([preferred], wanted), carried)

        outcome, rounds = self._brakes.tried(book.mode, market, planned)
        return Decided(book, outcome, considered[-1], rounds)

    async def _commit(
        self,
        cause: Cause,
        decided: Sequence[Decided],
        market: Market,
        consumer: str,
        given: ConfirmationGiven | None = None,
    ) -> list[Written]:
        """Inbox, reservations, intents, slots and events in one transaction; nothing for a cause seen before."""
        written: list[Written] = []
        noted = None if is_urgent(decided) else self._thoughts.recorded(cause, decided, self._stamp())
        async with self._journal.transaction() as tx:
            if not await tx.first_time(consumer, cause.id if given is None else given.id):
                await self._thoughts.make_up(tx, cause, [one.book for one in decided], self._stamp())
                return []
            for one in decided:
                if isinstance(one.outcome, Refused):
                    question = asked(cause, one.book, one.outcome, market, self._stamp())
                    if question is not None:
                        await tx.emit(question)
                else:
                    written += await self._writing.write(tx, cause, one.book, one.outcome, market)
                    await self._brakes.probes.write(tx, written[-1].intent, one.rounds)
            for event in () if noted is None else noted.events:
                await tx.emit(event)
        if noted is not None:
            noted.keep()
        for one in decided:
            if isinstance(one.outcome, Refused):
                self._parts.moments.refused(cause.id, one.book.id, one.outcome.outcome, one.outcome.reasons)
        self._writing.take(written)
        return written

    async def _launch(self, written: Sequence[Written]) -> None:
        for one in written:
            if one.slot is not None:
                await self.live.transactions.launch(one.slot)

    async def _tend_allowances(self, tip: BlockApplied) -> None:
        """Set the bounded allowances that the live accounts need and take back all others, each by an intent of its
        own. Taking back lowers risk, so it goes on while only exits do; HALTED sends nothing but cancels."""
        if self._side.status(self._chain_id) is Status.HALTED or self._parts.why_no_room() is not None:
            return
        await self._allowances.recall(self._journal)
        fee_quote, pools = self._side.fee_quote(self._chain_id), self._parts.mirror.book.pools
        for book, wanted in await self._allowances.wanted(tip, pools, fee_quote):
            async with self._deciding:
                intent = allowance_intent(book, wanted.grant, wanted.amount, tip.block, self._stamp())
                slot = self.live.transactions.draft(intent, 0, wanted.terms)
                async with self._journal.transaction() as tx:
                    await self.live.transactions.write(tx, slot)
                self._writing.take([Written(intent, 0, slot)])
            await self.live.transactions.launch(slot)
