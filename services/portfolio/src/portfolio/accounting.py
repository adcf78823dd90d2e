"""Events into books: read what holds, apply the pure rules, write rows and facts in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.domain.ledger import (
    ConflictingOutcome,
    Fill,
    LedgerAccount,
    Outcome,
    OutcomeState,
    OutcomeStep,
    apply_outcome,
    opening_entry,
)
from dexlane.domain.positions import Holdings, MixedQuote, Position, Traded, add_fill, fold_fills
from dexlane.events.execution import AccountOpened, IntentCreated, IntentFailed, Purpose
from dexlane.events.portfolio import ExitTriggered
from dexlane.runtime.errors import Fatal, InvalidEvent
from dexlane.runtime.journal import Journal, Tx
from portfolio.marks import Announcer
from portfolio.marks.records import noted_exit
from portfolio.marks.results import Result
from portfolio.metrics import Moments
from portfolio.store.entries import EntryStore
from portfolio.store.positions import AccountRef, ExitState, ExitStore, PositionStore
from portfolio.store.trades import TradeStore

CONSUMER = "portfolio"


@dataclass(frozen=True)
class Accounting:
    """The single writer of the ledger."""

    journal: Journal
    announcer: Announcer
    moments: Moments
    on_result: Callable[[Result], None] = lambda result: None
    """Told of what a trade realised, after that was committed."""

    async def open_account(self, event: AccountOpened) -> None:
        """Book opening balances, once for each account of a book."""
        async with self.journal.transaction() as tx:
            if not await tx.first_time(CONSUMER, event.id):
                return
            positions = PositionStore(tx.conn)
            if await positions.account(event.book_id, event.account) is not None:
                return
            entry = opening_entry(event)
            await EntryStore(tx.conn).post(entry)
            await positions.open_account(event, entry.id)
            await self._tell_exposure(tx, event)
        self.moments.account_opened(event)

    async def book(self, event: Outcome) -> None:
        """Let an outcome take hold if it is newer than what holds; ``InvalidEvent`` when it contradicts that."""
        realised: list[int] = []
        async with self.journal.transaction() as tx:
            step = await self._apply(tx, event, realised)
        if step is None:
            self.moments.outcome_repeated(event)
            return
        self.moments.outcome_booked(event, len(step.entries))
        for amount in realised:
            self.on_result(Result(event.chain_id, event.book_id, event.lane, event.mode, amount))

    async def _apply(self, tx: Tx, event: Outcome, realised: list[int]) -> OutcomeStep | None:
        if not await tx.first_time(CONSUMER, event.id):
            return None
        entries = EntryStore(tx.conn)
        current = await entries.outcome(event.intent_id)
        try:
            step = apply_outcome(current, event)
        except ConflictingOutcome as error:
            raise InvalidEvent(str(error)) from error
        if step.state is current:
            return None
        for entry in step.entries:
            await entries.post(entry)
        if current is not None and current.final and step.entries:
            self.moments.final_outcome_changed(event)
        result = await self._restate(tx, event, current, step)
        if result is not None and event.purpose in {Purpose.EXIT, Purpose.GAP}:
            realised.append(result)
        await entries.save_outcome(step.state)
        await PositionStore(tx.conn).tell_results(event.book_id, event.account)
        await self._settle_exit(tx, event)
        if step.entries:
            await self._tell_exposure(tx, event)
        return step

    async def _restate(self, tx: Tx, event: Outcome, current: OutcomeState | None, step: OutcomeStep) -> int | None:
        """Bring the positions of the account up to the outcome that now holds; returns what a new fill realised."""
        before_fill = current.event if current is not None and isinstance(current.event, Fill) else None
        fill = event if isinstance(event, Fill) else before_fill
        if not step.entries or fill is None:
            return None
        entries, positions = EntryStore(tx.conn), PositionStore(tx.conn)
        account = AccountRef(fill.book_id, fill.account, fill.chain_id, fill.lane, fill.mode, fill.quote)
        before = await positions.holdings(account.book_id, account.address)
        newest = await entries.newest_fill_block(account.book_id, account.address)
        try:
            is_newest = before_fill is None and fill.block is not None and fill.block.number > newest
            after = add_fill(before, fill) if is_newest else await self._refold(entries, account, event)
        except MixedQuote as error:
            raise InvalidEvent(str(error)) from error
        await self._save(tx, account, before, after, event)
        await TradeStore(tx.conn).save(account.book_id, account.address, after.trades, whole=not is_newest)
        if before_fill is not None or not isinstance(event, Fill):
            return None
        return sum(one.realised for one in after.positions.values()) - sum(
            one.realised for one in before.positions.values()
        )

    async def _refold(self, entries: EntryStore, account: AccountRef, event: Outcome) -> Holdings:
        self.moments.positions_refolded(account.book_id, account.address)
        standing = await entries.standing_fills(account.book_id, account.address)
        others = [fill for fill in standing if fill.intent_id != event.intent_id]
        return fold_fills([*others, event] if isinstance(event, Fill) else others)

    async def _save(self, tx: Tx, account: AccountRef, before: Holdings, after: Holdings, event: Outcome) -> None:
        positions = PositionStore(tx.conn)
        for token in sorted({*before.positions, *after.positions}):
            old = before.positions.get(token, Position())
            new = after.positions.get(token) or Position(strategy=old.strategy)
            if new != old:
                stored = await positions.save_position(account, token, new)
                await self.announcer.position(tx, stored, event.block)
        for day in sorted({*before.realised_by_day, *after.realised_by_day}):
            realised = after.realised_by_day.get(day, 0)
            if realised != before.realised_by_day.get(day, 0):
                await positions.save_day(account, day, realised)

    async def adopt_exit(self, event: ExitTriggered) -> None:
        """Take an exit that somebody else triggered, such as a person, for an open one of its position, so that no rule
        closes the same position while that one is under way. Its outcome may have been booked before it is heard of."""
        async with self.journal.transaction() as tx:
            exits, intent_id = ExitStore(tx.conn), IntentCreated.make_id(event.book_id, event.id, Purpose.EXIT)
            if not await tx.first_time(CONSUMER, event.id) or await exits.of_intent(intent_id) is not None:
                return
            stored = await PositionStore(tx.conn).position(event.book_id, event.account, event.token.address)
            if stored is None:
                return
            outcome = await EntryStore(tx.conn).outcome(intent_id)
            state = ExitState.OPEN if outcome is None else _exit_state(outcome.event)
            await exits.add(noted_exit(event, stored, state))
        self.moments.exit_adopted(event)

    async def _settle_exit(self, tx: Tx, event: Outcome) -> None:
        """Note what became of the exit behind this intent. A failed one raises the position's version, so that the
        same rule can fire again; one that a reorganisation took back is open again, because its bytes still live."""
        exits = ExitStore(tx.conn)
        triggered = await exits.of_intent(event.intent_id)
        if triggered is None:
            return
        state = _exit_state(event)
        if state is triggered.state:
            return
        await exits.settle(triggered.exit_id, state)
        stored = await PositionStore(tx.conn).position(triggered.book_id, triggered.address, triggered.token)
        # A sale that moved nothing of its token, because the token tells of no transfer, left the version as it was.
        is_unmoved = stored is not None and stored.version == triggered.position_version
        if state is ExitState.FAILED or (state is ExitState.FILLED and is_unmoved):
            await self.announcer.rearm(tx, triggered, event.block, state)

    async def _tell_exposure(self, tx: Tx, event: Outcome | AccountOpened) -> None:
        account = await PositionStore(tx.conn).account(event.book_id, event.account)
        if account is not None:
            await self.announcer.exposure(tx, account, event.block)

    async def verify(self) -> None:
        """Prove the stored books: every token sums to zero, running balances equal the postings, positions and what
        trades realised equal a rebuild from all outcomes that hold. ``Fatal`` with a sentence when one does not. Only
        where no trade at all is noted, as after an upgrade of an old ledger, they are noted from that rebuild."""
        made: dict[tuple[str, str], Mapping[str, Traded]] = {}
        async with self.journal.reading() as conn:
            await _verify_balances(EntryStore(conn))
            noted = await TradeStore(conn).accounts()
            for key in await EntryStore(conn).accounts() | await PositionStore(conn).held_by() | noted:
                made[key] = await _verify_account(conn, *key, with_trades=bool(noted))
        if not noted and any(made.values()):
            async with self.journal.transaction() as tx:
                for key, trades in made.items():
                    await TradeStore(tx.conn).save(*key, trades, whole=True)
                    await PositionStore(tx.conn).tell_results(*key)


async def _verify_balances(entries: EntryStore) -> None:
    summed = await entries.summed_balances()
    unbalanced = trial_sums(summed)
    if unbalanced:
        raise Fatal(f"the ledger does not balance: postings of {_listed(unbalanced)} do not sum to zero")
    if summed != await entries.running_balances():
        raise Fatal("the running balances differ from the sum of the postings; restore the ledger's database")


async def _verify_account(
    conn: AsyncConnection, book_id: str, address: str, *, with_trades: bool
) -> Mapping[str, Traded]:
    """Prove the positions, and the noted trades, of one account; returns the trades of its rebuild."""
    rebuilt = fold_fills(await EntryStore(conn).standing_fills(book_id, address))
    if not same_holdings(await PositionStore(conn).holdings(book_id, address), rebuilt):
        raise Fatal(f"the positions of book {book_id} at {address} differ from a rebuild of its outcomes")
    if with_trades and not await TradeStore(conn).is_noted(book_id, address, rebuilt.trades):
        raise Fatal(
            f"what trades of book {book_id} at {address} realised differs from a rebuild of its outcomes; "
            "restore the ledger's database"
        )
    return rebuilt.trades


def _exit_state(event: Outcome) -> ExitState:
    if isinstance(event, IntentFailed):
        return ExitState.FAILED
    return ExitState.FILLED if isinstance(event, Fill) else ExitState.OPEN


def trial_sums(balances: dict[tuple[str, str], int]) -> dict[str, int]:
    """Tokens whose balances over all ledger accounts do not sum to zero, with their sums."""
    sums: dict[str, int] = {}
    for (path, token), amount in balances.items():
        LedgerAccount.parse(path)
        sums[token] = sums.get(token, 0) + amount
    return {token: amount for token, amount in sums.items() if amount != 0}


def same_holdings(left: Holdings, right: Holdings) -> bool:
    """Whether two holdings are equal apart from positions and days in which nothing is left.

    The time of a lot, and the day of a result, do not count: a confirmation says the same as the inclusion it confirms,
    only later, perhaps after midnight, and which of the two was read depends on when all was last rebuilt.
    """

    def lots(position: Position) -> list[tuple[object, ...]]:
        return [(lot.quantity, lot.cost, lot.origin.block_number, lot.origin.strategy) for lot in position.lots]

    def essence(holdings: Holdings) -> tuple[dict[str, tuple[object, ...]], int]:
        rows: dict[str, tuple[object, ...]] = {
            token: (lots(one), one.realised, one.cost_in, one.cost_sold)
            for token, one in holdings.positions.items()
            if one.lots or one.realised or one.cost_in or one.cost_sold
        }
        return rows, sum(holdings.realised_by_day.values())

    return essence(left) == essence(right)


def _listed(sums: dict[str, int]) -> str:
    return ", ".join(f"{token} ({amount})" for token, amount in sorted(sums.items()))
