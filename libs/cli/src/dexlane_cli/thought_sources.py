"""Where recorded decisions are read from: the gateway's journal, or an exported file."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import orjson
import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from dexlane.domain.thoughts.chain import ChainName, Entry, EntryKind, began_ms_of
from dexlane.domain.thoughts.documents import references
from dexlane.events.risk import DecisionRecorded
from dexlane.runtime import thought_archive
from dexlane.runtime.migrate import database_file
from dexlane.runtime.thought_archive import Asked
from dexlane_cli.errors import EXIT_USAGE, CommandError


@dataclass(frozen=True)
class Chain:
    """The chain of one chain id, and the archived decisions by id; None for one that cannot be read."""

    name: ChainName
    entries: list[Entry]
    decisions: dict[str, DecisionRecorded | None]


@dataclass(frozen=True)
class Row:
    """An entry with its decision; None for what is none, was deleted or cannot be read."""

    name: ChainName
    entry: Entry
    decision: DecisionRecorded | None


@dataclass(frozen=True)
class Found:
    """A decision, and when the part of its chain began that it is in (Unix milliseconds)."""

    decision: DecisionRecorded
    began_ms: int

    @property
    def is_from_before(self) -> bool:
        """Whether it was entered again from streams, which may no longer have had its documents."""
        return self.decision.occurred_at_ms < self.began_ms


class Source(Protocol):
    """Chains and documents."""

    async def chains(self) -> list[Chain]:
        """All chains, whole."""
        ...

    def rows(self) -> AsyncIterator[Row]:
        """All entries of all chains, as they come."""
        ...

    def find(self, asked: Asked) -> AsyncIterator[Found]:
        """Decisions that fit and can be read, of each chain the newest ``limit``, newest first."""
        ...

    async def texts(self, wanted: Iterable[str]) -> Mapping[str, str]:
        """The texts of documents, missing ones left out."""
        ...

    def documents(self) -> AsyncIterator[tuple[str, str]]:
        """All documents."""
        ...


@dataclass(frozen=True)
class JournalSource:
    """Reads the tables of a gateway's journal; whether it runs or not."""

    conn: AsyncConnection
    realm: str

    async def chains(self) -> list[Chain]:
        """All chains."""
        found: list[Chain] = []
        for chain_id in await thought_archive.chains(self.conn):
            entries = await thought_archive.entries(self.conn, chain_id)
            decisions = {key: one async for key, one in thought_archive.contents(self.conn, chain_id)}
            found.append(Chain(ChainName(self.realm, chain_id), entries, decisions))
        return found

    async def rows(self) -> AsyncIterator[Row]:
        """All entries of all chains, page by page."""
        for chain_id in await thought_archive.chains(self.conn):
            name = ChainName(self.realm, chain_id)
            async for one in thought_archive.listed(self.conn, chain_id):
                yield Row(name, one.entry, one.decision)

    async def find(self, asked: Asked) -> AsyncIterator[Found]:
        """Decisions that fit and can be read, page by page."""
        for chain_id in await thought_archive.chains(self.conn):
            began = began_by(await thought_archive.beginnings(self.conn, chain_id))
            left, before = asked.limit, None
            while left:
                page = replace(asked, before=before, limit=min(left, thought_archive.PAGE))
                rows = await thought_archive.search(self.conn, chain_id, page)
                for one in rows:
                    if one.decision is not None:
                        yield Found(one.decision, began(one.entry.sequence))
                if len(rows) < page.limit:
                    break
                left, before = left - len(rows), rows[-1].entry.sequence

    async def texts(self, wanted: Iterable[str]) -> Mapping[str, str]:
        """The texts of documents, missing ones left out."""
        return await thought_archive.texts(self.conn, wanted)

    async def documents(self) -> AsyncIterator[tuple[str, str]]:
        """All documents, page by page."""
        table = thought_archive.documents
        last = ""
        while True:
            page = sa.select(table.c.id, table.c.body).where(table.c.id > last).order_by(table.c.id)
            rows = (await self.conn.execute(page.limit(thought_archive.PAGE))).all()
            for row in rows:
                yield row.id, row.body
            if not rows:
                return
            last = rows[-1].id


@dataclass
class FileSource:
    """Reads a file that ``dexlane thoughts export --format jsonl`` wrote."""

    _chains: dict[int, Chain] = field(default_factory=dict)
    _texts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> FileSource:
        """``CommandError`` for a file that is no such export."""
        source = cls()
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                source._take(orjson.loads(line))
            except (orjson.JSONDecodeError, KeyError, ValueError, TypeError) as error:
                raise CommandError(f"line {number} of {path} is no exported decision: {error}", EXIT_USAGE) from error
        return source

    def _take(self, row: dict[str, Any]) -> None:
        if "document" in row:
            self._texts[row["document"]] = row["text"]
            return
        name = ChainName(row["realm"], row["chain_id"])
        chain = self._chains.setdefault(name.chain_id, Chain(name, [], {}))
        names = ("sequence", "about", "content_hash", "previous_hash", "entry_hash")
        chain.entries.append(Entry(kind=EntryKind(row["kind"]), **{key: row[key] for key in names}))
        if row.get("decision") is not None:
            chain.decisions[row["decision"]["id"]] = _read(row["decision"])

    async def chains(self) -> list[Chain]:
        """All chains."""
        return list(self._chains.values())

    async def rows(self) -> AsyncIterator[Row]:
        """All entries of all chains."""
        for chain in self._chains.values():
            for entry in chain.entries:
                yield Row(chain.name, entry, chain.decisions.get(entry.about))

    async def find(self, asked: Asked) -> AsyncIterator[Found]:
        """Decisions that fit and can be read."""
        for chain in self._chains.values():
            began = began_by(chain.entries)
            inside = ((entry, chain.decisions.get(entry.about)) for entry in reversed(chain.entries))
            fitting = (Found(one, began(entry.sequence)) for entry, one in inside if one and _fits(one, asked))
            for found in islice(fitting, asked.limit):
                yield found

    async def texts(self, wanted: Iterable[str]) -> Mapping[str, str]:
        """The texts of documents, missing ones left out."""
        return {name: self._texts[name] for name in wanted if name in self._texts}

    async def documents(self) -> AsyncIterator[tuple[str, str]]:
        """All documents."""
        for name, text in self._texts.items():
            yield name, text


def began_by(entries: Iterable[Entry]) -> Callable[[int], int]:
    """Says of a sequence when the part of the chain began that it is in; zero where nothing says it."""
    began = {one.sequence: began_ms_of(one.about) for one in entries if one.kind is EntryKind.BEGUN}
    beginnings = sorted(began)

    def at(sequence: int) -> int:
        place = bisect_right(beginnings, sequence)
        return began[beginnings[place - 1]] if place else 0

    return at


def _fits(decision: DecisionRecorded, asked: Asked) -> bool:
    return (
        decision.id.startswith(asked.decision_id or "")
        and (asked.token is None or asked.token in decision.tokens)
        and all(getattr(asked, name) in {None, getattr(decision, name)} for name in ("book_id", "outcome", "service"))
    )


def _read(content: Any) -> DecisionRecorded | None:
    try:
        return DecisionRecorded.from_wire(orjson.dumps(content))
    except ValidationError:
        return None


@asynccontextmanager
async def opened(url: str, realm: str, file: Path | None) -> AsyncIterator[Source]:
    """The source that was asked for. ``CommandError`` when there is none."""
    if file is not None:
        yield await asyncio.to_thread(FileSource.read, file)
        return
    path = database_file(url)
    if path is not None and not path.exists():
        raise CommandError(
            f"there is no archive at {path}; dexlane makes one when it runs (`make run`), or give --file"
        )
    engine = create_async_engine(url)
    is_sqlite = engine.dialect.name == "sqlite"
    try:
        # One view of the whole: the gateway goes on writing while this is read.
        async with engine.connect() as conn:
            await conn.execution_options(isolation_level="AUTOCOMMIT" if is_sqlite else "REPEATABLE READ")
            if is_sqlite:
                await conn.exec_driver_sql("BEGIN")
            yield JournalSource(conn, realm)
    except (OperationalError, ProgrammingError, OSError) as error:
        raise CommandError(f"the archive cannot be read: {error}; `dexlane migrate` brings it up to date") from error
    finally:
        await engine.dispose()


async def gathered(source: Source, document_id: str, known: dict[str, str]) -> None:
    """Fetch a document and all that it refers to into ``known``."""
    wanted = {document_id} - known.keys()
    while wanted:
        found = await source.texts(wanted)
        known.update(found)
        wanted = {name for text in found.values() for name in referred(text)} - known.keys()


def referred(text: str) -> set[str]:
    """What a document names; nothing for one that cannot be read."""
    try:
        return references(text)
    except orjson.JSONDecodeError:
        return set()
