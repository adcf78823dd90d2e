"""The tape file, byte by byte: docs/TAPES.md describes it; this writes and reads it. Bytes in, bytes out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import orjson
from pydantic import Field, ValidationError

from dexlane.domain.tapes.columns import Coding, CorruptColumn, deflate, inflate, pack, unpack
from dexlane.domain.tapes.tape import (
    LiquidityRecord,
    PairSwapRecord,
    Record,
    ReservesRecord,
    SwapRecord,
    Tape,
    TapePool,
    in_chain_order,
)
from dexlane.values.base import Value

MAGIC = b"DXLTAPE\n"
VERSION = 1
SUFFIX = ".tape"
PREAMBLE = len(MAGIC) + 2 + 4
CHECKSUM = 32

TableName = Literal["swaps", "liquidity", "reserves", "pair_swaps"]
_TABLES: Mapping[TableName, type[Record]] = MappingProxyType(
    {"swaps": SwapRecord, "liquidity": LiquidityRecord, "reserves": ReservesRecord, "pair_swaps": PairSwapRecord}
)
_DELTA = frozenset({"block_number", "timestamp_s", "sqrt_price_x96", "liquidity", "tick", "reserve0", "reserve1"})
"""Columns whose neighbours are alike. All others are written plainly."""


class UnreadableTape(ValueError):  # noqa: N818 - named for what is wrong
    """The bytes are no tape, a tape of a later version, cut short, or changed since they were written."""


class ColumnPlace(Value):
    """One column of the file: which table and field it is, how it is coded, and its length in the file."""

    table: TableName
    name: str
    coding: Coding
    width: int = Field(ge=1)
    stored_bytes: int = Field(ge=0)


class TapeHeader(Value):
    """All of a tape but its records. ``digest``: SHA-256 over the content, the same however it was compressed."""

    chain_id: int | None
    source: str
    pools: tuple[TapePool, ...]
    swaps: int = Field(ge=0, description="V3 Swap events")
    liquidity_changes: int = Field(ge=0, description="V3 Mint and Burn events")
    reserve_syncs: int = Field(ge=0, description="V2 Sync events")
    pair_swaps: int = Field(ge=0, description="V2 Swap events")
    blocks: int = Field(ge=0, description="blocks that hold a record")
    first_block: int | None
    last_block: int | None
    first_timestamp_s: int | None
    last_timestamp_s: int | None
    digest: str
    columns: tuple[ColumnPlace, ...]

    def rows(self, table: TableName) -> int:
        """How many records the table has."""
        counts = {
            "swaps": self.swaps,
            "liquidity": self.liquidity_changes,
            "reserves": self.reserve_syncs,
            "pair_swaps": self.pair_swaps,
        }
        return counts[table]


def encode(tape: Tape) -> bytes:
    """A tape as the bytes of its file. Raises ``ValueError`` when its records are not in chain order."""
    if list(tape.records) != list(in_chain_order(tape.records)):
        raise ValueError("the records of a tape are sorted by block number and log index")
    places, streams = [], []
    hashed = hashlib.sha256(_identity(tape.chain_id, tape.pools))
    for table, kind in _TABLES.items():
        rows = [record for record in tape.records if isinstance(record, kind)]
        for name, values in zip(
            kind._fields, zip(*rows, strict=True) if rows else [()] * len(kind._fields), strict=True
        ):
            coding = Coding.DELTA if name in _DELTA else Coding.PLAIN
            width, planes = pack(values, coding)
            stream = deflate(planes)
            hashed.update(f"{table}.{name}:{len(values)}:{width}:{coding}\n".encode() + planes)
            places.append(ColumnPlace(table=table, name=name, coding=coding, width=width, stored_bytes=len(stream)))
            streams.append(stream)
    header = _header(tape, hashed.hexdigest(), places).model_dump_json(exclude_defaults=False).encode()
    body = b"".join([MAGIC, VERSION.to_bytes(2, "little"), len(header).to_bytes(4, "little"), header, *streams])
    return body + hashlib.sha256(body).digest()


def decode(content: bytes) -> Tape:
    """The tape in a file's bytes. Raises ``UnreadableTape``."""
    header, at = _checked_header(content)
    tables: dict[TableName, list[list[int]]] = {table: [] for table in _TABLES}
    for place in header.columns:
        stream = content[at : at + place.stored_bytes]
        at += place.stored_bytes
        rows = header.rows(place.table)
        expected = _TABLES[place.table]._fields[len(tables[place.table]) : len(tables[place.table]) + 1]
        if (place.name,) != expected:
            raise UnreadableTape(f"the tape has no column {place.table}.{place.name} at that place")
        try:
            values = unpack(inflate(stream, rows * place.width), rows, place.width, place.coding)
        except CorruptColumn as error:
            raise UnreadableTape(f"column {place.table}.{place.name} is broken: {error}") from error
        tables[place.table].append(values)
    records: list[Record] = []
    for table, kind in _TABLES.items():
        if len(tables[table]) != len(kind._fields):
            raise UnreadableTape(f"the tape lacks columns of its table {table}")
        records += map(kind._make, zip(*tables[table], strict=True))
    return Tape(header.pools, in_chain_order(records), header.source, header.chain_id)


def decode_header(content: bytes) -> TapeHeader:
    """Only the header; the whole file is checked all the same. Raises ``UnreadableTape``."""
    return _checked_header(content)[0]


def _checked_header(content: bytes) -> tuple[TapeHeader, int]:
    """The header and where the columns begin."""
    if content[: len(MAGIC)] != MAGIC:
        raise UnreadableTape("this is no dexlane tape; make one with `dexlane tape import`")
    version = int.from_bytes(content[len(MAGIC) : len(MAGIC) + 2], "little")
    if version != VERSION:
        raise UnreadableTape(f"the tape has format {version}, this dexlane reads format {VERSION}")
    length = int.from_bytes(content[len(MAGIC) + 2 : PREAMBLE], "little")
    if len(content) < PREAMBLE + length + CHECKSUM:
        raise UnreadableTape("the tape is cut short; copy or import it again")
    if hashlib.sha256(memoryview(content)[:-CHECKSUM]).digest() != content[-CHECKSUM:]:
        raise UnreadableTape("the tape is cut short or changed since it was written; copy or import it again")
    try:
        header = TapeHeader.model_validate_json(content[PREAMBLE : PREAMBLE + length])
    except ValidationError as error:
        raise UnreadableTape(f"the tape's header is not understood: {error.errors()[0]['msg']}") from error
    return header, PREAMBLE + length


def _identity(chain_id: int | None, pools: Sequence[TapePool]) -> bytes:
    described: list[Any] = [chain_id, [pool.model_dump(mode="json") for pool in pools]]
    return orjson.dumps(described, option=orjson.OPT_SORT_KEYS)


def _header(tape: Tape, digest: str, places: Sequence[ColumnPlace]) -> TapeHeader:
    records = tape.records
    counts = Counter(type(record) for record in records)
    times = [record.timestamp_s for record in (*records[:1], *records[-1:]) if record.timestamp_s]
    return TapeHeader(
        chain_id=tape.chain_id,
        source=tape.source,
        pools=tape.pools,
        swaps=counts[SwapRecord],
        liquidity_changes=counts[LiquidityRecord],
        reserve_syncs=counts[ReservesRecord],
        pair_swaps=counts[PairSwapRecord],
        blocks=len({record.block_number for record in records}),
        first_block=records[0].block_number if records else None,
        last_block=records[-1].block_number if records else None,
        first_timestamp_s=times[0] if times else None,
        last_timestamp_s=times[-1] if times else None,
        digest=digest,
        columns=tuple(places),
    )
