"""Rows of recorded files as records of a tape. The shapes of rows are told apart by their columns (docs/TAPES.md)."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

from dexlane.chain.answers import RawLog
from dexlane.chain.logs import UnreadableLog
from dexlane.chain.tape_logs import implausible, record_of
from dexlane.domain.tapes.tape import LiquidityRecord, PoolStart, Record, SwapRecord
from dexlane_cli.tape_sources import Row

ADDRESS_COLUMNS = ("address", "pool", "pool_address")
TIME_COLUMNS = ("timestamp", "block_timestamp", "date")
_PLACE = ("block_number", "log_index")
_SWAP = ("amount0", "amount1", "sqrt_price_x96", "liquidity", "tick")
_POSITION = ("tick_lower", "tick_upper", "liquidity", "amount0", "amount1")
_PREFIX = "pool_"

Converted: TypeAlias = "Record | PoolStart | None"
Convert: TypeAlias = Callable[[Row], Converted]


class TapeFormat(StrEnum):
    """What the files of an import are."""

    RAW_LOGS = "raw-logs"
    POOL_EVENTS = "pool-events"


class Shape(StrEnum):
    """What the rows of one file are."""

    LOGS = "logs"
    PREFIXED_LOGS = "prefixed_logs"
    SWAPS = "swaps"
    POSITIONS = "positions"
    BY_KIND = "by_kind"
    BY_TYPE = "by_type"
    STATES = "states"


_NEEDED: Mapping[Shape, tuple[str, ...]] = MappingProxyType(
    {
        Shape.LOGS: (*_PLACE, "topics", "data"),
        Shape.PREFIXED_LOGS: ("block_number", "pool_log_index", "pool_topics", "pool_data"),
        Shape.BY_KIND: (*_PLACE, "kind", *_SWAP, "tick_lower", "tick_upper"),
        Shape.BY_TYPE: (*_PLACE, "type", *_POSITION),
        Shape.SWAPS: (*_PLACE, *_SWAP),
        Shape.POSITIONS: (*_PLACE, *_POSITION),
        Shape.STATES: ("block_number", "sqrt_price_x96", "tick", "liquidity", "fee", "tick_spacing"),
    }
)
"""Columns that make a shape; the first shape that a file has all columns of is taken."""

_SHAPES_OF: Mapping[TapeFormat, tuple[Shape, ...]] = MappingProxyType(
    {
        TapeFormat.RAW_LOGS: (Shape.LOGS, Shape.PREFIXED_LOGS),
        TapeFormat.POOL_EVENTS: (Shape.BY_KIND, Shape.BY_TYPE, Shape.SWAPS, Shape.POSITIONS, Shape.STATES),
    }
)


class BadRow(ValueError):  # noqa: N818 - named for what it says about the row
    """A row that cannot be read; ``name`` is one of the names in docs/TAPES.md."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


def shape_of(columns: Sequence[str], of: TapeFormat) -> Shape | None:
    """The shape of rows with these columns; None when no shape of that format has them."""
    present = set(columns)
    return next((shape for shape in _SHAPES_OF[of] if present.issuperset(_NEEDED[shape])), None)


def wanted_columns(shape: Shape) -> tuple[str, ...]:
    """Columns to read: those that are needed, and times and pool addresses where there are any."""
    return (*_NEEDED[shape], *TIME_COLUMNS, *ADDRESS_COLUMNS)


def columns_needed(of: TapeFormat) -> str:
    """A sentence part that lists what would be recognised."""
    return "; or ".join(", ".join(_NEEDED[shape]) for shape in _SHAPES_OF[of])


def address_in(row: Row) -> str | None:
    """The pool that the row names, lower case; None when it names none. Raises ``BadRow``."""
    for column in ADDRESS_COLUMNS:
        value = row.get(column)
        if value:
            return _address(value)
    return None


def converter(shape: Shape, *, minted: bool = True) -> Convert:
    """Turns rows of a shape into records. They raise ``BadRow``. ``minted`` says what bare positions are."""
    if shape is Shape.LOGS:
        return lambda row: _log(row, "")
    if shape is Shape.PREFIXED_LOGS:
        return lambda row: _log(row, _PREFIX)
    if shape is Shape.BY_KIND:
        return _by_kind
    if shape is Shape.BY_TYPE:
        return _by_type
    if shape is Shape.SWAPS:
        return _swap
    return lambda row: _position(row, minted=minted)


def integer(value: Any, name: str) -> int:
    """An integer from an integer or decimal text. Raises ``BadRow`` for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return int(value, 10)
    except (ValueError, TypeError) as error:
        raise BadRow("bad_number", f"{name} is {value!r}, no integer") from error


def _seconds(row: Row) -> int:
    for column in TIME_COLUMNS:
        value = row.get(column)
        if value is None or value == "":
            continue
        if isinstance(value, int):
            return value
        if isinstance(value, str) and value.isdigit():
            return int(value)
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except (ValueError, TypeError) as error:
            raise BadRow("bad_time", f"{column} is {value!r}, neither Unix seconds nor an ISO time") from error
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    return 0


def _place(row: Row, log_index: str = "log_index") -> tuple[int, int, int, int]:
    block, index = integer(row["block_number"], "block_number"), integer(row[log_index], log_index)
    if block < 0 or index < 0:
        raise BadRow("bad_number", "a block number or log index is negative")
    return block, index, _seconds(row), 0


def _checked(record: Record) -> Record:
    fault = implausible(record)
    if fault:
        raise BadRow("bad_event", fault)
    return record


def _swap(row: Row) -> Record:
    fields = [integer(row[name], name) for name in _SWAP]
    return _checked(SwapRecord(*_place(row), *fields))


def _position(row: Row, *, minted: bool) -> Record:
    lower, upper, liquidity, amount0, amount1 = (integer(row[name], name) for name in _POSITION)
    if liquidity < 0:
        raise BadRow("bad_event", "the liquidity of a position is negative")
    delta = liquidity if minted else -liquidity
    return _checked(LiquidityRecord(*_place(row), lower, upper, delta, amount0, amount1))


def _by_kind(row: Row) -> Converted:
    kind = row["kind"]
    if kind == "swap":
        return _swap(row)
    if kind in ("mint", "burn"):
        return _position(row, minted=kind == "mint")
    if kind in ("collect", "flash"):
        return None
    raise BadRow("unknown_kind", f"kind is {kind!r}, none of swap, mint, burn, collect, flash")


def _by_type(row: Row) -> Record:
    kind = integer(row["type"], "type")
    if kind not in (1, 2):
        raise BadRow("unknown_kind", f"type is {kind}, neither 1 (mint) nor 2 (burn)")
    return _position(row, minted=kind == 1)


def _log(row: Row, prefix: str) -> Converted:
    block, index, seconds, pool = _place(row, prefix + "log_index")
    topics = _topics(row[prefix + "topics"])
    log = RawLog(
        address="", topics=topics, data=_bytes(row[prefix + "data"]), block_number=block, block_hash="", tx_hash="",
        log_index=index,
    )  # fmt: skip
    try:
        return record_of(log, pool=pool, timestamp_s=seconds)
    except UnreadableLog as error:
        raise BadRow("bad_event", str(error)) from error


def _topics(value: Any) -> tuple[str, ...]:
    """Topics from a list, or from the text of a JSON or Python list."""
    try:
        found = ast.literal_eval(value) if isinstance(value, str) else value
        topics = tuple(topic.lower() for topic in found)
        valid = all(topic.startswith("0x") and len(bytes.fromhex(topic[2:])) == 32 for topic in topics)
    except (ValueError, TypeError, SyntaxError, AttributeError, MemoryError, RecursionError) as error:
        raise BadRow("bad_topics", f"topics are {str(value)[:80]!r}, no list of 32-byte words") from error
    if not valid:
        raise BadRow("bad_topics", "a topic is no 32-byte word")
    return topics


def _bytes(value: Any) -> bytes:
    try:
        return bytes.fromhex((value or "0x").removeprefix("0x"))
    except (ValueError, AttributeError) as error:
        raise BadRow("bad_data", f"data is {str(value)[:40]!r}, no hex") from error


def _address(value: Any) -> str:
    text = str(value).lower()
    try:
        valid = text.startswith("0x") and len(bytes.fromhex(text[2:])) == 20
    except ValueError:
        valid = False
    if not valid:
        raise BadRow("bad_address", f"the pool is {value!r}, no address")
    return text
