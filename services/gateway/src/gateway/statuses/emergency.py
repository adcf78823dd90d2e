"""The emergency stop: driven from the journal, so that it goes on where it was when the gateway starts again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from fractions import Fraction

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.domain.emergency_stop import (
    AskedExit,
    Holding,
    LeftOver,
    Seen,
    StopPhase,
    StopState,
    StopStep,
    step,
    with_asked,
)
from dexlane.domain.gas_value import WRAPPED_NATIVE
from dexlane.domain.thoughts.saying import EXIT_TRIGGERED, TRADED
from dexlane.events.control import Status
from dexlane.events.execution import IntentCreated, IntentFailed, Purpose, TxChanged
from dexlane.events.portfolio import PositionChanged
from dexlane.events.risk import DecisionRecorded
from dexlane.runtime.clock import Clock
from dexlane.runtime.errors import Transient
from dexlane.runtime.journal import Journal, Tx
from dexlane.runtime.sealing import Approving
from dexlane.values.base import digest
from dexlane.values.chains import NATIVE
from gateway.metrics import BrakeMoments
from gateway.projections.display import Display
from gateway.projections.picture import Told
from gateway.records import Search, emergency_stops, find, open_transactions
from gateway.statuses.closing import manual_exit
from gateway.statuses.keeper import StatusKeeper, StatusRefused
from gateway.statuses.telling import Paths

LOOK_EVERY_S = 0.5


@dataclass(frozen=True, kw_only=True)
class StopParts:
    """What an emergency stop works with."""

    journal: Journal
    statuses: StatusKeeper
    display: Display
    approving: Approving
    clock: Clock
    brakes: BrakeMoments
    chains: tuple[int, ...]
    paths: Paths


@dataclass
class EmergencyStop:
    """At most one at a time; the last one is kept to be shown."""

    parts: StopParts
    state: StopState | None = None
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_running(self) -> bool:
        """Whether one is under way."""
        return self.state is not None and not self.state.is_over

    async def load(self) -> None:
        """Take up the last one."""
        async with self.parts.journal.reading() as conn:
            query = sa.select(emergency_stops.c.state).order_by(emergency_stops.c.began_ms.desc()).limit(1)
            row = (await conn.execute(query)).first()
        found = None if row is None else StopState.model_validate_json(row.state)
        # What was seen before the restart says nothing about what is held now.
        self.state = None if found is None else found.model_copy(update={"clear_since_ms": None})
        self.parts.brakes.emergency_shown(is_running=self.is_running)

    async def begin(
        self, reason: str, *, close_positions: bool, exits_within_s: int, cancels_within_s: int
    ) -> StopState:
        """Begin one on all chains: no entries from here on. ``StatusRefused`` while another one is under way."""
        async with self._busy:
            if self.is_running:
                raise StatusRefused("an emergency stop is under way already; it is shown under emergency-stop")
            now_ms = self.parts.clock.now_ms()
            state = StopState(
                id=digest("emergency stop", now_ms, reason),
                reason=reason,
                close_positions=close_positions,
                began_ms=now_ms,
                phase=StopPhase.CLOSING,
                exits_until_ms=now_ms + exits_within_s * 1_000 * int(close_positions),
                cancels_for_ms=cancels_within_s * 1_000,
                positions_at_start=len(self.parts.display.picture.open_positions()),
            )
            # First, because it needs no journal: a full disk must not keep signers signing.
            told = await self.parts.paths.signers(Status.REDUCING if close_positions else Status.HALTED, reason)
            state = state.model_copy(update={"unconfirmed": _unconfirmed(told)})
            async with self.parts.paths.stored(told), self.parts.journal.transaction() as tx:
                await _store(tx.conn, state)
            self.state = state
        self.parts.brakes.emergency_begun(reason, close_positions=close_positions)
        looked, bus = await self.look(), await self.parts.paths.bus()
        return looked.model_copy(update={"unconfirmed": (*looked.unconfirmed, *_unconfirmed((bus,)))})

    async def run(self) -> None:
        """Go on with it for ever."""
        while True:
            if self.is_running:
                try:
                    await self.look()
                except Transient as error:
                    self.parts.brakes.emergency_waits(str(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> StopState:
        """Do what is to be done now; nothing when it is over, which it may be since the caller asked. ``StatusRefused``
        when there never was one."""
        async with self._busy:
            state = self.state
            if state is None:
                raise StatusRefused("there never was an emergency stop")
            if state.is_over:
                return state
            # What was begun may have been interrupted before it was said: saying it again changes nothing.
            await self._halt(Status.REDUCING if state.phase is StopPhase.CLOSING else Status.HALTED, state.reason)
            seen = await self._seen()
            taken = step(state, seen, self.parts.clock.now_ms())
            await self._do(state, taken)
            return self.state or state

    async def _do(self, before: StopState, taken: StopStep) -> None:
        after = taken.state
        if taken.halt:
            async with self.parts.paths.stored(await self.parts.paths.signers(Status.HALTED, before.reason)):
                await self._halt(Status.HALTED, before.reason)
        # Who did not confirm is told again meanwhile, and may have.
        after = after.model_copy(update={"unconfirmed": _unconfirmed(self.parts.display.picture.unconfirmed())})
        if taken.ended:
            after = after.model_copy(update={"left": await self._left(after)})
        async with self.parts.journal.transaction() as tx:
            after = with_asked(after, await self._ask(tx, after, taken.close))
            if after != before:
                await _store(tx.conn, after)
        self.state = after
        if taken.ended:
            self.parts.brakes.emergency_ended([f"{one.what}: {one.why}" for one in after.left])

    async def _halt(self, scope: Status, reason: str) -> None:
        for word in await self.parts.statuses.halt(scope, f"emergency stop: {reason}", self.parts.chains):
            self.parts.display.show(word)

    async def _seen(self) -> Seen:
        held = [(key, one) for key, one in self._positions().items() if one.quantity > 0]
        holdings = tuple(Holding(key, one.position_version, worth(one)) for key, one in held)
        return Seen(holdings, len(await self._open_transactions()))

    def _positions(self) -> dict[str, PositionChanged]:
        open_ = self.parts.display.picture.open_positions()
        return {f"{one.book_id} {one.account} {one.token.address}": one for one in open_}

    async def _open_transactions(self) -> list[TxChanged]:
        async with self.parts.journal.reading() as conn:
            return await open_transactions(conn)

    async def _ask(self, tx: Tx, state: StopState, close: tuple[str, ...]) -> list[AskedExit]:
        """Ask for exits, in the given order. What has no block to be planned on waits for one."""
        positions, heads = self._positions(), self.parts.display.picture.heads
        asked = []
        now_ns = self.parts.clock.now_ns()
        for key in close:
            position = positions.get(key)
            if position is None or position.quantity < 0:
                continue  # closed since it was seen
            head = heads.get(position.chain_id)
            if head is None:
                continue
            occasion = f"stop-{state.id}-{now_ns // 1_000_000}"
            drafted = manual_exit(position, head.event, occasion, f"emergency stop: {state.reason}", now_ns)
            exit_ = self.parts.approving.exit(drafted, head.event)
            await tx.emit(exit_)
            asked.append(
                AskedExit(
                    position=key,
                    position_version=position.position_version,
                    exit_id=exit_.id,
                    at_ms=now_ns // 1_000_000,
                )
            )
        return asked

    async def _left(self, state: StopState) -> tuple[LeftOver, ...]:
        """What is still there, and the newest reason that anybody gave for it."""
        asked = {one.position: one for one in state.asked}
        left = [*state.unconfirmed, *_unconfirmed((await self.parts.paths.bus(),))]
        for key, position in self._positions().items():
            what = f"{position.book_id} holds {position.token.symbol} in account {position.account}"
            if not state.close_positions:
                why = "closing was not asked for"
            elif position.quantity < 0:
                why = "the ledger shows less than nothing; reconcile"
            elif key not in asked:
                why = "it came when exits were over, or no block was there to plan its exit on"
            else:
                why = await self._why_not_closed(position.book_id, asked[key])
            left.append(LeftOver(what=what, why=why))
        for change in await self._open_transactions():
            what = f"transaction of {change.book_id}: {change.purpose.value}, nonce {change.nonce}"
            left.append(LeftOver(what=what, why=f"it is {change.state.value}; {change.reason or 'not in a block yet'}"))
        return tuple(left)

    async def _why_not_closed(self, book_id: str, asked: AskedExit) -> str:
        intent_id = IntentCreated.make_id(book_id, asked.exit_id, Purpose.EXIT)
        async with self.parts.journal.reading() as conn:
            names = (IntentFailed.NAME, TxChanged.NAME)
            happened = await find(conn, Search(names=names, intent_id=intent_id, limit=1))
            decided = await find(conn, Search(names=(DecisionRecorded.NAME,), subject_id=asked.exit_id))
        refusals = [one.event for one in decided if isinstance(one.event, DecisionRecorded) and _is_refusal(one.event)]
        event = happened[0].event if happened else refusals[0] if refusals else None
        if isinstance(event, IntentFailed):
            return f"its exit failed: {event.reason.value} {event.detail}".strip()
        if isinstance(event, TxChanged):
            return f"its exit is {event.state.value} and its fill was not heard of"
        if isinstance(event, DecisionRecorded):
            return f"its exit was refused: {'; '.join(event.reasons)}"
        return "its exit was asked for, and no executor said anything"


def _is_refusal(decision: DecisionRecorded) -> bool:
    return decision.outcome not in {TRADED, EXIT_TRIGGERED}


def _unconfirmed(told: tuple[Told, ...]) -> tuple[LeftOver, ...]:
    return tuple(LeftOver(what=f"halt of {one.path}", why=one.why) for one in told if not one.confirmed)


def worth(position: PositionChanged) -> int:
    """What a position is worth, to order by: its value where that is known, else what it cost, in millionths of a quote
    token. One native coin counts for more than any number of others, because no price is asked for here."""
    value = position.cost + (position.unrealised or 0)
    quote = position.quote
    scaled = int(Fraction(value, 10**quote.decimals) * 10**6)
    is_native = quote.address in {NATIVE, WRAPPED_NATIVE.get(position.chain_id)}
    return scaled + (10**24 if is_native and scaled > 0 else 0)


async def _store(conn: AsyncConnection, state: StopState) -> None:
    values = {"began_ms": state.began_ms, "state": state.model_dump_json()}
    changed = await conn.execute(emergency_stops.update().where(emergency_stops.c.id == state.id).values(**values))
    if not changed.rowcount:
        await conn.execute(emergency_stops.insert().values(id=state.id, **values))
