"""The largest size that each control allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dexlane.domain.circumstances import Objection
from dexlane.values.amounts import BPS_DENOMINATOR, decimal_text
from dexlane.values.books import Book
from dexlane.values.sizes import TradeSize


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that one control lets a trade put in, quote units, and why. Below 1 it forbids the trade."""

    outcome: str
    most: int
    sentence: str
    passing: bool = False

    @property
    def forbids(self) -> bool:
        """Whether nothing is left."""
        return self.most < 1


def refused_by(bounds: Iterable[Bound]) -> list[Objection]:
    """What forbids the trade."""
    return [Objection(one.outcome, one.sentence, one.passing) for one in bounds if one.forbids]


def sized(amount: int, book: Book, capital: int, bounds: Sequence[Bound]) -> TradeSize:
    """A size with both of its figures, and the control that it was held down by."""
    tightest = min(bounds, key=lambda one: one.most, default=None)
    binds = tightest is not None and tightest.most == amount
    return TradeSize(
        amount=amount,
        share_bps=amount * BPS_DENOMINATOR // capital if capital else 0,
        held_by=tightest.outcome if tightest is not None and binds else None,
        reason=_in_words(amount, book, capital) + (f"; {tightest.sentence}" if tightest is not None and binds else ""),
    )


def _in_words(amount: int, book: Book, capital: int) -> str:
    quote, share = book.quote, amount * BPS_DENOMINATOR // capital if capital else 0
    return (
        f"{decimal_text(amount, quote.decimals)} {quote.symbol} are {decimal_text(share, 2)} % of the "
        f"{decimal_text(capital, quote.decimals)} {quote.symbol} of capital"
    )


def in_quote(amount: int, book: Book) -> str:
    """An amount of the book's quote token, for people."""
    return f"{decimal_text(amount, book.quote.decimals)} {book.quote.symbol}"


def share_bound(outcome: str, what: str, used: int, limit: int, book: Book) -> Bound:
    """What is left of a limit on exposure."""
    sentence = f"{what} holds {in_quote(used, book)} of at most {in_quote(limit, book)}"
    return Bound(outcome, max(0, limit - used), sentence)


def unknown(outcome: str, sentence: str) -> Iterator[Bound]:
    """A bound for what is not known: nothing is allowed, and waiting may help."""
    yield Bound(outcome, 0, sentence, passing=True)
