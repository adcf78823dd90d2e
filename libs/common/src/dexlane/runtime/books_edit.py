"""Add or replace one book in the text of ``books.toml`` and leave everything else, comments included, as it is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from dexlane.runtime.books_controls import control_lines
from dexlane.runtime.books_file import (
    COUNT_LIMITS,
    KNOWN_QUOTES,
    MONEY_LIMITS,
    NATIVE_DECIMALS,
    NATIVE_SYMBOLS,
    BooksFileError,
    paper_account,
    parse_books,
)
from dexlane.values.amounts import decimal_text
from dexlane.values.books import DEFAULT_RELAY_RULES, Book, Mode

_HEADER = re.compile(r"\s*\[\s*(?P<name>[^\[\]]+?)\s*\]\s*(#.*)?")


def render_book(book: Book, *, roles: Mapping[str, str]) -> str:
    """The tables of one book, as ``parse_books`` reads them."""
    tables = (
        _book_lines(book),
        _account_lines(book, roles),
        _exit_lines(book),
        _relay_lines(book),
        control_lines(book),
        _limit_lines(book),
    )
    return "\n".join(line for table in tables for line in table)


def with_book(text: str, book: Book, *, roles: Mapping[str, str], source: str = "books.toml") -> str:
    """The text with this book added, or put in the place of the one with the same id.

    Raises ``BooksFileError`` when the result would not say exactly that, for example because the old book is written
    as an inline table.
    """
    others = {b.id: b for b in (parse_books(text, source=source, roles=roles) if _has_books(text) else ())}
    changed = _spliced(text, book, render_book(book, roles=roles), token=_token_table(text, book))
    after = {b.id: b for b in parse_books(changed, source=source, roles=roles)}
    if after != {**others, book.id: book}:
        raise BooksFileError(f"{source} is laid out in a way that cannot be edited; change book {book.id!r} by hand")
    return changed


def write_book(path: Path, book: Book, *, roles: Mapping[str, str]) -> None:
    """Add or replace a book in a file. Of two writers one waits for the other, so neither loses anything."""
    path = path.resolve()  # where a link leads: the link stays
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        replace_text(path, with_book(text, book, roles=roles, source=path.name))
    finally:
        os.close(folder)


def replace_text(path: Path, text: str) -> None:
    """Write a file as a whole: a crash or a full disk leaves the old one or the new one, never a part."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as temporary:
        new = Path(temporary.name)
        try:
            temporary.write(text)
            temporary.flush()
            os.fsync(temporary.fileno())
            new.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
            new.replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                new.unlink()


def _has_books(text: str) -> bool:
    try:
        return "books" in tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BooksFileError(f"the books file is no valid TOML: {error}") from error


def _book_lines(book: Book) -> Iterator[str]:
    symbol = NATIVE_SYMBOLS.get(book.chain_id)
    reserve = decimal_text(book.gas_reserve_wei, NATIVE_DECIMALS) + (f" {symbol}" if symbol else "")
    strategies = ", ".join(f'"{strategy}"' for strategy in book.strategies)
    yield f"[books.{book.id}]"
    yield f"chain_id = {book.chain_id}"
    yield f'mode = "{book.mode.value}"'
    yield f"level = {book.level}"
    yield f'profile = "{book.profile.value}"'
    yield f'quote = "{book.quote.symbol}"'
    yield f"strategies = [{strategies}]"
    yield f"slippage_tolerance_bps = {book.slippage_tolerance_bps}"
    yield f'gas_reserve = "{reserve}"'
    yield f"enabled = {'true' if book.enabled else 'false'}"
    if book.jurisdiction is not None:
        yield f'jurisdiction = "{book.jurisdiction}"'
    yield ""


def _account_lines(book: Book, roles: Mapping[str, str]) -> Iterator[str]:
    if book.mode is Mode.PAPER and all(
        account == paper_account(book.id, lane) for lane, account in book.accounts.items()
    ):
        return
    names = {} if book.mode is Mode.PAPER else {address.lower(): role for role, address in roles.items()}
    yield f"[books.{book.id}.accounts]"
    for lane, account in sorted(book.accounts.items()):
        yield f'{lane.value} = "{names.get(account, account)}"'
    yield ""


def _exit_lines(book: Book) -> Iterator[str]:
    yield f"[books.{book.id}.exits]"
    yield f"stop_loss_bps = {book.exits.stop_loss_bps}"
    yield f"take_profit_bps = {book.exits.take_profit_bps}"
    if book.exits.max_age_s is not None:
        yield f"max_age_s = {book.exits.max_age_s}"
    if not book.exits.flagged_tokens:
        yield "flagged_tokens = false"
    yield ""


def _relay_lines(book: Book) -> Iterator[str]:
    rules = book.relays
    if rules == DEFAULT_RELAY_RULES:
        return
    symbol = NATIVE_SYMBOLS.get(book.chain_id)
    limit = decimal_text(rules.sandwich_limit_wei, NATIVE_DECIMALS) + (f" {symbol}" if symbol else "")
    after = rules.exits_public_after_blocks
    yield f"[books.{book.id}.relays]"
    yield f'policy = "{rules.policy.value}"'
    yield f'sandwich_limit = "{limit}"'
    yield f"exits_public_after_blocks = {after}" if after is not None else 'exits_public_after_blocks = "never"'
    yield ""


def _limit_lines(book: Book) -> Iterator[str]:
    for lane, limits in sorted(book.limits.items()):
        yield f"[books.{book.id}.limits.{lane.value}]"
        for key in MONEY_LIMITS:
            yield f'{key} = "{decimal_text(getattr(limits, key), book.quote.decimals)} {book.quote.symbol}"'
        for key in COUNT_LIMITS:
            yield f"{key} = {getattr(limits, key)}"
        yield ""


def _token_table(text: str, book: Book) -> str:
    known = KNOWN_QUOTES.get((book.chain_id, book.quote.symbol))
    declared = tomllib.loads(text).get("tokens", {})
    if known is not None or book.quote.symbol in declared:
        return ""
    quote = book.quote
    return (
        f"[tokens.{quote.symbol}]\nchain_id = {book.chain_id}\n"
        f'address = "{quote.address}"\ndecimals = {quote.decimals}\n\n'
    )


def _spliced(text: str, book: Book, rendered: str, *, token: str) -> str:
    """Cut out every table of the book and put the new ones where the first of them stood."""
    kept: list[str] = []
    place: int | None = None
    inside = False
    held: list[str] = []
    for line in text.splitlines():
        header = _HEADER.fullmatch(line)
        if header is None and inside:
            # Comments and blank lines before the next table belong to that table.
            blank = not line.strip() or line.lstrip().startswith("#")
            held = [*held, line] if blank else []
            continue
        if header is not None:
            belongs = _belongs(header["name"], book.id)
            if inside and not belongs:
                kept += held
            if belongs and place is None:
                place = len(kept)
            inside, held = belongs, []
        if not inside:
            kept.append(line)
    if inside:
        kept += held
    if place is None:
        before = "\n".join(kept).rstrip("\n")
        return (before + "\n\n" if before else "") + token + rendered
    after = kept[place:]
    gap = [""] if after and after[0].strip() else []
    return "\n".join([*kept[:place], *(token + rendered).splitlines(), *gap, *after]).rstrip("\n") + "\n"


def _belongs(header: str, book_id: str) -> bool:
    parts = [part.strip().strip("\"'") for part in header.split(".")]
    return parts[:2] == ["books", book_id]
