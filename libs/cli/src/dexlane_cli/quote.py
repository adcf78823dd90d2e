"""``dexlane quote``: exact quotes of pools that are given as JSON lines, answered one line for each question.

A line with a protocol or a pool's state defines a pool, or defines it anew, and prints nothing when the pool can exist.
Every other line asks. A definition that is refused prints its error with the line's ``id`` (null when it has none), and
questions about that pool answer with the same error until it is defined again: no answer rests on a pool that was meant
to be replaced. Standard error says in words what was wrong with which line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TextIO, cast

import orjson
import typer

from dexlane.domain.amm import concentrated, constant_product
from dexlane.domain.amm.concentrated import MAX_ORDER, Order
from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane_cli.errors import EXIT_USAGE, CommandError
from dexlane_cli.pool_lines import BAD_LINE, LineError, ReservePool, TickedPool, is_number, pool_of

UNKNOWN_POOL = "unknown_pool"
BAD_AMOUNT = "bad_amount"
INSUFFICIENT_LIQUIDITY = "insufficient_liquidity"

_DEFINES = frozenset({"protocol", "sqrt_price_x96", "ticks", "reserve0", "reserve1"})
_TICKED = (
    b'"amount_in":"%d","amount_out":"%d",'
    b'"sqrt_price_x96_after":"%d","tick_after":%d,"liquidity_after":"%d","partial":%b'
)
_RESERVES = b'"amount_in":"%d","amount_out":"%d","reserve0_after":"%d","reserve1_after":"%d","partial":false'
_CHUNK_BYTES = 1 << 20
_MAX_UINT256 = (1 << 256) - 1
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Quoter:
    """The pools defined so far, and how many lines could not be used."""

    def __init__(self, complaints: TextIO) -> None:
        self.faults = 0
        self._complaints = complaints
        self._pools: dict[str, ReservePool | TickedPool] = {}
        self._refused: dict[str, str] = {}
        self._line = 0

    def answers(self, lines: list[bytes]) -> Iterator[bytes]:
        """The lines to print for these lines."""
        for line in lines:
            self._line += 1
            if not line or line.isspace():
                continue
            try:
                fields = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                yield self._fault(None, LineError(BAD_LINE, str(error)))
                continue
            if not isinstance(fields, dict):
                yield self._fault(None, LineError(BAD_LINE, "a line is one JSON object"))
                continue
            try:
                if "zero_for_one" in fields or _DEFINES.isdisjoint(fields):
                    yield self._answer(fields)
                else:
                    self._define(fields)
            except LineError as error:
                yield self._fault(fields.get("id"), error)

    def _define(self, fields: dict[str, Any]) -> None:
        name = fields.get("pool")
        if not isinstance(name, str):
            raise LineError(BAD_LINE, "pool is not a string")
        self._pools.pop(name, None)
        try:
            self._pools[name] = pool_of(fields)
        except LineError as error:
            self._refused[name] = error.name
            raise
        self._refused.pop(name, None)

    def _answer(self, fields: dict[str, Any]) -> bytes:
        try:
            question, name, down, exact, amount = (
                fields["id"],
                fields["pool"],
                fields["zero_for_one"],
                fields["exact"],
                fields["amount"],
            )
        except KeyError as error:
            raise LineError(BAD_LINE, f"{error.args[0]} is missing") from error
        if not isinstance(down, bool) or exact not in ("in", "out") or not isinstance(name, str):
            raise LineError(BAD_LINE, 'pool is a string, zero_for_one true or false, exact "in" or "out"')
        pool = self._pools.get(name)
        if pool is None:
            raise LineError(self._refused.get(name, UNKNOWN_POOL), f"pool {name!r} is not defined")
        quote = _ticked_quote if isinstance(pool, TickedPool) else _reserve_quote
        try:
            return b'{"id":%b,%b}\n' % (orjson.dumps(question), quote(pool, down, exact == "in", amount))  # type: ignore[arg-type]
        except InsufficientLiquidity:
            return _error_line(question, INSUFFICIENT_LIQUIDITY)

    def _fault(self, question: object, error: LineError) -> bytes:
        self.faults += 1
        self._complaints.write(f"dexlane: line {self._line}: {error.name}: {error}\n")
        return _error_line(question, error.name)


def quote_command(
    source: Annotated[str, typer.Option("--input", help="A file of JSON lines, or - for standard input.")] = "-",
) -> None:
    """Answer questions about pools exactly: JSON lines in, one JSON line out for each question.

    Exit code 2 when a line could not be used, while the others are answered all the same; standard error says why.
    """
    try:
        with nullcontext(sys.stdin.buffer) if source == "-" else Path(source).open("rb") as lines:
            faults = run(cast("BufferedReader", lines), sys.stdout.buffer, sys.stderr)
    except OSError as error:
        raise CommandError(f"cannot read {source}: {error.strerror}") from error
    raise typer.Exit(EXIT_USAGE if faults else 0)


def run(source: BufferedReader, sink: BinaryIO, complaints: TextIO) -> int:
    """Answer all lines of ``source`` and return how many could not be used.

    What has arrived is answered before more is waited for, so a program may ask, read the answer and ask again.
    """
    quoter = Quoter(complaints)
    parts: list[bytes] = []
    first = True
    while chunk := source.read1(_CHUNK_BYTES):
        if first:
            chunk, first = chunk.removeprefix(_BYTE_ORDER_MARK), False
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join([*parts, lines[0]])
            parts = []
            sink.write(b"".join(quoter.answers(lines)))
            sink.flush()
        parts.append(rest)
    sink.write(b"".join(quoter.answers([b"".join(parts)])))
    sink.flush()
    return quoter.faults


def _ticked_quote(pool: TickedPool, down: bool, exact_in: bool, amount: object) -> bytes:
    asked = _amount(amount, MAX_ORDER)
    paid, received, _, remaining, _, _, price, tick, liquidity, _ = concentrated.swap(
        pool.state, pool.fee_pips, pool.tick_spacing, Order(down, exact_in, asked)
    )
    return _TICKED % (paid, received, price, tick, liquidity, b"true" if remaining else b"false")


def _reserve_quote(pool: ReservePool, down: bool, exact_in: bool, amount: object) -> bytes:
    asked = _amount(amount, _MAX_UINT256)
    state, fee_pips = pool
    reserve_in, reserve_out = (state.reserve0, state.reserve1) if down else (state.reserve1, state.reserve0)
    trade = constant_product.sell if exact_in else constant_product.buy
    other, after_in, after_out = trade(reserve_in, reserve_out, fee_pips, asked)
    paid, received = (asked, other) if exact_in else (other, asked)
    after = (after_in, after_out) if down else (after_out, after_in)
    return _RESERVES % (paid, received, *after)


def _amount(text: object, most: int) -> int:
    if is_number(text):
        amount = int(text)  # type: ignore[call-overload]
        if 0 < amount <= most:
            return int(amount)
    raise LineError(BAD_AMOUNT, f"an amount is a decimal string from 1 to {most}")


def _error_line(question: object, name: str) -> bytes:
    return b'{"id":%b,"error":"%b"}\n' % (orjson.dumps(question), name.encode())
