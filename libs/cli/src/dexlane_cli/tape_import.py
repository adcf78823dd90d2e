"""Recorded files to one tape: rows in any order, doubled rows dropped and counted, broken rows named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dexlane.domain.amm.tick_math import MAX_TICK, MIN_TICK
from dexlane.domain.tapes.identify import (
    Terms,
    Unidentified,
    identify_pair_fee,
    identify_terms,
    minted,
    spacing_for,
)
from dexlane.domain.tapes.tape import (
    LiquidityRecord,
    PairSwapRecord,
    PoolStart,
    Record,
    ReservesRecord,
    Tape,
    TapePool,
    in_chain_order,
)
from dexlane.values.pools import Protocol
from dexlane_cli.errors import EXIT_USAGE, CommandError
from dexlane_cli.tape_rows import (
    BadRow,
    Convert,
    Shape,
    TapeFormat,
    address_in,
    columns_needed,
    converter,
    integer,
    shape_of,
    wanted_columns,
)
from dexlane_cli.tape_sources import Row, Table, open_table, read_json

_OF_PAIRS = (ReservesRecord, PairSwapRecord)


class RowFault(NamedTuple):
    """A row that is not in the tape, counted from 1 without the header, and why."""

    file: str
    row: int
    name: str
    why: str


class GivenPool(NamedTuple):
    """What the user says about the pool whose rows name none."""

    address: str | None = None
    fee_pips: int | None = None
    tick_spacing: int | None = None
    chain_id: int | None = None


class Imported(NamedTuple):
    """The tape; rows that were in more than once; rows that change no pool; rows that could not be used."""

    tape: Tape
    doubled: int
    ignored: int
    faults: tuple[RowFault, ...]


class _Row(NamedTuple):
    record: Record
    address: str | None
    file: str
    number: int


@dataclass(slots=True)
class _Gathered:
    """All rows of all files, by place on the chain."""

    rows: dict[tuple[int, int], _Row] = field(default_factory=dict)
    starts: dict[str | None, PoolStart] = field(default_factory=dict)
    terms: set[Terms] = field(default_factory=set)
    nets: dict[int, tuple[int, str, int]] = field(default_factory=dict)
    """Net liquidity of a tick, and where it was read."""
    doubled: int = 0
    ignored: int = 0
    faults: list[RowFault] = field(default_factory=list)

    def add(self, row: _Row) -> None:
        known = self.rows.setdefault(row.record[:2], row)
        if known is row:
            return
        if (known.record, known.address) == (row.record, row.address):
            self.doubled += 1
        else:
            place = f"log {row.record.log_index} of block {row.record.block_number}"
            why = f"{place} says something else in row {known.number} of {known.file}"
            self.faults.append(RowFault(row.file, row.number, "conflicting_row", why))


def import_files(
    paths: Sequence[Path], of: TapeFormat, given: GivenPool, *, progress: Callable[[int], None] = lambda rows: None
) -> Imported:
    """Read the files and make one tape of them. Raises ``CommandError`` when that cannot be."""
    gathered = _Gathered()
    for path in paths:
        if path.suffix == ".json" and of is TapeFormat.POOL_EVENTS:
            _take_ticks(read_json(path), path, gathered)
        else:
            _take_table(open_table(path), of, gathered, progress)
    if not gathered.rows:
        raise CommandError(f"no row of {', '.join(map(str, paths))} is an event of a pool", EXIT_USAGE)
    addresses = sorted({row.address or given.address or "" for row in gathered.rows.values()})
    if len(addresses) > 1 and (gathered.terms or gathered.nets or given.fee_pips or given.tick_spacing):
        raise CommandError(
            "ticks, states, --fee and --tick-spacing are of one pool; import each pool alone", EXIT_USAGE
        )
    pools = []
    for address in addresses:
        rows = [row for row in gathered.rows.values() if (row.address or given.address or "") == address]
        pools.append(_pool(address or None, rows, gathered, given))
    numbers = {address: index for index, address in enumerate(addresses)}
    records = in_chain_order(
        row.record if len(addresses) == 1 else row.record._replace(pool=numbers[row.address or given.address or ""])
        for row in gathered.rows.values()
    )
    source = f"{of}: {', '.join(sorted({path.name for path in paths}))}"
    tape = Tape(tuple(pools), records, source, given.chain_id)
    return Imported(tape, gathered.doubled, gathered.ignored, tuple(gathered.faults))


def _take_table(table: Table, of: TapeFormat, gathered: _Gathered, progress: Callable[[int], None]) -> None:
    shape = shape_of(table.columns, of)
    if shape is None:
        needed = columns_needed(of)
        raise CommandError(
            f"{table.path} has the columns {', '.join(table.columns)}; {of} files have {needed}", EXIT_USAGE
        )
    rows = _counted(table.rows(wanted_columns(shape)), progress)
    if shape is Shape.STATES:
        _take_states(rows, table.path, gathered)
    elif shape is Shape.POSITIONS:
        held = _Gathered()
        _take_rows(rows, converter(shape), table.path, held)
        _take_positions(held, table.path, gathered)
    else:
        _take_rows(rows, converter(shape), table.path, gathered)


def _counted(rows: Iterable[Row], progress: Callable[[int], None]) -> Iterable[Row]:
    number = 0
    for number, row in enumerate(rows, start=1):
        if number % 1_000 == 0:
            progress(1_000)
        yield row
    progress(number % 1_000)


def _take_rows(rows: Iterable[Row], convert: Convert, path: Path, gathered: _Gathered) -> None:
    for number, row in enumerate(rows, start=1):
        try:
            address, found = address_in(row), convert(row)
        except BadRow as bad:
            gathered.faults.append(RowFault(str(path), number, bad.name, str(bad)))
            continue
        if found is None:
            gathered.ignored += 1
        elif isinstance(found, PoolStart):
            gathered.starts[address] = found
        else:
            gathered.add(_Row(found, address, str(path), number))


def _take_positions(held: _Gathered, path: Path, gathered: _Gathered) -> None:
    """Positions whose rows do not say whether they were added or taken away: rounding tells, else the file's name."""
    added = minted(row.record for row in held.rows.values() if isinstance(row.record, LiquidityRecord))
    if added is None:
        named = [word for word in ("mint", "burn") if word in path.name.lower()]
        if len(named) != 1:
            raise CommandError(
                f"{path}: nothing tells mints from burns; name one of them in the file's name", EXIT_USAGE
            )
        added = named == ["mint"]
    for row in held.rows.values():
        record = row.record
        if not added and isinstance(record, LiquidityRecord):
            record = record._replace(liquidity_delta=-record.liquidity_delta)
        gathered.add(row._replace(record=record))
    gathered.doubled += held.doubled
    gathered.faults += held.faults


def _take_states(rows: Iterable[Row], path: Path, gathered: _Gathered) -> None:
    """Hourly states: only fee and tick spacing are used (their prices may be rounded)."""
    for number, row in enumerate(rows, start=1):
        try:
            gathered.terms.add(Terms(integer(row["fee"], "fee"), integer(row["tick_spacing"], "tick_spacing")))
            gathered.ignored += 1
        except BadRow as bad:
            gathered.faults.append(RowFault(str(path), number, bad.name, str(bad)))


def _take_ticks(content: Row, path: Path, gathered: _Gathered) -> None:
    """Net liquidity of ticks before the first event, with fee and tick spacing. Raises ``CommandError``."""
    nets = content.get("liquidity_net")
    if nets is None and isinstance(content.get("ticks"), list) and "sqrtPriceX96" in content:
        gathered.ignored += len(content["ticks"])  # a state of some later block: no start of a tape
        return
    if not isinstance(nets, dict):
        raise CommandError(f"{path} has no liquidity_net: it is no map of ticks", EXIT_USAGE)
    if "fee" in content and "tick_spacing" in content:
        try:
            gathered.terms.add(Terms(integer(content["fee"], "fee"), integer(content["tick_spacing"], "tick_spacing")))
        except BadRow as bad:
            raise CommandError(f"{path}: {bad}", EXIT_USAGE) from bad
    for number, (tick, net) in enumerate(nets.items(), start=1):
        try:
            gathered.nets[integer(tick, "tick")] = (integer(net, "liquidity_net"), str(path), number)
        except BadRow as bad:
            gathered.faults.append(RowFault(str(path), number, "bad_ticks", str(bad)))


def _pool(address: str | None, rows: Sequence[_Row], gathered: _Gathered, given: GivenPool) -> TapePool:
    pair = 2 * sum(isinstance(row.record, _OF_PAIRS) for row in rows) > len(rows)
    records = in_chain_order(row.record for row in _of_one_kind(rows, gathered, pair=pair))
    try:
        if pair:
            fee = given.fee_pips or identify_pair_fee(records)
            return TapePool(protocol=Protocol.UNISWAP_V2, fee_pips=fee, tick_spacing=0, address=address)
        terms = _terms(records, gathered, given)
    except Unidentified as error:
        raise CommandError(f"{address or 'the pool'}: {error}", EXIT_USAGE) from error
    _drop_off_grid(rows, terms.tick_spacing, gathered)
    start = gathered.starts.get(address)
    if start is None:
        start = PoolStart(nets=_usable_nets(terms.tick_spacing, gathered))
    return TapePool(
        protocol=Protocol.UNISWAP_V3,
        fee_pips=terms.fee_pips,
        tick_spacing=terms.tick_spacing,
        address=address,
        start=start,
    )


def _of_one_kind(rows: Sequence[_Row], gathered: _Gathered, *, pair: bool) -> list[_Row]:
    """The rows that are of the same kind of pool as most are; the others are faults."""
    kept = []
    for row in rows:
        if isinstance(row.record, _OF_PAIRS) == pair:
            kept.append(row)
        else:
            why = "most events of this pool are of another kind of pool (V2 or V3)"
            gathered.faults.append(RowFault(row.file, row.number, "bad_event", why))
            del gathered.rows[row.record[:2]]
    return kept


def _drop_off_grid(rows: Sequence[_Row], spacing: int, gathered: _Gathered) -> None:
    for row in rows:
        record = row.record
        if isinstance(record, LiquidityRecord) and (record.tick_lower % spacing or record.tick_upper % spacing):
            why = f"ticks {record.tick_lower} and {record.tick_upper} are no multiples of the spacing {spacing}"
            gathered.faults.append(RowFault(row.file, row.number, "bad_event", why))
            del gathered.rows[record[:2]]


def _usable_nets(spacing: int, gathered: _Gathered) -> tuple[tuple[int, int], ...]:
    usable = []
    for tick, (net, file, number) in sorted(gathered.nets.items()):
        if tick % spacing or not MIN_TICK <= tick <= MAX_TICK or abs(net) >> 127:
            why = f"net liquidity {net} at tick {tick} cannot be in a pool of tick spacing {spacing}"
            gathered.faults.append(RowFault(file, number, "bad_ticks", why))
        else:
            usable.append((tick, net))
    return tuple(usable)


def _terms(records: Sequence[Record], gathered: _Gathered, given: GivenPool) -> Terms:
    if len(gathered.terms) > 1:
        raise CommandError(f"the files name different fees or tick spacings: {sorted(gathered.terms)}", EXIT_USAGE)
    known = next(iter(gathered.terms), None)
    fee = given.fee_pips or (known.fee_pips if known else None)
    if fee is None:
        fee = identify_terms(records).fee_pips
    spacing = given.tick_spacing or (known.tick_spacing if known else None) or spacing_for(fee, records)
    return Terms(fee, spacing)
