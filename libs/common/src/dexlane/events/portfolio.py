"""Positions, exposure and triggered exits."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from dexlane.events.base import Event, is_absent
from dexlane.events.seals import Seal
from dexlane.values.amounts import Amount, SignedAmount
from dexlane.values.base import Value, digest
from dexlane.values.books import Lane, Mode
from dexlane.values.chains import Address, BlockRef
from dexlane.values.tokens import Token


class ExitReason(StrEnum):
    """Which rule closed a position."""

    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    MAX_AGE = "max_age"
    MANUAL = "manual"
    HALT = "halt"
    TOKEN_FLAGGED = "token_flagged"  # noqa: S105 - a reason, no password
    """An executed check or a look at the token found, while it is held, that it is unsafe."""


class PositionChanged(Event):
    """A position as it now is. Amounts of the token in its own unit, money in units of the book's quote token.

    ``position_version`` grows with every change of one (book, account, token); the highest holds.
    """

    NAME: ClassVar[str] = "position.changed"

    book_id: str
    mode: Mode
    lane: Lane
    account: Address
    token: Token
    quote: Token
    position_version: int = Field(ge=1)
    quantity: SignedAmount
    cost: SignedAmount = Field(description="what the held quantity cost, quote units")
    realised: SignedAmount = Field(description="result of what was sold, quote units")
    unrealised: SignedAmount | None = Field(default=None, description="value at an executable quote less cost")
    strategy: str
    opened_block: int | None = None
    block: BlockRef | None = None

    @staticmethod
    def make_id(book_id: str, account: str, token: str, position_version: int) -> str:
        """One id per version of one position."""
        return digest("position.changed", book_id, account, token, position_version)


class ExposurePart(Value):
    """A part of what is at work: of one token, bought by one strategy. Money in quote units."""

    token: Address
    strategy: str
    cost: Amount
    pool: Address | None = Field(
        default=None, description="the one pool that takes all of the token now; None: none does"
    )
    worth: Amount | None = Field(default=None, description="its share of what that would bring; None: not known")
    newest_block: int | None = Field(default=None, ge=0, description="block of its newest purchase")


FILLS_TOLD = 64
"""So many final fills of an account are named at most."""


class FinalFill(Value):
    """A fill that is final: of which intent, in which version of its outcome, in which block."""

    intent_id: str = Field(pattern="^[0-9a-f]{32}$")
    version: int = Field(ge=1)
    block: int = Field(ge=0)


class TradeResults(Value):
    """What the trades of an account amount to, from the ledger."""

    trades: int = Field(ge=0, description="entries and gaps that stand")
    good: int = Field(ge=0, description="final trades that closed something, or a gap, with a gain before gas")
    returns_bps: tuple[int, ...] = Field(
        default=(), max_length=250, description="results of the newest sales over what was sold had cost, newest first"
    )
    tokens: tuple[Address, ...] = Field(default=(), max_length=256, description="tokens bought, newest first")
    fills: tuple[FinalFill, ...] | None = Field(
        default=None,
        max_length=FILLS_TOLD,
        exclude_if=is_absent,
        description="final fills that are booked, in the highest blocks, highest first; None where nobody said it",
    )

    def contain(self, fill: FinalFill) -> bool:
        """Whether this fill is booked: it is named, in this version or a later one, or as many as can be named are all
        in its block or higher ones. Without the names nothing shows it."""
        named = self.fills or ()
        if len(named) == FILLS_TOLD and fill.block <= named[-1].block:
            return True
        return any(one.intent_id == fill.intent_id and one.version >= fill.version for one in named)


class ExposureChanged(Event):
    """What one book has at work in one lane, in units of its quote token; last value per book and lane.

    ``equity`` marks positions at an executable quote; None when a price is missing ("no data", never a guess).
    """

    NAME: ClassVar[str] = "exposure.changed"

    book_id: str
    lane: Lane
    quote: Token
    exposure_version: int = Field(ge=1)
    at_work: Amount = Field(description="cost of open positions")
    open_positions: int = Field(ge=0)
    realised_today: SignedAmount
    realised_total: SignedAmount
    fees_paid_wei: Amount
    equity: SignedAmount | None = None
    native_balance_wei: SignedAmount
    block: BlockRef | None = None
    parts: tuple[ExposurePart, ...] | None = Field(
        default=None,
        exclude_if=is_absent,
        description="what is at work, by token and strategy; None where nobody said it",
    )
    results: TradeResults | None = Field(
        default=None, exclude_if=is_absent, description="what its trades amount to; told when they changed"
    )
    results_version: int | None = Field(
        default=None,
        ge=1,
        exclude_if=is_absent,
        description="the exposure version that told the results that hold; None: none did",
    )

    @classmethod
    def tails(cls) -> tuple[str, ...]:
        """Book ids and lanes are an open set on this last-value subject."""
        return (">",)

    def tail(self) -> str:
        """``<book>.<lane>``; what tells results has a last value of its own."""
        return f"{self.book_id}.{self.lane}" + ("" if self.results is None else ".results")

    def joined(self, known: ExposureChanged | None) -> ExposureChanged:
        """The newer of two of one account, with the results that hold where one of the two has them. Whatever the order
        in which all are joined, the newest remains, and results only with the version that told them."""
        if known is None:
            return self
        older, newer = (known, self) if known.exposure_version < self.exposure_version else (self, known)
        if newer.results is not None or older.results is None or older.results_version != newer.results_version:
            return newer
        return newer.model_copy(update={"results": older.results})

    @staticmethod
    def make_id(book_id: str, lane: str, exposure_version: int) -> str:
        """One id per version."""
        return digest("exposure.changed", book_id, lane, exposure_version)


class ExitTriggered(Event):
    """A rule or a person closes a position (or a part of it). It goes to the lane whose account holds the token."""

    NAME: ClassVar[str] = "exit.triggered"

    book_id: str
    mode: Mode
    lane: Lane
    account: Address
    token: Token
    quote: Token
    quantity: Amount = Field(gt=0)
    reason: ExitReason
    detail: str
    strategy: str
    block: BlockRef
    received_at_ns: int = Field(ge=0)
    sell_tax_bps: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="what the token keeps of a sale by its last executed check; all: no sale",
    )
    seal: Seal | None = Field(default=None, description="for signers; None where the service has no key")

    @classmethod
    def tails(cls) -> tuple[str, ...]:
        """One subject per lane."""
        return tuple(Lane)

    def tail(self) -> str:
        """The lane."""
        return self.lane

    @staticmethod
    def make_id(book_id: str, account: str, token: str, position_version: int, reason: str) -> str:
        """One exit per rule and version of a position; a failed exit is triggered again by a later version."""
        return digest("exit.triggered", book_id, account, token, position_version, reason)
