"""Recorded decisions as files: JSON lines, Parquet, and a content-addressed archive (CAR)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson

from dexlane.domain.thoughts.car import Block, Cid, Node, car_file, node_block
from dexlane.domain.thoughts.chain import Entry
from dexlane.domain.thoughts.words import Detail, told
from dexlane_cli.errors import CommandError
from dexlane_cli.thought_sources import Chain, Row, Source

LINKS_PER_PAGE = 1_000
"""So that no block comes near the two million bytes that IPFS nodes exchange at most."""


async def json_lines(source: Source) -> AsyncIterator[bytes]:
    """Every entry with its decision, then every document, one JSON object a line. ``verify`` and ``re-run`` read it."""
    async for row in source.rows():
        yield orjson.dumps(_content(row)) + b"\n"
    async for document_id, text in source.documents():
        yield orjson.dumps({"document": document_id, "text": text}) + b"\n"


async def write_lines(source: Source, path: Path) -> int:
    """The file of all that, under its name once it is whole; returns the lines."""
    part, count = path.with_name(f"{path.name}.part"), 0
    with part.open("wb") as file:
        async for line in json_lines(source):
            file.write(line)
            count += 1
    part.replace(path)
    return count


def _content(row: Row) -> dict[str, Any]:
    entry, decision = row.entry, row.decision
    return {
        "realm": row.name.realm,
        "chain_id": row.name.chain_id,
        "sequence": entry.sequence,
        "kind": entry.kind.value,
        "about": entry.about,
        "content_hash": entry.content_hash,
        "previous_hash": entry.previous_hash,
        "entry_hash": entry.entry_hash,
        "decision": None if decision is None else orjson.loads(decision.to_wire()),
    }


async def write_parquet(source: Source, path: Path) -> int:
    """A table of all entries with their decisions, for analysis; documents are not in it. Returns the rows.
    ``CommandError`` where pyarrow is not installed."""
    try:
        # Imported when used: an optional part of the command line, and slow to load.
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise CommandError("Parquet needs pyarrow: install dexlane-cli[tapes]") from error
    rows = [_flat(row) async for row in source.rows()]
    texts = ("realm", "kind", "about", "content_hash", "previous_hash", "entry_hash")
    of_decisions = ("service", "book_id", "lane", "strategy", "outcome", "told", "inputs_id", "decision")
    schema = pa.schema(
        [
            *((name, pa.string()) for name in texts),
            ("chain_id", pa.int64()),
            ("sequence", pa.int64()),
            ("occurred_at_ms", pa.int64()),
            *((name, pa.string()) for name in of_decisions),
            ("tokens", pa.list_(pa.string())),
            ("reasons", pa.list_(pa.string())),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return len(rows)


def _flat(row: Row) -> dict[str, Any]:
    content, decision = _content(row), row.decision
    content["decision"] = None if decision is None else orjson.dumps(content["decision"]).decode()
    if decision is not None:
        names = ("occurred_at_ms", "service", "book_id", "lane", "strategy", "outcome", "inputs_id")
        content |= {name: getattr(decision, name) for name in names}
        content |= {"told": told(decision, Detail.NORMAL), "tokens": decision.tokens, "reasons": decision.reasons}
    return content


async def write_car(source: Source, path: Path) -> Cid:
    """A CARv1 file; returns its root. Decisions and documents are blocks under the hashes that they already have."""
    blocks: dict[Cid, bytes] = {}
    heads: list[Node] = []
    for chain in await source.chains():
        blocks.update(_chain_blocks(chain))
        last = chain.entries[-1] if chain.entries else None
        head = None if last is None else _entry_block(last, chain)[0]
        heads.append({"realm": chain.name.realm, "chain_id": chain.name.chain_id, "head": head})
    async for document_id, text in source.documents():
        blocks[Cid.raw(document_id)] = text.encode()
    links = sorted(blocks, key=str)
    pages = [node_block(links[at : at + LINKS_PER_PAGE]) for at in range(0, len(links), LINKS_PER_PAGE)]
    root, node = node_block({"format": "dexlane thoughts 1", "chains": heads, "pages": [cid for cid, _ in pages]})
    with path.open("wb") as file:
        file.writelines(car_file(root, [(root, node), *pages, *blocks.items()]))
    return root


def _chain_blocks(chain: Chain) -> Iterator[Block]:
    for entry in chain.entries:
        decision = chain.decisions.get(entry.about)
        if decision is not None:
            yield Cid.raw(decision.content_hash), decision.canonical()
        yield _entry_block(entry, chain)


def _entry_block(entry: Entry, chain: Chain) -> Block:
    """An entry, with links to its decision (by its content hash) and to what that was computed from."""
    decision = chain.decisions.get(entry.about)
    return node_block(
        {
            "sequence": entry.sequence,
            "kind": entry.kind.value,
            "about": entry.about,
            "content_hash": entry.content_hash,
            "previous_hash": entry.previous_hash,
            "entry_hash": entry.entry_hash,
            "decision": None if decision is None else Cid.raw(decision.content_hash),
            "inputs": None if decision is None or decision.inputs_id is None else Cid.raw(decision.inputs_id),
        }
    )
