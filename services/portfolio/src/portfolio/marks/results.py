"""The breakers of the portfolio: realised losses, and how far equity lies below its highest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dexlane.events.breakers import BreakerChanged, BreakerKind, BreakerReset
from dexlane.events.market import BlockApplied
from dexlane.events.portfolio import ExposureChanged
from dexlane.runtime.breaker_board import BreakerBoard, BreakerSpec
from dexlane.runtime.breaker_store import load_states, tend
from dexlane.runtime.bus import Bus
from dexlane.runtime.journal import Journal
from dexlane.runtime.latest import LatestByKey
from dexlane.runtime.spoken_breakers import last_facts
from dexlane.values.books import Book, Lane, Mode

RENEWED_WITHIN_MS = 120_000
"""Executors begin nothing new when these breakers were not heard of for so long: nobody counts the losses then."""
PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class Result:
    """What a trade that sold something brought, in quote units of its book."""

    chain_id: int
    book_id: str
    lane: Lane
    mode: Mode
    amount: int


@dataclass
class ResultBreakers:
    """Losses and drawdown by mode. Results on paper hold paper books alone."""

    boards: Mapping[int, BreakerBoard]
    books: LatestByKey[str, Book]
    journal: Journal
    _unplaced: list[Result] = field(default_factory=list)
    """Results of books that are not known yet, so that nobody knows what they are to be measured by."""

    async def start(self, bus: Bus, service: str) -> None:
        """Take up what journal and bus remember. ``Transient`` when broker or journal does not answer."""
        await self.take_up({chain_id: await last_facts(bus, service, chain_id) for chain_id in self.boards})

    async def take_up(self, facts: Mapping[int, Sequence[BreakerChanged]]) -> None:
        """Begin with what the journal holds, or with what was said last where that is newer."""
        for chain_id, board in self.boards.items():
            async with self.journal.reading() as conn:
                states = await load_states(conn, chain_id)
            board.restore(states, facts.get(chain_id, ()))
            for mode in Mode:
                board.add(_spec(BreakerKind.LOSSES, mode))

    def sold(self, result: Result) -> None:
        """A trade realised something. Buying realises nothing, so it is no loss."""
        self._unplaced.append(result)
        self._place()

    def valued(self, event: ExposureChanged, mode: Mode) -> None:
        """An account was valued; without a price its equity is not known, and then nobody can judge."""
        board = self.boards.get(event.chain_id)
        if board is None:
            return
        spec = _spec(BreakerKind.DRAWDOWN, mode)
        board.add(spec)
        board.see(spec.source, event.equity, f"{event.book_id}.{event.lane}")

    async def on_block(self, event: BlockApplied) -> None:
        """Look at the clock, and store what is new."""
        self._place()
        await self._tend(event.chain_id)

    async def reset(self, word: BreakerReset) -> None:
        """An operator's word."""
        board = self.boards.get(word.chain_id)
        if board is not None:
            board.take(word)
            await self._tend(word.chain_id)

    def _place(self) -> None:
        waiting, self._unplaced = self._unplaced, []
        for result in waiting:
            book, board = self.books.get(result.book_id), self.boards.get(result.chain_id)
            if book is None or board is None:
                self._unplaced.append(result)
                continue
            limits = book.limits.get(result.lane)
            capital = 0 if limits is None else limits.capital
            # Where no capital is allowed a result cannot be measured, and that speaks against trading.
            value = result.amount * PPM // capital if capital else None
            board.see(_spec(BreakerKind.LOSSES, result.mode).source, value, f"{result.book_id}.{result.lane}")

    async def _tend(self, chain_id: int) -> None:
        board = self.boards.get(chain_id)
        if board is not None:
            await tend(board, chain_id, self.journal)


def _spec(kind: BreakerKind, mode: Mode) -> BreakerSpec:
    is_paper = mode is Mode.PAPER
    return BreakerSpec(
        source=f"breaker-{kind}" + ("-paper" if is_paper else ""),
        kind=kind,
        mode=Mode.PAPER if is_paper else None,
        renewed_within_ms=RENEWED_WITHIN_MS,
    )
