"""The chain of the archive: every decision has an entry that names the hash of the entry before it.

One archive writes one chain per realm and chain id. Whoever has noted an entry's hash can tell later whether anything
up to it was changed, left out, added or exchanged. It begins with an entry that says what it goes on from: nothing, or
the head of a chain that was lost. Contents may be deleted when they are old enough, their entries stay: an entry of
kind ``forgotten`` says up to where.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import orjson

from dexlane.events.thoughts import content_id

NOTHING_BEFORE = "0" * 64
"""The hash before the first entry."""


class EntryKind(StrEnum):
    """What an entry stands for."""

    BEGUN = "begun"
    DECISION = "decision"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One link. ``about`` is a decision's id, else a note in canonical JSON; ``content_hash`` that of the decision or
    the note."""

    sequence: int
    kind: EntryKind
    about: str
    content_hash: str
    previous_hash: str
    entry_hash: str


@dataclass(frozen=True, slots=True)
class ChainName:
    """Which chain an entry belongs to; it is part of every hash."""

    realm: str
    chain_id: int


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry: what people note down, as ``<sequence>:<hash>``."""

    sequence: int
    entry_hash: str

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read what was noted down; ``ValueError`` for anything else."""
        number, _, entry_hash = text.partition(":")
        if not number.isascii() or not number.isdigit() or len(entry_hash) != len(NOTHING_BEFORE):
            raise ValueError(f"{text!r} is no head; it looks like 42:9f86d081...")
        return cls(int(number), entry_hash)

    def __str__(self) -> str:
        """As it is noted down."""
        return f"{self.sequence}:{self.entry_hash}"


def linked(name: ChainName, last: Head | None, kind: EntryKind, about: str, content_hash: str) -> Entry:
    """The next entry after the last one."""
    sequence, previous = (1, NOTHING_BEFORE) if last is None else (last.sequence + 1, last.entry_hash)
    unsealed = Entry(
        sequence=sequence, kind=kind, about=about, content_hash=content_hash, previous_hash=previous, entry_hash=""
    )
    return Entry(
        sequence=sequence,
        kind=kind,
        about=about,
        content_hash=content_hash,
        previous_hash=previous,
        entry_hash=hash_of(name, unsealed),
    )


def noted(name: ChainName, last: Head | None, kind: EntryKind, note: Mapping[str, object]) -> Entry:
    """The next entry, for something that is no decision."""
    text = orjson.dumps(note, option=orjson.OPT_SORT_KEYS)
    return linked(name, last, kind, text.decode(), content_id(text))


def begun(name: ChainName, last: Head | None, lost: Head | None, at_ms: int) -> Entry:
    """The entry that says what is gone on from, a head that was lost or nothing, and when (Unix milliseconds): what was
    decided before is entered after it again, from streams that may keep decisions longer than their documents."""
    note = {"after": None if lost is None else str(lost), "at_ms": at_ms}
    return noted(name, last, EntryKind.BEGUN, note)


def forgotten(name: ChainName, last: Head | None, up_to: int) -> Entry:
    """The entry that says that the contents of all entries up to a sequence may be gone."""
    return noted(name, last, EntryKind.FORGOTTEN, {"up_to": up_to})


def hash_of(name: ChainName, entry: Entry) -> str:
    """SHA-256 over the canonical JSON of everything else in an entry, with the name of its chain."""
    content = {
        "realm": name.realm,
        "chain_id": name.chain_id,
        "sequence": entry.sequence,
        "kind": entry.kind.value,
        "about": entry.about,
        "content_hash": entry.content_hash,
        "previous_hash": entry.previous_hash,
    }
    return content_id(orjson.dumps(content, option=orjson.OPT_SORT_KEYS))


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written. ``sequence`` is None for what has no place in the chain."""

    sequence: int | None
    sentence: str


def faults_of_chain(name: ChainName, entries: Iterable[Entry], heads: Iterable[Head] = ()) -> Iterator[Fault]:
    """Whether entries follow each other, each as it was written; and whether noted heads are among them."""
    previous, expected = NOTHING_BEFORE, 1
    wanted = {head.sequence: head for head in heads}
    for entry in entries:
        if entry.sequence != expected:
            yield Fault(expected, f"entry {expected} is missing: {entry.sequence} comes after {expected - 1}")
        elif entry.previous_hash != previous:
            yield Fault(entry.sequence, f"entry {entry.sequence} does not name the entry before it")
        if hash_of(name, entry) != entry.entry_hash:
            yield Fault(entry.sequence, f"entry {entry.sequence} was changed: its hash does not fit it")
        if entry.kind is not EntryKind.DECISION and content_id(entry.about.encode()) != entry.content_hash:
            yield Fault(entry.sequence, f"the note of entry {entry.sequence} was changed")
        if expected == 1 and entry.kind is not EntryKind.BEGUN:
            yield Fault(entry.sequence, "the chain does not begin with an entry that says so")
        head = wanted.pop(entry.sequence, None)
        if head is not None and head.entry_hash != entry.entry_hash:
            yield Fault(entry.sequence, f"entry {entry.sequence} is another one than the head that was noted down")
        previous, expected = entry.entry_hash, entry.sequence + 1
    for head in wanted.values():
        yield Fault(None, f"the chain ends with entry {expected - 1}, before the head {head} that was noted down")


def faults_of_contents(entries: Iterable[Entry], hashes: Mapping[str, str | None]) -> Iterator[Fault]:
    """Whether the archive holds exactly the decisions of the chain. ``hashes`` are those that the archived contents
    really have, by decision id; None for contents that cannot be read."""
    told: set[str] = set()
    listed = list(entries)
    forgotten_to = _forgotten_to(listed)
    for entry in listed:
        if entry.kind is not EntryKind.DECISION:
            continue
        told.add(entry.about)
        if entry.about not in hashes:
            if entry.sequence > forgotten_to:
                yield Fault(entry.sequence, f"decision {entry.about} of entry {entry.sequence} was deleted")
        elif hashes[entry.about] != entry.content_hash:
            yield Fault(entry.sequence, f"decision {entry.about} of entry {entry.sequence} was changed")
    for decision_id in hashes.keys() - told:
        yield Fault(None, f"decision {decision_id} is in the archive and not in the chain")


def _forgotten_to(entries: Iterable[Entry]) -> int:
    return max((up_to_of(entry.about) for entry in entries if entry.kind is EntryKind.FORGOTTEN), default=0)


def up_to_of(note: str) -> int:
    """The sequence that a note of kind ``forgotten`` says; zero where it is no such note any more: then nothing counts
    as forgotten."""
    return _number_in(note, "up_to")


def began_ms_of(note: str) -> int:
    """The time that a note of kind ``begun`` says; zero where it says none: then nothing counts as from before."""
    return _number_in(note, "at_ms")


def lost_head_of(note: str) -> str | None:
    """The head that a note of kind ``begun`` goes on from; None where that is nothing."""
    try:
        after = orjson.loads(note)["after"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return after if isinstance(after, str) else None


def _number_in(note: str, key: str) -> int:
    try:
        number = orjson.loads(note)[key]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return 0
    return number if isinstance(number, int) else 0
