"""``dexlane route``: the best way through given pools, single or split, net of gas."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from dexlane.domain.routing import Errand, GasTerms, PoolGraph, Split, best_split, out_per_wei
from dexlane.values.amounts import parse_amount
from dexlane.values.pools import Pool
from dexlane_cli.errors import EXIT_USAGE, CommandError
from dexlane_cli.pool_lines import BAD_LINE, LineError
from dexlane_cli.routed_pools import address_of, parse_pool

console = Console(soft_wrap=True)


@dataclass
class _Market:
    """The pools of a file, what the file calls them, and how many of its lines define none."""

    graph: PoolGraph = field(default_factory=PoolGraph)
    names: dict[str, str] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    bad_lines: int = 0

    def put(self, name: str, pool: Pool) -> None:
        self.graph.put(pool)
        self.names[pool.key.address] = name
        self.tokens |= {pool.key.token0.address, pool.key.token1.address}


def route_command(
    *,
    pools: Annotated[str, typer.Option(help="File of pools, one JSON object a line; - reads standard input.")],
    token_in: Annotated[str, typer.Option(help="What is paid: a token of the file.")],
    token_out: Annotated[str, typer.Option(help="What is bought: a token of the file.")],
    amount: Annotated[str, typer.Option(help="How much is paid, in the token's smallest unit.")],
    max_hops: Annotated[int, typer.Option(min=1, max=4, help="Most pools of one path.")] = 3,
    max_splits: Annotated[int, typer.Option(min=1, max=16, help="Most paths.")] = 4,
    gas_price: Annotated[str, typer.Option(help="Price of a unit of gas, in wei.")] = "0",
    data_fee: Annotated[str, typer.Option(help="A rollup's L1 fee for each byte of the transaction, in wei.")] = "0",
    native: Annotated[str, typer.Option(help="The wrapped native coin: a token of the file.")] = "",
    tolerance_bps: Annotated[int, typer.Option(min=0, max=9_999, help="Slippage tolerance of the minimum out.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Find the best way to sell an amount: over one path or several, by exact quotes, net of gas.

    Pools are defined as for `dexlane quote`, with "token0" and "token1" (addresses or any names). The answer's amounts
    are decimal strings, its gas is a number, and its paths replay exactly in the order given, also where they share a
    pool. gas_cost_out is the gas of the whole transaction and its data fee, valued by spot prices of the native coin
    in the token bought; net_amount_out is amount_out less that, and can be negative.

    A line that defines no pool is named on standard error, the others are used, and the exit code is 2. Without a route
    it is 1.
    """
    market = _read(pools)
    errand = Errand(address_of(token_in), address_of(token_out), _amount("amount", amount, least=1), max_hops)
    _check_tokens(market, {token_in, token_out})
    gas = _gas_terms(market, (_amount("gas-price", gas_price), _amount("data-fee", data_fee)), native, token_out)
    split = best_split(market.graph, errand, max_paths=max_splits, gas=gas)
    if split is None:
        raise CommandError(
            f"no route takes {errand.amount} of {token_in} to {token_out} over at most {max_hops} pools a path "
            f"and {max_splits} paths"
        )
    if as_json:
        sys.stdout.write(orjson.dumps(_answer(split, market)).decode() + "\n")
    else:
        console.print(_table(split, market, tolerance_bps))
    if market.bad_lines:
        raise CommandError(f"{market.bad_lines} lines defined no pool and were left out", EXIT_USAGE)


def _read(source: str) -> _Market:
    market = _Market()
    for number, text in enumerate(_lines(source), start=1):
        if not text.strip():
            continue
        try:
            market.put(*_named_pool(text))
        except LineError as error:
            market.bad_lines += 1
            fault = {"line": number, "error": error.name, "detail": str(error)}
            sys.stderr.write(orjson.dumps(fault).decode() + "\n")
    return market


def _lines(source: str) -> Iterator[bytes]:
    if source == "-":
        yield from sys.stdin.buffer
        return
    try:
        with Path(source).open("rb") as file:
            yield from file
    except OSError as error:
        raise CommandError(f"the pools cannot be read: {error}", EXIT_USAGE) from error


def _named_pool(text: bytes) -> tuple[str, Pool]:
    try:
        line = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise LineError(BAD_LINE, f"the line is no JSON: {error}") from error
    pool = parse_pool(line)
    return line["pool"], pool


def _amount(option: str, text: str, *, least: int = 0) -> int:
    try:
        amount = parse_amount(text)
    except ValueError:
        amount = -1
    if amount < least:
        raise CommandError(f"--{option} is an integer of at least {least}, not {text!r}", EXIT_USAGE)
    return amount


def _check_tokens(market: _Market, names: set[str]) -> None:
    if len({address_of(name) for name in names}) < 2:
        raise CommandError("the token paid and the token bought are the same", EXIT_USAGE)
    for name in sorted(names):
        if address_of(name) not in market.tokens:
            raise CommandError(f"no route: no pool of the file trades {name}")


def _gas_terms(market: _Market, prices_wei: tuple[int, int], native: str, token_out: str) -> GasTerms | None:
    gas_price, data_fee = prices_wei
    if not gas_price and not data_fee:
        return None
    if not native:
        raise CommandError("a price of gas needs --native, the token in which gas is paid", EXIT_USAGE)
    worth = out_per_wei(market.graph, address_of(native), address_of(token_out))
    if worth is None:
        raise CommandError(f"the cost of gas is not known: no chain of pools prices {native} in {token_out}")
    return GasTerms(gas_price, worth, (lambda count: count * data_fee) if data_fee else None)


def _answer(split: Split, market: _Market) -> dict[str, Any]:
    return {
        "amount_in": str(split.amount_in),
        "amount_out": str(split.amount_out),
        "gas": split.gas,
        "gas_cost_out": str(split.cost),
        "net_amount_out": str(split.net_amount_out),
        "paths": [
            {
                "amount_in": str(chain.amount_in),
                "amount_out": str(chain.amount_out),
                "pools": [market.names[edge.address] for edge in chain.edges],
            }
            for chain in split.chains
        ],
    }


def _table(split: Split, market: _Market, tolerance_bps: int) -> Table:
    impact = split.price_impact_bps()
    title = (
        f"{split.amount_in} in, {split.amount_out} out, {split.net_amount_out} after gas "
        f"({split.gas} units, {split.cost} out); price impact {impact} bps"
    )
    table = Table("amount in", "amount out", "minimum out", "pools", title=title, title_justify="left")
    for chain, minimum in zip(split.chains, split.minimums_out(tolerance_bps), strict=True):
        pools = " > ".join(market.names[edge.address] for edge in chain.edges)
        table.add_row(str(chain.amount_in), str(chain.amount_out), str(minimum), pools)
    return table
