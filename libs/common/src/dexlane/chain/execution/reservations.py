"""What open intents hold of each book's limits in this lane. Rebuilt from the journal, then kept by its commits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from dexlane.chain.execution.slots import StoredIntent
from dexlane.domain.circumstances import Reserved
from dexlane.domain.controls.facts import OpenTrade, direction_of
from dexlane.events.execution import ENTRIES, IntentCreated, Purpose
from dexlane.events.portfolio import ExposureChanged, FinalFill

MINUTE_MS = 60_000
RECALL_MS = 15 * MINUTE_MS
"""How far back the journal is asked what was traded lately: longer than any guard against duplicates looks."""
MOST_DIRECTIONS = 1_024
"""So many directions of a book are remembered, those traded last."""
ORDERS = ENTRIES | {Purpose.EXIT}


@dataclass(frozen=True, slots=True)
class _Held:
    intent: IntentCreated
    reserved: int
    fill: FinalFill | None = None
    """In which it ended; None while it is open."""


class Reservations:
    """Reservations of all books of one lane. A book's limits are its own, so books never share an entry here."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._orders: dict[str, deque[int]] = {}
        self._traded: dict[str, dict[str, int]] = {}

    def restore(self, stored: Iterable[StoredIntent]) -> None:
        """Take up what the journal holds. What ended in a fill counts on unless the exposure in force contains it."""
        for row in sorted(stored, key=lambda row: row.created_ms):
            self.hold(row.intent, row.reserved, row.created_ms)
            if not row.is_open:
                self.release(row.intent.id, row.fill)

    def hold(self, intent: IntentCreated, reserved: int, now_ms: int) -> None:
        """An intent was committed."""
        self._held[intent.id] = _Held(intent, reserved)
        self._count(intent, now_ms)

    def release(self, intent_id: str, fill: FinalFill | None) -> None:
        """An intent came to its end, perhaps in a fill. That counts until an exposure contains it, however many are
        told before portfolio has heard of it: nothing but its name shows that it is among what is at work."""
        held = self._held.pop(intent_id, None)
        if held is not None and fill is not None and held.reserved:
            self._held[intent_id] = _Held(held.intent, held.reserved, fill)

    def intent(self, intent_id: str) -> IntentCreated | None:
        """The intent, while it is open here."""
        held = self._held.get(intent_id)
        return None if held is None or held.fill is not None else held.intent

    def is_held(self, intent_id: str) -> bool:
        """Whether the intent is open here."""
        held = self._held.get(intent_id)
        return held is not None and held.fill is None

    def of(
        self, book_id: str, now_ms: int, exposure: ExposureChanged | None, tokens_in_flight: frozenset[str]
    ) -> Reserved:
        """What a book's open intents reserve now."""
        entries = 0
        exits: set[str] = set()
        trades: list[OpenTrade] = []
        counted = self._counting(book_id, exposure)
        for held in counted:
            if held.intent.purpose in ENTRIES:
                trades.append(OpenTrade.of(held.intent, held.reserved))
            if held.fill is None:
                entries += held.intent.purpose is Purpose.ENTRY
                if held.intent.exit is not None:
                    exits.add(held.intent.exit.token.address)
        recent = [at for at in self._orders.get(book_id, ()) if now_ms - at < MINUTE_MS]
        return Reserved(
            capital=sum(held.reserved for held in counted),
            open_entries=entries,
            orders_last_minute=len(recent),
            tokens_in_flight=tokens_in_flight | exits,
            trades=tuple(trades),
            # A copy: what a decision was made from is recorded after it changed what is reserved.
            recent=dict(self._traded.get(book_id, {})),
        )

    def capital_of(self, book_id: str, exposure: ExposureChanged | None) -> int:
        """What a book's open intents hold of its capital, quote units."""
        return sum(held.reserved for held in self._counting(book_id, exposure))

    def _counting(self, book_id: str, exposure: ExposureChanged | None) -> list[_Held]:
        """What a book still holds and this exposure does not contain; what it contains is forgotten."""
        results = None if exposure is None else exposure.results
        mine = [(key, held) for key, held in self._held.items() if held.intent.book_id == book_id]
        for key, held in mine:
            if held.fill is not None and results is not None and results.contain(held.fill):
                del self._held[key]
        return [held for key, held in mine if key in self._held]

    def _count(self, intent: IntentCreated, at_ms: int) -> None:
        if intent.purpose in ENTRIES and intent.plan is not None:
            traded, direction = self._traded.setdefault(intent.book_id, {}), direction_of(intent.plan.route)
            traded[direction] = max(traded.get(direction, 0), intent.block.number)
            while len(traded) > MOST_DIRECTIONS:
                del traded[min(traded, key=lambda one: traded[one])]
        if intent.purpose in ORDERS:
            times = self._orders.setdefault(intent.book_id, deque())
            times.append(at_ms)
            while times and at_ms - times[0] >= MINUTE_MS:
                times.popleft()
