"""``/books``: the trading accounts and their limits; ``/levels``: what levels allow."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from dexlane.domain.levels import LEVELS, LevelLimits
from gateway.api.desk import Desk
from gateway.api.envelope import Envelope
from gateway.books import BookChange, event_of
from gateway.projections.picture import BookView


def router(desk: Desk) -> APIRouter:
    """Read books and change their level, limits and whether they may trade."""
    api = APIRouter(tags=["books"])
    picture = desk.display.picture

    @api.get("/levels")
    async def list_levels() -> Envelope[list[LevelLimits]]:
        """What each level that a book may have allows. Published, so no token is asked for."""
        return desk.wrap(list(LEVELS.values()))

    @api.get("/books", dependencies=[Depends(desk.may_read)])
    async def list_books() -> Envelope[list[BookView]]:
        """Every book with its sums."""
        return desk.wrap([picture.book(book_id) for book_id in sorted(picture.books)])

    @api.get("/books/{book_id}", dependencies=[Depends(desk.may_read)])
    async def read_book(book_id: str) -> Envelope[BookView]:
        """One book with its sums."""
        desk.books.get(book_id)
        return desk.wrap(picture.book(book_id))

    @api.put("/books/{book_id}", dependencies=[Depends(desk.may_write)])
    async def change_book(book_id: str, change: BookChange) -> Envelope[BookView]:
        """Change level, enabled and limits. What is left out stays; the whole is checked before it holds."""
        version = await desk.books.change(book_id, change)
        picture.apply(event_of(version, desk.clock.now_ms()), desk.clock.now_ms())
        desk.moments.book_changed(book_id, version.version)
        return desk.wrap(picture.book(book_id))

    return api
