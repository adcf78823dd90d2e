"""The books that a newcomer is given, for the chains that are played."""

from __future__ import annotations

from dexlane.runtime.books_edit import replace_text, with_book
from dexlane.runtime.books_file import KNOWN_QUOTES, default_books_text, paper_account, parse_books
from dexlane.values.books import Book, Mode
from dexlane.values.tokens import Token
from dexlane_cli.errors import EXIT_USAGE, CommandError
from dexlane_cli.stack import StackOptions

DEVNET_ROLES = ("live-fast", "live-smart", "spare-1", "spare-2")
NAMES = {1: ("paper-main", "live-devnet"), 8_453: ("paper-base", "live-base")}
"""Ids of the default paper and live book of each chain that has them."""


def roles() -> dict[str, str]:
    """Names of the devnet's trading accounts and their addresses."""
    from dexlane_devnet import account

    return {role: account(role).address.lower() for role in DEVNET_ROLES}


def write_default_books(options: StackOptions) -> None:
    """Give a newcomer books: a paper one for each chain, and a live one where the chain is the devnet's."""
    if not options.books_file.exists():
        options.books_file.parent.mkdir(parents=True, exist_ok=True)
        replace_text(options.books_file, books_text(options))


def books_text(options: StackOptions) -> str:
    """The default books of the stack's chains. A given chain without default books leaves the choice to its owner."""
    chains = [chain_id for chain_id in options.node_urls if chain_id in NAMES]
    if chains == [1] or not chains:
        return default_books_text() if options.uses_devnet else _without_live_book(default_books_text())
    named = roles()
    text = ""
    if 1 in chains:
        text = default_books_text() if options.uses_devnet else _without_live_book(default_books_text())
    for chain_id in sorted(set(chains) - {1}):
        for book in parse_books(default_books_text(), roles=named):
            if options.uses_devnet or book.mode is Mode.PAPER:
                name = NAMES[chain_id][book.mode is Mode.LIVE]
                text = with_book(text, on_chain(book, name, chain_id), roles=named)
    return text


def on_chain(book: Book, name: str, chain_id: int) -> Book:
    """The same book under another name on another chain; a live one keeps its accounts."""
    accounts = book.accounts
    if book.mode is Mode.PAPER:
        accounts = {lane: paper_account(name, lane) for lane in book.accounts}
    changes = {"id": name, "chain_id": chain_id, "quote": quote_on(book, chain_id), "accounts": accounts}
    return Book.model_validate({**book.model_dump(), **changes})


def quote_on(book: Book, chain_id: int) -> Token:
    """The token of the same symbol as the book's quote token on a chain; ``CommandError`` when it is not known."""
    quote = book.quote if chain_id == book.chain_id else KNOWN_QUOTES.get((chain_id, book.quote.symbol))
    if quote is None:
        raise CommandError(
            f"{book.quote.symbol} of chain {chain_id} is not known; add the book and its token to the file by hand",
            EXIT_USAGE,
        )
    return quote


def _without_live_book(text: str) -> str:
    kept, skip = [], False
    for row in text.splitlines(keepends=True):
        if row.startswith("# -------"):
            skip = "live book" in row
        if not skip:
            kept.append(row)
    return "".join(kept)
