"""What holdings are worth at an executable quote, what is told because of it, and which positions it closes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dexlane.domain.exits import (
    ExecutableValue,
    HeldPosition,
    Warned,
    evaluate_exit,
    executable_value,
    rest_after,
    warned,
)
from dexlane.domain.ledger import AccountKind, LedgerAccount
from dexlane.domain.positions import DAY_MS
from dexlane.domain.selling import pools_between
from dexlane.events.control import Status, TradingStatus, strictest
from dexlane.events.market import BlockApplied
from dexlane.events.portfolio import ExitReason, ExposureChanged, PositionChanged, TradeResults
from dexlane.events.risk import TokenFlagged
from dexlane.events.seals import Approver
from dexlane.runtime.clock import Clock
from dexlane.runtime.journal import Journal, Tx
from dexlane.runtime.latest import LatestByKey
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.runtime.sealing import Approving
from dexlane.values.books import Book, Mode
from dexlane.values.chains import NATIVE, BlockRef
from dexlane.values.pools import Pool
from dexlane.values.tokens import Token
from portfolio.marks.parts import parts_of
from portfolio.marks.records import ExitRecords, Judged, exit_event, noted_exit
from portfolio.marks.shortfalls import Shortfalls
from portfolio.metrics import Moments
from portfolio.store.entries import EntryStore
from portfolio.store.positions import (
    AccountRef,
    ExitState,
    ExitStore,
    PositionStore,
    StoredExit,
    StoredPosition,
)
from portfolio.store.trades import TradeStore

RESULTS_EVERY = 20
"""Results are told when they changed, and with every so manieth exposure, in case the broker lost them."""
ValueOf = Callable[[str, int], ExecutableValue | None]


@dataclass(frozen=True)
class Marks:
    """Values from the pool mirrors. Nothing is valued on a block older than ``max_block_age_ms``."""

    mirrors: Mapping[int, PoolMirror]
    clock: Clock
    max_block_age_ms: int

    def is_current(self, chain_id: int) -> bool:
        """Whether the newest block of a chain is young enough to act on."""
        mirror = self.mirrors.get(chain_id)
        if mirror is None or mirror.tip_event is None:
            return False
        return self.clock.now_ns() - mirror.tip_event.received_at_ns <= self.max_block_age_ms * 1_000_000

    def tip(self, chain_id: int) -> BlockRef | None:
        """The block that values refer to."""
        mirror = self.mirrors.get(chain_id)
        return None if mirror is None else mirror.tip

    def token(self, chain_id: int, address: str) -> Token | None:
        """A token as the watched pools know it; None when none trades it."""
        mirror = self.mirrors.get(chain_id)
        if mirror is None or not mirror.book.pools.trading(address):
            return None
        key = mirror.book.pools.key(mirror.book.pools.trading(address)[0])
        return next(token for token in key.tokens if token.address == address)

    def value(self, account: AccountRef, token: str, quantity: int) -> ExecutableValue | None:
        """What selling the quantity now would bring; None when there is no current price for it."""
        if quantity <= 0 or not self.is_current(account.chain_id):
            return None
        return self.valued(account, token, quantity)[1]

    def valued(
        self, account: AccountRef, token: str, quantity: int
    ) -> tuple[Mapping[str, Pool], ExecutableValue | None]:
        """What selling the quantity for the quote token of an account would bring on the states as they are, and the
        pools that say so: those that trade the pair, and others only where none of them takes it all."""
        table, quote = self.mirrors[account.chain_id].book.pools, account.traded_quote.address
        pools = pools_between(table, token, quote, 1)
        value = executable_value(pools, token, quote, quantity)
        if value is None or value.pool is None:
            pools = pools_between(table, token, quote)
            value = executable_value(pools, token, quote, quantity)
        return pools, value

    def unrealised(self, stored: StoredPosition) -> int | None:
        """Executable value less cost, quote units; zero when nothing is held, None when there is no price."""
        position = stored.position
        if not position.lots:
            return 0
        value = self.value(stored.account, stored.token, position.quantity)
        return None if value is None else value.proceeds - position.cost


@dataclass(frozen=True)
class Announcer:
    """Writes ``position.changed`` and ``exposure.changed`` into the open transaction."""

    marks: Marks
    moments: Moments
    on_exposure: Callable[[ExposureChanged, Mode], None] = lambda event, mode: None
    """Told of every valuation."""

    async def position(self, tx: Tx, stored: StoredPosition, block: BlockRef | None) -> None:
        """Tell a position as it now is. Withheld while no watched pool knows the token's symbol and decimals."""
        account, position = stored.account, stored.position
        is_quote = stored.token == account.quote.address
        token = account.quote if is_quote else self.marks.token(account.chain_id, stored.token)
        if token is None:
            self.moments.token_unknown(account.book_id, stored.token)
            return
        origin = position.origin
        await tx.emit(
            PositionChanged(
                id=PositionChanged.make_id(account.book_id, account.address, stored.token, stored.version),
                chain_id=account.chain_id,
                occurred_at_ms=tx.now_ms,
                book_id=account.book_id,
                mode=account.mode,
                lane=account.lane,
                account=account.address,
                token=token,
                quote=account.quote,
                position_version=stored.version,
                quantity=position.quantity,
                cost=position.cost,
                realised=position.realised,
                unrealised=self.marks.unrealised(stored),
                strategy=position.strategy,
                opened_block=None if origin is None else origin.block_number,
                block=block,
            )
        )

    async def exposure(self, tx: Tx, account: AccountRef, block: BlockRef | None) -> None:
        """Tell what an opened account has at work, under the next version."""
        positions, entries = PositionStore(tx.conn), EntryStore(tx.conn)
        stored = await positions.positions(account.book_id, account.address)
        held = [one.position for one in stored if one.position.quantity > 0]
        assets = LedgerAccount(AccountKind.ASSETS, account.book_id, account.address)
        owned = {token: amount for (_, token), amount in (await entries.running_balances(assets)).items()}
        gas = LedgerAccount(AccountKind.GAS, account.book_id, account.address)
        version = await positions.next_exposure_version(account)
        values: dict[tuple[str, int], ExecutableValue | None] = {}

        def value(token: str, amount: int) -> ExecutableValue | None:
            if (token, amount) not in values:
                values[token, amount] = self.marks.value(account, token, amount)
            return values[token, amount]

        results, told = await self._results(tx, account, version)
        event = ExposureChanged(
            id=ExposureChanged.make_id(account.book_id, account.lane, version),
            chain_id=account.chain_id,
            occurred_at_ms=tx.now_ms,
            book_id=account.book_id,
            lane=account.lane,
            quote=account.quote,
            exposure_version=version,
            at_work=sum(max(0, position.cost) for position in held),
            open_positions=len(held),
            realised_today=await positions.realised_on(account, tx.now_ms // DAY_MS),
            realised_total=sum(one.position.realised for one in stored),
            fees_paid_wei=await entries.balance(gas, NATIVE),
            equity=self._equity(account, owned, value),
            native_balance_wei=owned.get(NATIVE, 0),
            block=block,
            parts=tuple(part for one in stored for part in parts_of(one, value(one.token, one.position.quantity))),
            results=results,
            results_version=told,
        )
        await tx.emit(event)
        worth = {one.token: value(one.token, one.position.quantity) for one in stored if one.position.quantity > 0}
        stuck = {token for token, found in worth.items() if found is None or found.rest}
        self.moments.exposure_told(event, account.mode, stuck)
        self.on_exposure(event, account.mode)

    async def _results(self, tx: Tx, account: AccountRef, version: int) -> tuple[TradeResults | None, int]:
        """The results of an account when they changed, or were not told for long; and the version that told them."""
        positions = PositionStore(tx.conn)
        told = await positions.results_version(account)
        if told and version - told < RESULTS_EVERY:
            return None, told
        await positions.tell_results(account.book_id, account.address, version)
        return await TradeStore(tx.conn).results(account), version

    async def rearm(self, tx: Tx, triggered: StoredExit, block: BlockRef | None, why: ExitState) -> None:
        """Give a position whose exit came to nothing its next version, under which every rule can fire again."""
        positions = PositionStore(tx.conn)
        stored = await positions.position(triggered.book_id, triggered.address, triggered.token)
        if stored is not None:
            raised = await positions.save_position(stored.account, stored.token, stored.position)
            await self.position(tx, raised, block)
            self.moments.exit_rearmed(triggered.exit_id, triggered.reason, why)

    def _equity(self, account: AccountRef, owned: Mapping[str, int], value_of: ValueOf) -> int | None:
        """Quote balance and what selling all other tokens brings now, without native coin; None without a price."""
        equity = owned.get(account.quote.address, 0)
        for token, amount in owned.items():
            if token in {NATIVE, account.quote.address}:
                continue
            value = value_of(token, amount)
            if value is None:
                self.moments.price_missing(account.book_id, token)
                return None
            # Dust, and what lost its liquidity, brings nothing, which must not hide what all else is worth for ever.
            equity += value.proceeds
        return equity


@dataclass(frozen=True)
class SideValues:
    """Last values that decide about exits: books by id, and each source's word on trading by (chain, source)."""

    books: LatestByKey[str, Book] = field(default_factory=lambda: LatestByKey("book"))
    statuses: LatestByKey[tuple[int, str], TradingStatus] = field(default_factory=lambda: LatestByKey("trading status"))
    warnings: dict[tuple[int, str], Warned] = field(default_factory=dict)
    """By chain and token, as far as anything is known against it."""

    def note_flag(self, event: TokenFlagged) -> None:
        """One more flag, in whatever order they come."""
        key = (event.chain_id, event.token)
        found = warned(self.warnings.get(key), event)
        if found is not None:
            self.warnings[key] = found

    def warning(self, chain_id: int, token: str, since_block: int | None) -> Warned | None:
        """What was found against a token since a block, or ever where the block is not known; what was known before is
        no reason to leave now."""
        found = self.warnings.get((chain_id, token))
        return found if found is not None and found.block_number >= (since_block or 0) else None

    def status(self, chain_id: int) -> Status:
        """The strictest word of all sources of a chain."""
        return strictest([word.status for word in self.statuses.values() if word.chain_id == chain_id])


@dataclass
class ExitWatch:
    """Looks at every open position on every block: closes what its rules close, and tells exposure now and then."""

    journal: Journal
    announcer: Announcer
    sides: SideValues
    mark_every_blocks: int
    exit_patience_blocks: int
    flagged_attempts: int = 8
    approving: Approving = field(default_factory=lambda: Approving(Approver.PORTFOLIO))
    _records: ExitRecords = field(init=False)
    _shortfalls: Shortfalls = field(init=False)
    _marked: dict[int, int] = field(default_factory=dict)
    _given_up_on: set[tuple[str, str, str, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._records = ExitRecords(self.journal)
        self._shortfalls = Shortfalls(self.exit_patience_blocks)

    async def on_block(self, event: BlockApplied) -> None:
        """Exits first, because they are urgent, then their records; nothing at all on a block too old to act on."""
        if not self.announcer.marks.is_current(event.chain_id):
            return
        async with self.journal.reading() as conn:
            held = await PositionStore(conn).held(event.chain_id)
            waiting = await ExitStore(conn).open(event.chain_id)
        self._shortfalls.keep_only(held)
        for triggered in waiting:
            if event.block.number - triggered.triggered_block > self.exit_patience_blocks:
                await self._expire(triggered, event)
        # While everything is halted an executor would only refuse the exit, and its one chance would be gone.
        if self.sides.status(event.chain_id) is not Status.HALTED:
            busy = {(one.book_id, one.address, one.token) for one in waiting}
            for stored in held:
                if (stored.account.book_id, stored.account.address, stored.token) not in busy:
                    await self._look_at(stored, event)
        await self._records.write(event.chain_id)
        # Either way: a chain that began again is below what was marked.
        marked = self._marked.get(event.chain_id, -self.mark_every_blocks)
        if abs(event.block.number - marked) >= self.mark_every_blocks:
            await self._mark(event)

    async def _expire(self, triggered: StoredExit, event: BlockApplied) -> None:
        async with self.journal.transaction() as tx:
            exits = ExitStore(tx.conn)
            now = await exits.of_intent(triggered.intent_id)
            if now is not None and now.state is ExitState.OPEN:
                await exits.settle(triggered.exit_id, ExitState.EXPIRED)
                await self.announcer.rearm(tx, triggered, event.block, ExitState.EXPIRED)

    async def _look_at(self, stored: StoredPosition, event: BlockApplied) -> None:
        account, position = stored.account, stored.position
        book = self.sides.books.get(account.book_id)
        token = self.announcer.marks.token(account.chain_id, stored.token)
        if book is None or token is None or position.origin is None:
            return
        # Both times are those of the events, so that a replay comes to the same age.
        age_s = max(0, event.occurred_at_ms - position.origin.occurred_at_ms) // 1_000
        holding = HeldPosition(token, account.traded_quote, position.quantity, position.cost, age_s)
        warning = self.sides.warning(account.chain_id, stored.token, position.origin.block_number)
        if warning is not None and book.exits.flagged_tokens and await self._given_up(stored, warning):
            warning = None
        pools, value = self.announcer.marks.valued(account, stored.token, position.quantity)
        price = self._shortfalls.price(stored, pools, value, event.block.number)
        held = replace(holding, warning=warning)
        signal = evaluate_exit(book.exits, held, price)
        # What is on record is decided again by ``judge_exit``: without pools where there was no price.
        seen = {} if price is None else pools
        arguments: dict[str, Any] = {"rules": book.exits, "held": held, "pools": seen}
        if signal is not None and not await self._rests(stored, event):
            await self._trigger(stored, Judged(token, signal, arguments), event)

    async def _rests(self, stored: StoredPosition, event: BlockApplied) -> bool:
        """Whether exits came to nothing so often that the next one is not due yet."""
        origin = stored.position.origin
        since = 0 if origin is None or origin.block_number is None else origin.block_number
        async with self.journal.reading() as conn:
            failures, newest = await ExitStore(conn).in_vain(stored.account, stored.token, since)
        return event.block.number < newest + rest_after(failures, self.exit_patience_blocks)

    async def _given_up(self, stored: StoredPosition, warning: Warned) -> bool:
        """Whether so many exits for this warning came to nothing that one more would not help."""
        async with self.journal.reading() as conn:
            reason, since = ExitReason.TOKEN_FLAGGED, warning.block_number
            tried = await ExitStore(conn).count(stored.account, stored.token, reason, since)
        if tried < self.flagged_attempts:
            return False
        told = (stored.account.book_id, stored.account.address, stored.token, since)
        if told not in self._given_up_on:
            self._given_up_on.add(told)
            self.announcer.moments.flagged_exit_given_up(stored.account.book_id, stored.token, tried)
        return True

    async def _trigger(self, stored: StoredPosition, judged: Judged, event: BlockApplied) -> None:
        triggered = self.approving.exit(exit_event(stored, judged, event), event)
        async with self.journal.transaction() as tx:
            account = stored.account
            now = await PositionStore(tx.conn).position(account.book_id, account.address, stored.token)
            exits, noted = ExitStore(tx.conn), noted_exit(triggered, stored, ExitState.OPEN)
            if now is None or now.version != stored.version or await exits.of_intent(noted.intent_id) is not None:
                return
            await exits.add(noted)
            await tx.emit(triggered)
        self._records.later(triggered, stored, judged)
        self.announcer.moments.exit_triggered(triggered)

    async def _mark(self, event: BlockApplied) -> None:
        async with self.journal.transaction() as tx:
            for account in await PositionStore(tx.conn).accounts(event.chain_id):
                await self.announcer.exposure(tx, account, event.block)
        self._marked[event.chain_id] = event.block.number
