"""What holds an executor's entries back: statuses and breakers, and the few probes that a half-open one allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from dexlane.chain.execution.breaker_watch import ExecutionBreakers, NoWatch, ProbeCount, Watch
from dexlane.chain.execution.fencing import FencedJournal
from dexlane.chain.execution.market_view import held_market
from dexlane.chain.execution.side_values import SideValues
from dexlane.domain.breakers.admission import FREE, Admission, ProbeRound
from dexlane.domain.circumstances import Market, Objection, Planned, Refused, refusal
from dexlane.events.control import Status
from dexlane.events.execution import ENTRIES, FillConfirmed, IntentCreated, IntentFailed
from dexlane.runtime.breaker_board import BoardPlace, BreakerBoard
from dexlane.runtime.breaker_store import load_states
from dexlane.runtime.clock import Clock
from dexlane.runtime.journal import Journal
from dexlane.values.books import Lane, Mode
from dexlane.values.routes import PlannedPath


@dataclass(frozen=True, kw_only=True)
class Brakes:
    """The brakes of one chain in one lane, during one term. ``breakers`` is None where none are hosted; those of others
    are heard all the same."""

    chain_id: int
    side: SideValues
    clock: Clock
    breakers: ExecutionBreakers | None = None
    probes: ProbeCount = field(default_factory=lambda: ProbeCount({}))

    @property
    def watch(self) -> Watch:
        """Who hears what happens to transactions."""
        return self.breakers or NoWatch()

    def tried(
        self, mode: Mode, market: Market, planned: Callable[[Market], Planned | Refused]
    ) -> tuple[Planned | Refused, tuple[ProbeRound, ...]]:
        """What a book of this mode does in a market as the breakers leave it. Only a plan says whose pools it trades
        in: where their breakers ask for a smaller entry, it is ``planned`` once more. The probes that it takes are
        taken at once, so that the next decision knows; whoever decided gives them back where nothing comes of it."""
        admitted = self._admitted(mode, ())
        # Costs nothing while no breaker says anything.
        held = market if admitted is FREE else held_market(market, admitted)
        outcome = planned(held)
        while isinstance(outcome, Planned) and outcome.purpose in ENTRIES:
            admitted = self._admitted(mode, outcome.plan.paths)
            if admitted.status is not Status.ACTIVE:
                return refusal([Objection(admitted.status.value, admitted.reason)]), ()
            if admitted.size_bps >= held.entry_size_bps:
                self.probes.take(admitted.rounds)
                return outcome, admitted.rounds
            # The size only falls, and there are only so many breakers: this ends.
            held = replace(held, entry_size_bps=admitted.size_bps)
            outcome = planned(held)
        return outcome, ()

    def why_held(self, intent: IntentCreated) -> str:
        """Why an entry that was planned may not be signed any more; empty when it may. A probe that was begun is among
        those that were allowed, so it is held only by what was said since."""
        if intent.purpose not in ENTRIES:
            return ""
        status = self.side.status(self.chain_id)
        if status is not Status.ACTIVE:
            return self.side.why_held(self.chain_id) or f"trading is {status.value}"
        paths = () if intent.plan is None else intent.plan.paths
        return self.side.breakers.admit(self.chain_id, (intent.mode, paths), {}, self.clock.now_ms()).reason

    def ended(self, intent: IntentCreated | None, event: FillConfirmed | IntentFailed) -> None:
        """A paper intent came to its end."""
        if intent is not None and self.breakers is not None:
            self.breakers.outcome(intent, event)

    async def look(self, journal: FencedJournal) -> None:
        """Let the breakers look at the clock and at resets, and store what is new."""
        if self.breakers is not None:
            await self.breakers.look(journal, self.side.breakers.resets(self.chain_id))

    def _admitted(self, mode: Mode, paths: Sequence[PlannedPath]) -> Admission:
        return self.side.breakers.admit(self.chain_id, (mode, paths), self.probes.begun, self.clock.now_ms())


async def restored_brakes(journal: Journal, side: SideValues, place: BoardPlace, lane: Lane) -> Brakes:
    """The brakes of a term, as the journal and the bus remember them. ``Transient`` without the journal."""
    board = BreakerBoard(place)
    async with journal.reading() as conn:
        states = await load_states(conn, place.chain_id)
        probes = await ProbeCount.load(conn, place.chain_id)
    board.restore(states, side.breakers.of_service(place.chain_id, place.service))
    breakers = ExecutionBreakers(board, lane)
    return Brakes(chain_id=place.chain_id, side=side, clock=place.clock, breakers=breakers, probes=probes)
