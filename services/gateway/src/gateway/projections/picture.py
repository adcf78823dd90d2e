"""The live picture: chains, fees, books, positions, statuses, and the sums that the page shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from dexlane.events.base import Event
from dexlane.events.breakers import BreakerChanged, BreakerPhase
from dexlane.events.control import BookChanged, Status, TradingStatus, strictest
from dexlane.events.execution import TxChanged
from dexlane.events.fees import FeeQuoted
from dexlane.events.market import BlockApplied, PoolDiscovered
from dexlane.events.portfolio import ExposureChanged, PositionChanged
from dexlane.runtime.books_file import NATIVE_DECIMALS, NATIVE_SYMBOLS
from dexlane.values.amounts import Amount, SignedAmount, decimal_text
from dexlane.values.base import Value
from dexlane.values.books import Book
from dexlane.values.chains import BlockRef
from gateway.projections.feed import Feed, FeedItem, TokenNames
from gateway.projections.latency import LaneLatency, Latency

DEVNET_NOTICE = (
    "This is the devnet: its recorded flow does not react to our trades, so profits made here prove nothing."
)


class SourceView(Value):
    """What one source says about trading."""

    source: str
    status: Status
    version: int
    reason: str
    since_ms: int


class Told(Value):
    """One path of a halt."""

    path: str = Field(description="'bus', which all services hear, or the control socket of a signer on this host")
    confirmed: bool = Field(description="false: act by hand, this path may not be halted")
    why: str = Field(default="", description="why it is not confirmed, and what to do")


class StatusView(Value):
    """Whether a chain is traded: the strictest word of all sources holds. Signers know no chains."""

    chain_id: int
    effective: Status
    sources: tuple[SourceView, ...]
    unconfirmed: tuple[Told, ...] = Field(
        default=(), description="signers that did not confirm the operator's halt; they are told again until they do"
    )


class ChainView(Value):
    """Head and fees of a chain; None is no data."""

    chain_id: int
    block: BlockRef | None
    head_age_ms: int | None
    base_fee_per_gas_wei: Amount | None
    next_base_fee_per_gas_wei: Amount | None
    fees: FeeQuoted | None
    fees_age_ms: int | None
    status: StatusView


TOP_UP_AT_RESERVES = 2
"""A warning comes when the native coin falls below so many times the reserve, before entries stop."""


class BookView(Value):
    """A book and its sums over both lanes, in smallest units of its quote token; None is no data."""

    book: Book
    book_version: int
    equity: SignedAmount | None
    realised: SignedAmount | None
    realised_today: SignedAmount | None
    unrealised: SignedAmount | None
    at_work: Amount | None
    fees_paid_wei: Amount | None
    open_positions: int | None
    native_symbol: str


class Overview(Value):
    """Everything that the page shows but the list and the services."""

    realm: str
    network: str
    alarms: tuple[str, ...] = ()
    """What a person must do by hand, now."""
    notices: tuple[str, ...]
    chains: tuple[ChainView, ...]
    books: tuple[BookView, ...]
    positions: tuple[PositionChanged, ...]
    latency: tuple[LaneLatency, ...]


@dataclass(frozen=True)
class Head:
    """The last applied block of a chain and when it was heard of."""

    event: BlockApplied
    at_ms: int


@dataclass(frozen=True)
class Place:
    """Where the picture is taken."""

    realm: str
    network: str
    chains: tuple[int, ...]


class LivePicture:
    """Applies events in any order, keeps the newest version of everything, and sums up."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.tokens = TokenNames()
        self.feed = Feed(self.tokens)
        self.latency = Latency()
        self.heads: dict[int, Head] = {}
        self.fees: dict[int, tuple[FeeQuoted, int]] = {}
        self.books: dict[str, BookChanged] = {}
        self.exposures: dict[tuple[str, str], ExposureChanged] = {}
        self.positions: dict[tuple[str, str, str], PositionChanged] = {}
        self.words: dict[tuple[int, str], TradingStatus] = {}
        self.breakers: dict[tuple[int, str], BreakerChanged] = {}
        self.not_halted: dict[str, str] = {}
        """Signers that did not confirm a halt yet, and why."""
        self._appliers: dict[type[Event], Callable[[Any, int], None]] = {
            BlockApplied: self._head,
            PoolDiscovered: self._pool,
            FeeQuoted: self._fee,
            BookChanged: self._book,
            ExposureChanged: self._exposure,
            PositionChanged: self._position,
            TradingStatus: self._word,
            BreakerChanged: self._breaker,
            TxChanged: self._transaction,
        }

    def apply(self, event: Event, now_ms: int) -> FeedItem | None:
        """Take an event in; returns the list's new entry when there is one."""
        applier = self._appliers.get(type(event))
        if applier is not None:
            applier(event, now_ms)
        return self.feed.apply(event)

    def _head(self, event: BlockApplied, now_ms: int) -> None:
        self.heads[event.chain_id] = Head(event, now_ms)

    def _pool(self, event: PoolDiscovered, _now_ms: int) -> None:
        self.tokens.learn(event.chain_id, event.pool.key.tokens)

    def _fee(self, event: FeeQuoted, now_ms: int) -> None:
        self.fees[event.chain_id] = (event, now_ms)

    def _book(self, event: BookChanged, _now_ms: int) -> None:
        known = self.books.get(event.book.id)
        if known is None or known.book_version <= event.book_version:
            self.books[event.book.id] = event
        self.tokens.learn(event.chain_id, (event.book.quote,))

    def _exposure(self, event: ExposureChanged, _now_ms: int) -> None:
        key = (event.book_id, event.lane.value)
        self.exposures[key] = event.joined(self.exposures.get(key))

    def _position(self, event: PositionChanged, _now_ms: int) -> None:
        key = (event.book_id, event.account, event.token.address)
        known = self.positions.get(key)
        if known is None or known.position_version <= event.position_version:
            self.positions[key] = event
        self.tokens.learn(event.chain_id, (event.token, event.quote))

    def _word(self, event: TradingStatus, _now_ms: int) -> None:
        key = (event.chain_id, event.source)
        known = self.words.get(key)
        if known is None or known.status_version <= event.status_version:
            self.words[key] = event

    def _breaker(self, event: BreakerChanged, _now_ms: int) -> None:
        key = (event.chain_id, event.source)
        known = self.breakers.get(key)
        if known is None or known.breaker_version <= event.breaker_version:
            self.breakers[key] = event

    def _transaction(self, event: TxChanged, _now_ms: int) -> None:
        self.latency.apply(event)

    def open_positions(self) -> list[PositionChanged]:
        """Positions with something in them, by book, lane and token."""
        held = [position for position in self.positions.values() if position.quantity != 0]
        return sorted(held, key=lambda position: (position.book_id, position.lane.value, position.token.symbol))

    def breakers_of(self, chains: Iterable[int]) -> list[BreakerChanged]:
        """Every breaker of these chains, those that hold something first."""
        chosen = set(chains)
        found = [breaker for (chain_id, _), breaker in self.breakers.items() if chain_id in chosen]
        return sorted(found, key=lambda one: (-one.status.severity, one.probes == 0, one.chain_id, one.source))

    def unconfirmed(self) -> tuple[Told, ...]:
        """Signers that may not be halted."""
        return tuple(Told(path=path, confirmed=False, why=why) for path, why in self.not_halted.items())

    def status(self, chain_id: int) -> StatusView:
        """What holds on a chain, and who says what, strictest first."""
        words = [word for (chain, _), word in sorted(self.words.items()) if chain == chain_id]
        words.sort(key=lambda word: -word.status.severity)
        return StatusView(
            chain_id=chain_id,
            effective=strictest([word.status for word in words]),
            sources=tuple(
                SourceView(
                    source=word.source,
                    status=word.status,
                    version=word.status_version,
                    reason=word.reason,
                    since_ms=word.occurred_at_ms,
                )
                for word in words
            ),
            unconfirmed=self.unconfirmed(),
        )

    def chain(self, chain_id: int, now_ms: int) -> ChainView:
        """Head, fees and status of a chain."""
        head = self.heads.get(chain_id)
        fees, fees_at_ms = self.fees.get(chain_id, (None, 0))
        return ChainView(
            chain_id=chain_id,
            block=head.event.block if head else None,
            head_age_ms=max(0, now_ms - head.at_ms) if head else None,
            base_fee_per_gas_wei=head.event.base_fee_per_gas_wei if head else None,
            next_base_fee_per_gas_wei=head.event.next_base_fee_per_gas_wei if head else None,
            fees=fees,
            fees_age_ms=max(0, now_ms - fees_at_ms) if fees else None,
            status=self.status(chain_id),
        )

    def book(self, book_id: str) -> BookView:
        """A book and its sums; a sum is None as soon as one of its parts is missing."""
        changed = self.books[book_id]
        lanes = [self.exposures.get((book_id, lane.value)) for lane in changed.book.limits]
        held = [position for position in self.open_positions() if position.book_id == book_id]

        def total(name: str) -> int | None:
            return _total(None if lane is None else getattr(lane, name) for lane in lanes)

        return BookView(
            book=changed.book,
            book_version=changed.book_version,
            equity=total("equity"),
            realised=total("realised_total"),
            realised_today=total("realised_today"),
            unrealised=_total(position.unrealised for position in held) if any(lanes) else None,
            at_work=total("at_work"),
            fees_paid_wei=total("fees_paid_wei"),
            open_positions=total("open_positions"),
            native_symbol=NATIVE_SYMBOLS.get(changed.chain_id, "native coin"),
        )

    def top_ups(self) -> Iterator[str]:
        """A sentence for every account of an enabled book whose native coin comes near the reserve kept for gas."""
        for book_id in sorted(self.books):
            book = self.books[book_id].book
            symbol = NATIVE_SYMBOLS.get(book.chain_id, "native coin")
            for lane, account in book.accounts.items():
                exposure = self.exposures.get((book_id, lane.value))
                if not book.enabled or exposure is None:
                    continue
                if exposure.native_balance_wei < TOP_UP_AT_RESERVES * book.gas_reserve_wei:
                    left = decimal_text(exposure.native_balance_wei, NATIVE_DECIMALS)
                    reserve = decimal_text(book.gas_reserve_wei, NATIVE_DECIMALS)
                    yield (
                        f"{book_id}, {lane.value} lane: top up {account}. {left} {symbol} are left for gas; "
                        f"below {reserve} it opens nothing new."
                    )

    def partly_held(self) -> Iterator[str]:
        """A sentence for every breaker that the trading status does not show: those of paper or of a venue, and those
        that are being tried out."""
        for breaker in self.breakers_of(self.place.chains):
            what = f"trades in {breaker.venue}" if breaker.venue else "paper books" if breaker.mode else "trading"
            where = f"{breaker.source} on chain {breaker.chain_id}"
            if breaker.status is not Status.ACTIVE and not breaker.holds_chain:
                yield f"{where} holds new entries of {what}: {breaker.reason}."
            elif breaker.status is Status.ACTIVE and breaker.phase is BreakerPhase.HALF_OPEN:
                yield f"{where} tries {what} again with {breaker.probes} small entries in each lane."

    def overview(self, now_ms: int) -> Overview:
        """Everything at once."""
        return Overview(
            realm=self.place.realm,
            network=self.place.network,
            alarms=tuple(f"A signer did not confirm that it is halted: {why}." for why in self.not_halted.values()),
            notices=(
                *((DEVNET_NOTICE,) if self.place.network == "devnet" else ()),
                *self.top_ups(),
                *self.partly_held(),
            ),
            chains=tuple(self.chain(chain_id, now_ms) for chain_id in self.place.chains),
            books=tuple(self.book(book_id) for book_id in sorted(self.books)),
            positions=tuple(self.open_positions()),
            latency=self.latency.view(),
        )


def _total(parts: Iterable[int | None]) -> int | None:
    """The sum, or None when a part is missing: a sum without it would be an invented figure."""
    total = 0
    for part in parts:
        if part is None:
            return None
        total += part
    return total
