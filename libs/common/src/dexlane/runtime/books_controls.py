"""The table ``[books.<id>.controls]`` of ``books.toml``: what it may say, and how it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dexlane.values.amounts import decimal_text
from dexlane.values.books import USUAL_CONTROLS, Book, Mode
from dexlane.values.controls import Controls

OFF = "off"
CONTROL_KEYS = tuple(Controls.model_fields)
MONEY_CONTROLS = ("min_quote_balance",)
_LISTS = ("caps",)


def given_controls(values: Mapping[str, Any], mode: Mode) -> dict[str, Any]:
    """The usual controls of a mode with what a table says instead; ``"off"`` switches one off."""
    said: dict[str, Any] = {}
    for key, value in values.items():
        off: Any = () if key in _LISTS else None
        said[key] = off if value == OFF else value
    return {**USUAL_CONTROLS[mode].model_dump(), **said}


def control_lines(book: Book) -> Iterator[str]:
    """The table of a book that says something about its controls, with what differs from the usual ones."""
    if book.controls is None:
        return
    usual = USUAL_CONTROLS[book.mode]
    yield f"[books.{book.id}.controls]"
    for key in CONTROL_KEYS:
        value = getattr(book.controls, key)
        if value != getattr(usual, key):
            yield f"{key} = {_written(key, value, book)}"
    yield ""


def _written(key: str, value: Any, book: Book) -> str:
    if value is None or (key in _LISTS and not value):
        return f'"{OFF}"'
    if key in MONEY_CONTROLS:
        return f'"{decimal_text(value, book.quote.decimals)} {book.quote.symbol}"'
    if key in _LISTS:
        steps = (f"{{ good_trades = {step.good_trades}, usd = {step.usd} }}" for step in value)
        return f"[{', '.join(steps)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else f'"{value}"'
