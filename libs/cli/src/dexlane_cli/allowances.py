"""``dexlane allowances``: who may take tokens of the live accounts, by the chain."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table
from rich.text import Text

from dexlane.chain.deployments import deployments
from dexlane.chain.direct_calls import routers_of
from dexlane.chain.grants import Grant, amounts_in_force, find_grants, usual_grants
from dexlane.chain.link import LinkPolicy
from dexlane.chain.node import NodeRpc
from dexlane.chain.permit2 import PERMIT2
from dexlane.chain.rpc import Rpc, RpcClient, RpcError, RpcUnavailable
from dexlane.runtime.books_file import load_books
from dexlane.values.books import Book, Mode
from dexlane.values.chains import NATIVE
from dexlane_cli.default_books import roles, write_default_books
from dexlane_cli.errors import EXIT_FAILED, CommandError
from dexlane_cli.options import DEFAULT_HOME, Home, Shift, console, options_for
from dexlane_cli.stack import StackOptions

BLOCKS_A_LOOK = 2_000
CONNECT_WAIT_S = 5.0


def list_allowances(options: StackOptions, blocks: int) -> list[dict[str, Any]]:
    """Every allowance in force of the accounts of live books, one row each. Raises ``CommandError``."""
    write_default_books(options)
    books = [book for book in load_books(options.books_file, roles=roles()).books if book.mode is Mode.LIVE]
    rows: list[dict[str, Any]] = []
    for chain_id, urls in options.node_urls.items():
        here = [book for book in books if book.chain_id == chain_id]
        if here:
            rows += asyncio.run(_of_chain(chain_id, urls[0], here, blocks))
    return rows


async def _of_chain(chain_id: int, url: str, books: Sequence[Book], blocks: int) -> list[dict[str, Any]]:
    client = RpcClient(url, name="allowances", policy=LinkPolicy(jitter=random.random), chain_id=chain_id)
    await client.start()
    try:
        await client.wait_connected(CONNECT_WAIT_S)
        owners = {account: book for book in books for account in book.accounts.values()}
        amounts = await _amounts(NodeRpc(client), chain_id, owners, blocks)
    except (RpcError, RpcUnavailable) as error:
        raise CommandError(f"the node of chain {chain_id} does not say what is allowed: {error}") from error
    finally:
        await client.stop()
    return [
        {
            "chain_id": chain_id,
            "book": owners[grant.owner].id,
            "account": grant.owner,
            "token": grant.token,
            "spender": grant.spender,
            "in": "permit2" if grant.in_permit2 else "token",
            "amount": str(amount),
            "expected": grant.spender == PERMIT2 and owners[grant.owner].enabled,
        }
        for grant, amount in sorted(amounts.items())
        if amount
    ]


async def _amounts(rpc: Rpc, chain_id: int, owners: Mapping[str, Book], blocks: int) -> Mapping[Grant, int]:
    """Grants of the chain's main tokens to the known routers, and whatever the logs of so many last blocks tell of."""
    tip = await rpc.block("latest")
    if tip is None:
        raise RpcUnavailable("the node has no newest block")
    grants: set[Grant] = set()
    for first in range(max(0, tip.number - blocks + 1), tip.number + 1, BLOCKS_A_LOOK):
        last = min(first + BLOCKS_A_LOOK - 1, tip.number)
        grants |= await find_grants(rpc, owners, first, last)
    universal, *others = (deployment.router for deployment in routers_of(chain_id))
    chain = deployments().chain(chain_id)
    for owner, book in owners.items():
        tokens = {token.address for token in chain.quote_tokens} | {chain.wrapped_native, book.quote.address} - {NATIVE}
        grants |= usual_grants(owner, tokens, others, universal)
    return await amounts_in_force(rpc, grants, tip.timestamp_s)


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> Table | None:
    """The rows as a table, or as JSON on standard output (then None)."""
    if as_json:
        sys.stdout.write(orjson.dumps(rows).decode() + "\n")
        return None
    table = Table("chain", "book", "account", "token", "spender", "in", "amount", "expected")
    for row in rows:
        *texts, expected = row.values()
        table.add_row(*map(str, texts), "yes" if expected else Text("no", "red"))
    return table


def allowances_command(
    home: Home = DEFAULT_HOME,
    port_shift: Shift = 0,
    blocks: Annotated[int, typer.Option(help="Last blocks whose logs are searched for approvals.", min=1)] = 50_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array instead of a table.")] = False,
) -> None:
    """List who may take tokens of the live accounts, by the chain. Exit code 1 when one is not expected: only Permit2
    may, for books that are switched on."""
    rows = list_allowances(options_for(home, port_shift), blocks)
    table = show(rows, as_json=as_json)
    if table is not None:
        console.print(table)
    if not all(row["expected"] for row in rows):
        raise typer.Exit(EXIT_FAILED)
