"""Values as documents that are named by their content.

Any frozen value of ours (dataclasses, pydantic values, tuples, mappings, sets, enumerations, integers) has one text:
JSON with sorted keys and no spaces, sets sorted, enumerations as their values, integers of 2**53 and more as decimal
strings. A part of ``PART_CHARS`` or more stands in a document of its own, and ``{"$": "<SHA-256>"}`` in its place, so
that what did not change since the last decision (ticks, pools, books, rules) is neither sent nor kept again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Any

import orjson
from pydantic import BaseModel

from dexlane.domain.pool_book import PoolBook
from dexlane.events.thoughts import content_id

PART_CHARS = 1_024
REFERENCE = "$"
TELL_AGAIN_MS = 3_600_000
"""So long a document counts as known to the archive; after that it is told once more, because archives forget."""
MOST_TOLD = 20_000
MOST_OBJECTS = 2_000
_EXACT = 2**53


class DocumentError(ValueError):
    """A document is missing or is not what its name says; ``document_id`` names it."""

    def __init__(self, document_id: str, why: str) -> None:
        super().__init__(f"document {document_id} {why}")
        self.document_id = document_id


@dataclass
class _Known:
    """An object with the document that it became, for as long as that was told lately."""

    value: object
    document_id: str


@dataclass
class Library:
    """Which documents were told, and when. Objects are remembered too: frozen ones need not be written down again."""

    _told: dict[str, int] = field(default_factory=dict)
    """When each document was told, Unix milliseconds."""
    _objects: dict[int, _Known] = field(default_factory=dict)

    def round(self, now_ms: int) -> Round:
        """Write down some values that belong together. Nothing counts as told before ``keep``."""
        return Round(self, now_ms)

    def is_told(self, document_id: str, now_ms: int) -> bool:
        """Whether the archive was told of it lately."""
        told_ms = self._told.get(document_id)
        return told_ms is not None and now_ms - told_ms < TELL_AGAIN_MS

    def known(self, value: object, now_ms: int) -> str | None:
        """The document of an object that was told lately."""
        known = self._objects.get(id(value))
        if known is None or known.value is not value or not self.is_told(known.document_id, now_ms):
            return None
        self._objects[id(value)] = self._objects.pop(id(value))
        return known.document_id

    def keep(self, texts: Iterable[str], objects: Iterable[tuple[object, str]], now_ms: int) -> None:
        """These documents are on their way for certain."""
        self._told.update(dict.fromkeys(texts, now_ms))
        self._objects.update({id(value): _Known(value, document_id) for value, document_id in objects})
        _shorten(self._told, MOST_TOLD)
        _shorten(self._objects, MOST_OBJECTS)


def _shorten(entries: dict[Any, Any], most: int) -> None:
    """Forget what was entered or used longest ago."""
    while len(entries) > most:
        del entries[next(iter(entries))]


@dataclass(frozen=True, slots=True)
class Apart:
    """A part that stands in a document of its own whatever its size."""

    value: object


class Round:
    """Documents of one moment. What is written in one round shares its parts."""

    def __init__(self, library: Library, now_ms: int) -> None:
        self._library = library
        self._now_ms = now_ms
        self._whole: dict[int, tuple[object, str]] = {}
        self._objects: dict[int, tuple[object, str]] = {}
        self.texts: dict[str, str] = {}
        """What must be told, by id."""

    def put(self, value: object) -> str:
        """The id of a value's document; its new parts are in ``texts``. ``TypeError`` for what is no value of ours."""
        whole = self._whole.get(id(value))
        if whole is None:
            whole = self._whole[id(value)] = (value, self._document(self._inside(value)))
        return whole[1]

    def keep(self) -> None:
        """All of it is on its way for certain."""
        self._library.keep(self.texts, self._objects.values(), self._now_ms)

    def _known(self, value: object) -> str | None:
        here = self._objects.get(id(value))
        return here[1] if here is not None else self._library.known(value, self._now_ms)

    def _document(self, text: str) -> str:
        document_id = content_id(text.encode())
        if not self._library.is_told(document_id, self._now_ms):
            self.texts[document_id] = text
        return document_id

    def _text(self, value: object) -> str:
        writer = _SCALARS.get(type(value))
        if writer is not None:
            return writer(value)
        if isinstance(value, Enum):
            return self._text(value.value)
        if isinstance(value, Apart):
            inner = value.value
            return self._text(inner) if type(inner) in _SCALARS else _reference(self.put(inner))
        known = self._known(value)
        if known is not None:
            return _reference(known)
        text = self._inside(value)
        if len(text) < PART_CHARS:
            return text
        document_id = self._document(text)
        self._objects[id(value)] = (value, document_id)
        return _reference(document_id)

    def _inside(self, value: object) -> str:
        if isinstance(value, tuple | list):
            return f"[{','.join(map(self._text, value))}]"
        if isinstance(value, frozenset | set):
            return f"[{','.join(sorted(map(self._text, value)))}]"
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, PoolBook):
            return self._mapping(value.pools)
        names = _fields_of(type(value))
        return f"{{{','.join(f'{name}{self._text(getattr(value, attribute))}' for attribute, name in names)}}}"

    def _mapping(self, value: Mapping[Any, object]) -> str:
        texts = {_key(key): self._text(part) for key, part in value.items()}
        if REFERENCE in texts:
            raise TypeError(f"a mapping with the key {REFERENCE!r} cannot be told from a reference")
        return f"{{{','.join(f'{_quoted(key)}:{texts[key]}' for key in sorted(texts))}}}"


_FIELDS: dict[type, tuple[tuple[str, str], ...]] = {}


def _fields_of(kind: type[Any]) -> tuple[tuple[str, str], ...]:
    """The fields of a class in the order of their names, each with the beginning of its entry."""
    known = _FIELDS.get(kind)
    if known is None:
        known = _FIELDS[kind] = _looked_up(kind)
    return known


def _looked_up(kind: type[Any]) -> tuple[tuple[str, str], ...]:
    if issubclass(kind, BaseModel):
        names = sorted(kind.model_fields)
    elif dataclasses.is_dataclass(kind):
        names = sorted(one.name for one in dataclasses.fields(kind))
    else:
        raise TypeError(f"{kind.__name__} is no value that a decision can be computed from again")
    return tuple((name, f"{_quoted(name)}:") for name in names)


def _key(key: object) -> str:
    return str(key.value) if isinstance(key, Enum) else str(key)


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


def _whole_number(value: int) -> str:
    return str(value) if -_EXACT < value < _EXACT else f'"{value}"'


_SCALARS: Mapping[type, Callable[[Any], str]] = {
    str: _quoted,
    int: _whole_number,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _value: "null",
    date: lambda value: _quoted(value.isoformat()),
}


def _reference(document_id: str) -> str:
    return f'{{"{REFERENCE}":"{document_id}"}}'


Fetch = Callable[[str], str | None]
"""Finds the text of a document by its id."""


def read(document_id: str, fetch: Fetch) -> Any:
    """What a document says, without what it refers to. ``DocumentError`` when it is missing or was changed."""
    text = fetch(document_id)
    if text is None:
        raise DocumentError(document_id, "is missing")
    if content_id(text.encode()) != document_id:
        raise DocumentError(document_id, "was changed: its contents have another hash than its name says")
    return orjson.loads(text)


def resolve(document_id: str, fetch: Fetch) -> Any:
    """A document with everything that it refers to in its place. ``DocumentError`` names the first that is at fault."""
    return _resolved(read(document_id, fetch), fetch)


def _resolved(part: Any, fetch: Fetch) -> Any:
    if isinstance(part, list):
        return [_resolved(one, fetch) for one in part]
    if not isinstance(part, dict):
        return part
    if part.keys() == {REFERENCE}:
        return resolve(part[REFERENCE], fetch)
    return {key: _resolved(one, fetch) for key, one in part.items()}


def references(text: str) -> set[str]:
    """The documents that a document names."""
    found: set[str] = set()
    _collect(orjson.loads(text), found)
    return found


def _collect(part: Any, found: set[str]) -> None:
    if isinstance(part, list):
        for one in part:
            _collect(one, found)
    elif isinstance(part, dict):
        if part.keys() == {REFERENCE}:
            found.add(part[REFERENCE])
            return
        for one in part.values():
            _collect(one, found)
