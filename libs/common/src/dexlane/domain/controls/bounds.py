"""The largest size that each control allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from dexlane.domain.circumstances import Objection
from dexlane.values.amounts import BPS_DENOMINATOR, decimal_text
from dexlane.values.books import Book
from dexlane.values.sizes import TradeSize


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that one control lets a trade put in, quote units, and why. Below 1 it forbids the trade.

    The sentence is asked for when somebody is to read it: most bounds hold nothing down.
    """

    outcome: str
    most: int
    why: Callable[[], str]
    passing: bool = False

    @property
    def forbids(self) -> bool:
        """Whether nothing is left."""
        return self.most < 1


def refused_by(bounds: Iterable[Bound]) -> list[Objection]:
    """What forbids the trade."""
    return [Objection(one.outcome, one.why(), one.passing) for one in bounds if one.forbids]


def sized(amount: int, book: Book, capital: int, bounds: Sequence[Bound]) -> TradeSize:
    """A size with both of its figures, and the control that it was held down by."""
    share = amount * BPS_DENOMINATOR // capital if capital else 0
    tightest = min(bounds, key=_most, default=None)
    holds = tightest if tightest is not None and tightest.most == amount else None
    reason = f"{in_quote(amount, book)} are {decimal_text(share, 2)} % of the {in_quote(capital, book)} of capital"
    return TradeSize(
        amount=amount,
        share_bps=share,
        held_by=None if holds is None else holds.outcome,
        reason=reason if holds is None else f"{reason}; {holds.why()}",
    )


def _most(bound: Bound) -> int:
    return bound.most


def in_quote(amount: int, book: Book) -> str:
    """An amount of the book's quote token, for people."""
    return f"{decimal_text(amount, book.quote.decimals)} {book.quote.symbol}"


def share_bound(outcome: str, what: str, used: int, limit: int, book: Book) -> Bound:
    """What is left of a limit on exposure."""
    return Bound(
        outcome,
        max(0, limit - used),
        lambda: f"{what} holds {in_quote(used, book)} of at most {in_quote(limit, book)}",
    )


def unknown(outcome: str, sentence: str) -> Iterator[Bound]:
    """A bound for what is not known: nothing is allowed, and waiting may help."""
    yield Bound(outcome, 0, lambda: sentence, passing=True)
