"""A book does not make the same trade twice in a row: what looks like a second chance is mostly the first one again."""

from __future__ import annotations

from collections.abc import Iterator

from dexlane.domain.circumstances import Holdings, Market, Objection
from dexlane.domain.controls.facts import direction_of
from dexlane.values.books import Book
from dexlane.values.routes import Route


def against_duplicate(route: Route, book: Book, holdings: Holdings, market: Market) -> Iterator[Objection]:
    """An objection while the last trade of this book that bought the token, or used the pools of the cycle, is younger
    than so many blocks. What the other lane bought counts as soon as it is in a block."""
    blocks = book.controls_in_force.duplicate_blocks
    if not blocks:
        return
    last = holdings.reserved.recent.get(direction_of(route))
    if not route.is_cycle:
        bought = [part.newest_block for part in holdings.book_parts if part.token == route.token_out]
        last = max((block for block in (last, *bought) if block is not None), default=None)
    if last is not None and market.block.number - last < blocks:
        yield Objection(
            "duplicate",
            f"the book made this trade in block {last} already, and makes it again after {blocks} blocks",
            passing=False,
        )
