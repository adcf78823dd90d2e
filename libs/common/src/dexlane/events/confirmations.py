"""Trades that wait for a person's word, and the word."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from dexlane.events.base import Event
from dexlane.events.execution import Plan
from dexlane.events.risk import VerdictApproved
from dexlane.values.amounts import Amount
from dexlane.values.base import digest
from dexlane.values.books import Lane, Mode
from dexlane.values.chains import BlockRef
from dexlane.values.tokens import Token


class ConfirmationRequested(Event):
    """A book would trade, and its controls want a person to say so first. Nothing is reserved meanwhile."""

    NAME: ClassVar[str] = "confirmation.requested"

    book_id: str
    mode: Mode
    lane: Lane
    quote: Token
    verdict: VerdictApproved
    plan: Plan = Field(description="what would be done on the state of ``block``")
    reasons: tuple[str, ...] = Field(min_length=1, description="why a person is asked")
    deadline_block: int = Field(ge=0, description="after it the chance is worthless, and so is an answer")
    block: BlockRef

    @staticmethod
    def make_id(book_id: str, verdict_id: str) -> str:
        """One request per book and verdict."""
        return digest("confirmation.requested", book_id, verdict_id)


class ConfirmationGiven(Event):
    """A person confirmed a trade. It is planned again on the state of then, never for more than ``max_amount_in``."""

    NAME: ClassVar[str] = "confirmation.given"

    request_id: str = Field(pattern="^[0-9a-f]{32}$")
    book_id: str
    mode: Mode
    lane: Lane
    verdict: VerdictApproved
    max_amount_in: Amount = Field(gt=0, description="what was shown to the person, quote units")
    reason: str = Field(min_length=1)

    @classmethod
    def tails(cls) -> tuple[str, ...]:
        """One subject per lane."""
        return tuple(Lane)

    def tail(self) -> str:
        """The lane."""
        return self.lane

    @staticmethod
    def make_id(request_id: str) -> str:
        """A request is confirmed once."""
        return digest("confirmation.given", request_id)
