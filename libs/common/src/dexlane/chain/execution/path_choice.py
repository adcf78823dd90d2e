"""Which way the trades of this executor leave, by their books' rules and by what relays can be used just now."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dexlane.chain.execution.records import Cause
from dexlane.chain.execution.relay_board import RelayBoard
from dexlane.chain.execution.relay_moments import RelayMoments
from dexlane.domain.circumstances import Market, Objection, Planned, Refused, refusal
from dexlane.domain.levels import entry_relays
from dexlane.domain.submission_choice import Relays, choose
from dexlane.events.portfolio import ExitTriggered
from dexlane.values.books import Book, Mode, RelayPolicy

ON_PAPER = Relays(configured=1, healthy=1)
"""A paper book is told what a live one with a healthy relay would do; nobody sends anything."""


@dataclass(frozen=True)
class PathChoice:
    """Asks the domain. ``relays`` is None where the chain has none."""

    relays: RelayBoard | None
    moments: RelayMoments

    def of(self, cause: Cause, book: Book, outcome: Planned | Refused, market: Market) -> Planned | Refused:
        """The plan with its way, or why it has none; a refusal stays what it is."""
        rules = book.relays if isinstance(cause, ExitTriggered) else entry_relays(book)
        if rules.policy is RelayPolicy.PUBLIC or isinstance(outcome, Refused):
            return outcome  # most books, and then nothing more is asked on the way of a trade
        waited = market.block.number - cause.block.number if isinstance(cause, ExitTriggered) else 0
        chosen = choose(outcome, rules, market, self._now(book), waited_blocks=waited)
        if isinstance(chosen, Objection):
            return refusal([chosen])
        if chosen is None:
            return outcome
        self.moments.chose(cause.id, book.id, chosen.path, chosen.reason, chosen.sandwich_value_wei)
        return replace(outcome, submission=chosen)

    def _now(self, book: Book) -> Relays:
        if book.mode is Mode.PAPER:
            return ON_PAPER
        return Relays(configured=0, healthy=0) if self.relays is None else self.relays.now()
