"""``dexlane books``: show the books, add one to the books file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from pydantic import ValidationError
from rich.table import Table

from dexlane.domain.levels import unknown_level
from dexlane.runtime.books_edit import write_book
from dexlane.runtime.books_file import load_books, paper_account
from dexlane.values.amounts import decimal_text, parse_decimal_text
from dexlane.values.books import Book, Lane, Mode, Profile
from dexlane_cli import gateway_client
from dexlane_cli.default_books import DEVNET_ROLES, quote_on, roles, write_default_books
from dexlane_cli.errors import EXIT_USAGE, CommandError
from dexlane_cli.options import DEFAULT_HOME, Home, console, options_for
from dexlane_cli.stack import Ports, StackOptions

app = typer.Typer(help="Show the books, or add one.", no_args_is_help=True)


def _options(home: Path) -> StackOptions:
    options = options_for(home)
    write_default_books(options)
    return options


@app.command()
def show(home: Home = DEFAULT_HOME) -> None:
    """Show every book of the books file with its limits."""
    path = _options(home).books_file
    table = Table(
        "book", "mode", "level", "profile", "lane", "account", "capital", "max trade", "strategies", title=str(path)
    )
    for book in load_books(path, roles=roles()).books:
        for lane, limits in book.limits.items():
            table.add_row(
                book.id,
                book.mode,
                str(book.level),
                book.profile,
                lane,
                book.accounts[lane],
                f"{decimal_text(limits.capital, book.quote.decimals)} {book.quote.symbol}",
                f"{decimal_text(limits.max_trade, book.quote.decimals)} {book.quote.symbol}",
                ", ".join(book.strategies),
            )
    console.print(table)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Id of the new book: lower-case letters, digits and dashes.")],
    like: Annotated[str, typer.Option(help="The book to begin from.")] = "paper-main",
    chain: Annotated[int | None, typer.Option(help="Chain id of the new book.")] = None,
    level: Annotated[int | None, typer.Option(min=1, max=10, help="1 (least) to 10 (most).")] = None,
    profile: Annotated[Profile | None, typer.Option(help="Accepted risk.")] = None,
    jurisdiction: Annotated[str | None, typer.Option(help="Whose rules it trades under: EU, GB, ...")] = None,
    capital: Annotated[str | None, typer.Option(help="Capital of each lane, in whole quote tokens.")] = None,
    max_trade: Annotated[str | None, typer.Option(help="Largest entry of each lane, in whole quote tokens.")] = None,
    fast_account: Annotated[str | None, typer.Option(help="Live books: address or devnet name.")] = None,
    smart_account: Annotated[str | None, typer.Option(help="Live books: address or devnet name.")] = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """Add a book that is like another one but for what you say. A running gateway reads the file at its next start."""
    options = _options(home)
    path = options.books_file
    books = {book.id: book for book in load_books(path, roles=roles()).books}
    if name in books:
        raise CommandError(f"there is a book {name!r} already; edit it in {path}", EXIT_USAGE)
    if like not in books:
        raise CommandError(f"there is no book {like!r}; the books are {', '.join(books)}", EXIT_USAGE)
    if chain is not None and chain not in options.node_urls:
        served = ", ".join(map(str, options.node_urls))
        raise CommandError(
            f"chain {chain} is not played here, only {served}; CHAINS in the environment adds it", EXIT_USAGE
        )
    given = {Lane.FAST: fast_account, Lane.SMART: smart_account}
    changes: dict[str, Any] = {"id": name, "accounts": _accounts(books[like], name, given)}
    said = (("level", level), ("profile", profile), ("jurisdiction", jurisdiction))
    changes |= {key: value for key, value in said if value is not None}
    if chain is not None:
        changes |= {"chain_id": chain, "quote": quote_on(books[like], chain)}
    changes["limits"] = _limits(books[like], capital, max_trade)
    try:
        book = Book.model_validate({**books[like].model_dump(), **changes})
    except ValidationError as error:
        raise CommandError("; ".join(str(fault["msg"]) for fault in error.errors()), EXIT_USAGE) from error
    write_book(path, book, roles=roles())
    console.print(f"added {name} to {path}")


@app.command()
def level(
    book: Annotated[str, typer.Argument(help="Id of the book.")],
    level: Annotated[int, typer.Argument(help="1 (least) to 10 (most); `dexlane levels` shows them.")],
    home: Home = DEFAULT_HOME,
    port_shift: Annotated[int, typer.Option("--port-shift", help="Added to every port.")] = 0,
) -> None:
    """Give a book another level, now: executors plan by it from the next decision on. A signer's process has a highest
    level of its own in its policy, and refuses entries above it."""
    wrong = unknown_level(level)
    if wrong is not None:
        raise CommandError(wrong, EXIT_USAGE)
    options = StackOptions(home=home.resolve(), ports=Ports(port_shift))
    answer = gateway_client.call(options, "PUT", f"/books/{quote(book, safe='')}", {"level": level})
    console.print(f"{book} has level {answer['book']['level']} (version {answer['book_version']})")


def _accounts(like: Book, name: str, given: dict[Lane, str | None]) -> dict[Lane, str]:
    if like.mode is Mode.PAPER:
        return {lane: paper_account(name, lane) for lane in like.accounts}
    missing = [lane for lane in like.accounts if not given[lane]]
    if missing:
        raise CommandError(
            f"a live book needs accounts of its own: give --{missing[0]}-account an address or one of "
            f"{', '.join(DEVNET_ROLES)}",
            EXIT_USAGE,
        )
    named = roles()
    return {lane: named.get(str(given[lane]), str(given[lane])) for lane in like.accounts}


def _limits(like: Book, capital: str | None, max_trade: str | None) -> dict[Lane, dict[str, Any]]:
    changed: dict[str, int] = {}
    for key, text in (("capital", capital), ("max_trade", max_trade)):
        if text is not None:
            try:
                changed[key] = parse_decimal_text(text, like.quote.decimals)
            except ValueError as error:
                raise CommandError(f"--{key.replace('_', '-')}: {error}", EXIT_USAGE) from error
    return {lane: {**limits.model_dump(), **changed} for lane, limits in like.limits.items()}
