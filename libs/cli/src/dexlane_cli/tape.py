"""``dexlane tape``: record, import, verify and look at tapes."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dexlane.chain.link import LinkPolicy
from dexlane.chain.node import NodeRpc
from dexlane.chain.rpc import RpcClient, RpcError, RpcUnavailable
from dexlane.chain.tape_recording import Recording, RecordingFailed, record_tape
from dexlane.domain.tapes.file_format import TapeHeader, UnreadableTape, decode, decode_header, encode
from dexlane.domain.tapes.tape import PoolStart, Tape
from dexlane.domain.tapes.verification import Disagreement, Verification, verify
from dexlane.values.pools import ConcentratedState
from dexlane_cli.errors import EXIT_FAILED, EXIT_USAGE, CommandError
from dexlane_cli.tape_import import GivenPool, RowFault, import_files
from dexlane_cli.tape_rows import TapeFormat
from dexlane_cli.tape_sources import open_table

app = typer.Typer(
    help="Tapes: recorded pool events in one small file, replayed with our own maths.", no_args_is_help=True
)
console = Console(soft_wrap=True)
RECORDED_BLOCKS = 100
"""Full nodes keep the state of 128 blocks; an archive node is needed to begin earlier."""

TapeFile = Annotated[Path, typer.Argument(metavar="TAPE", help="A tape file.")]
Out = Annotated[Path, typer.Option("--out", help="The tape to write.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

IMPORT_HELP = """Make a tape of recorded files, whatever their order. A file's columns tell what it is:

raw-logs (Parquet, CSV, CSV.GZ): block_number, log_index, topics, data; or block_number, pool_log_index, pool_topics,
pool_data. Topics are a JSON or Python list of hex words.

pool-events (Parquet, CSV, CSV.GZ):
swaps: block_number, log_index, amount0, amount1, sqrt_price_x96, liquidity, tick;
mints or burns: block_number, log_index, tick_lower, tick_upper, liquidity, amount0, amount1 (which of the two it is,
the rounding of the amounts tells, else the file's name); the same with type (1 mint, 2 burn); all in one file with kind
(swap, mint, burn, collect); states: block_number, sqrt_price_x96, tick, liquidity, fee, tick_spacing (only fee and
spacing are used). A .json file with fee, tick_spacing and liquidity_net {tick: net} is what is known of ticks before.

Times (timestamp, block_timestamp or date) and the pool (address, pool or pool_address) are read where they are there.
Doubled rows are dropped and counted. A row that cannot be used is named on standard error, the rest goes on, and the
exit code is 2. docs/TAPES.md has all of it."""


@app.command("import", help=IMPORT_HELP)
def import_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="Recorded files.")],
    out: Out,
    of: Annotated[TapeFormat, typer.Option("--format", help="What the files are.")],
    pool: Annotated[str, typer.Option(help="Address of the pool, where the rows do not say it.")] = "",
    fee: Annotated[int, typer.Option(help="Fee in hundredths of a basis point; 0: the swaps tell it.", min=0)] = 0,
    tick_spacing: Annotated[int, typer.Option(help="Tick spacing; 0: the fee and the positions tell it.", min=0)] = 0,
    chain_id: Annotated[int, typer.Option(help="Chain id, kept in the tape; 0: not known.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """See ``IMPORT_HELP``."""
    given = GivenPool(pool.lower() or None, fee or None, tick_spacing or None, chain_id or None)
    with bar("rows", _rows_in(files)) as advance:
        found = import_files(files, of, given, progress=advance)
    size = write_tape(found.tape, out)
    for fault in found.faults:
        sys.stderr.write(fault_line(fault) + "\n")
    header = decode_header(out.read_bytes())
    summary = {
        "out": str(out),
        "bytes": size,
        "swaps": header.swaps + header.pair_swaps,
        "liquidity_changes": header.liquidity_changes,
        "doubled": found.doubled,
        "ignored": found.ignored,
        "faults": len(found.faults),
        "digest": header.digest,
    }
    show(summary, as_json=as_json)
    if found.faults:
        raise typer.Exit(EXIT_USAGE)


@app.command("record")
def record_command(
    rpc: Annotated[str, typer.Option(help="WebSocket URL of a node; for old blocks one with their state.")],
    pools: Annotated[str, typer.Option(help="Comma-separated addresses of V3 pools and V2 pairs.")],
    out: Out,
    from_block: Annotated[
        int | None, typer.Option(min=1, help="First block; without it the last 100 up to the last one.")
    ] = None,
    to_block: Annotated[int | None, typer.Option(min=1, help="Last block; without it the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Record pools from a node: their whole state at the first block, then every event.

    Nothing is unknown to `verify` in such a tape.
    """
    addresses = tuple(dict.fromkeys(address.strip().lower() for address in pools.split(",")))
    size = write_tape(asyncio.run(_record(rpc, addresses, from_block, to_block)), out)
    show(description(decode_header(out.read_bytes()), size), as_json=as_json)


async def _record(url: str, addresses: tuple[str, ...], first: int | None, last: int | None) -> Tape:
    client = RpcClient(url, name="tape", policy=LinkPolicy(jitter=random.random, call_timeout_s=60))
    try:
        await client.start()
        newest = await NodeRpc(client).block_number()
        end = newest if last is None else min(last, newest)
        begin = max(end - RECORDED_BLOCKS + 1, 1) if first is None else first
        if begin > end:
            raise CommandError(
                f"there is nothing from block {begin} to block {end}; the newest is {newest}", EXIT_USAGE
            )
        with bar("blocks", end - begin + 1) as advance:
            return await record_tape(client, Recording(addresses, begin, end), advance)
    except (RecordingFailed, RpcError, RpcUnavailable) as error:
        raise CommandError(str(error)) from error
    finally:
        await client.stop()


@app.command("verify")
def verify_command(tape: TapeFile, as_json: AsJson = False) -> None:
    """Replay every swap and count those that come out to the last unit. Exit code 1 when one is inexact."""
    content = read_tape(tape)
    with bar("records", len(content.records)) as advance:
        found = verify(content, advance)
    show(verification(found), as_json=as_json)
    if found.inexact:
        raise typer.Exit(EXIT_FAILED)


@app.command("info")
def info_command(tape: TapeFile, as_json: AsJson = False) -> None:
    """Show what a tape holds: pools, blocks, times, counts, digest and size."""
    content = _bytes_of(tape)
    try:
        header = decode_header(content)
    except UnreadableTape as error:
        raise CommandError(f"{tape}: {error}", EXIT_USAGE) from error
    show(description(header, len(content)), as_json=as_json)


def description(header: TapeHeader, size: int) -> dict[str, Any]:
    """A tape's header as users see it."""
    kept = header.model_dump(mode="json", exclude={"pools", "columns"})
    pools = [
        {
            **pool.model_dump(mode="json", exclude={"start"}),
            "start_block": pool.start.block_number,
            "start_complete": pool.start.complete,
            "start_ticks": _ticks_known(pool.start),
        }
        for pool in header.pools
    ]
    return {**kept, "pools": pools, "bytes": size}


def _ticks_known(start: PoolStart) -> int:
    return len(start.state.ticks) if isinstance(start.state, ConcentratedState) else len(start.nets)


def verification(found: Verification) -> dict[str, Any]:
    """Counts, and the first inexact swaps with amounts as decimal strings."""
    return {**found._asdict(), "first_inexact": [_disagreement(each) for each in found.first_inexact]}


def _disagreement(found: Disagreement) -> dict[str, Any]:
    def texts(fields: Any) -> dict[str, Any] | None:
        return fields and {name: value if name == "tick" else str(value) for name, value in fields.items()}

    return {**found._asdict(), "recorded": texts(found.recorded), "computed": texts(found.computed)}


def fault_line(fault: RowFault) -> str:
    """A broken row as a line of standard error: one JSON object."""
    return orjson.dumps({"file": fault.file, "row": fault.row, "error": fault.name, "why": fault.why}).decode()


def show(content: dict[str, Any], *, as_json: bool) -> None:
    """One JSON object on a line, or a table for people."""
    if as_json:
        sys.stdout.write(orjson.dumps(content).decode() + "\n")
        return
    table = Table(show_header=False, box=None)
    for name, value in content.items():
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        table.add_row(name.replace("_", " "), text)
    console.print(table, highlight=False)


def read_tape(path: Path) -> Tape:
    """The tape in a file. Raises ``CommandError``."""
    try:
        return decode(_bytes_of(path))
    except UnreadableTape as error:
        raise CommandError(f"{path}: {error}", EXIT_USAGE) from error


def write_tape(tape: Tape, out: Path) -> int:
    """Write a tape whole or not at all; its size in bytes."""
    content = encode(tape)
    half = out.with_name(out.name + ".part")
    try:
        half.write_bytes(content)
        half.replace(out)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}") from error
    return len(content)


@contextmanager
def bar(unit: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error when that is a terminal; gives the function that moves it on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = Console(stderr=True)
    with Progress(*columns, console=shown, disable=not shown.is_terminal, transient=True) as progress:
        task = progress.add_task(unit, total=total)
        yield lambda done: progress.advance(task, done)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}", EXIT_USAGE) from error


def _rows_in(files: list[Path]) -> int | None:
    """Rows of all files, None when one does not say."""
    counts = [open_table(path).count for path in files if path.suffix != ".json"]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
