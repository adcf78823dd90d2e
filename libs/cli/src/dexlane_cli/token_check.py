"""``dexlane token-check``: buy, give and sell a token in blocks that a node only simulates, and say whether it is
safe."""

from __future__ import annotations

import asyncio
import random
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dexlane.chain.link import LinkPolicy, RpcError, RpcUnavailable
from dexlane.chain.rpc import RpcClient
from dexlane.chain.token_check.asking import Node
from dexlane.chain.token_check.check import BUDGET_S, Question, try_token
from dexlane.chain.token_check.http_node import HttpNode
from dexlane.chain.token_check.pools import FAMILIES, Market, Where, known_markets, known_quotes
from dexlane.domain.risk.canonical import canonical_symbol
from dexlane.domain.risk.factors import percent
from dexlane.domain.risk.token_trial import TokenTrial
from dexlane.domain.risk.token_verdict import STRICT, TokenVerdict, TrialLimits, judge
from dexlane_cli.errors import EXIT_USAGE, CommandError

EXIT_CODES = {"safe": 0, "unsafe": 1, "unknown": 3}
_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
console = Console(soft_wrap=True)


@dataclass(frozen=True)
class Asked:
    """The command's options, checked."""

    rpc: str
    token: str
    router: str | None
    protocol: str
    pool: str | None
    block: int | None
    strict: bool


def token_check_command(
    *,
    rpc: Annotated[str, typer.Option(help="A node: http(s):// or ws(s)://. Nothing is sent, nothing costs.")],
    token: Annotated[str, typer.Option(help="The token's address.")],
    router_address: Annotated[
        str, typer.Option(help="A router of the protocol; without it the chain's known one.")
    ] = "",
    protocol: Annotated[
        str, typer.Option(help="Whose pools it is traded in: uniswap_v2 or uniswap_v3. Without it V2's, else V3's.")
    ] = "",
    pool: Annotated[str, typer.Option(help="The pool to trade in; without it the first that holds anything.")] = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="Its surroundings count too: locked liquidity, largest holder.")
    ] = False,
    block: Annotated[int | None, typer.Option(min=0, help="The block to stand on; without it the newest.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Check a token by trading it in simulated blocks: taxes, sales of several sizes and after several waits, what its
    owner can switch.

    Exit code 0: safe, 1: unsafe, 2: wrong usage, 3: unknown, because something could not be looked at. Taxes are in
    bps; they and "ok" are null where nothing was seen. Evidence names block, method and raw values.
    """
    asked = _checked(Asked(rpc, token, router_address, protocol, pool, block, strict))
    began = time.perf_counter()
    trial, verdict = asyncio.run(_check(asked))
    answer = answer_of(trial, verdict, (time.perf_counter() - began) * 1_000)
    if as_json:
        sys.stdout.write(orjson.dumps(answer).decode() + "\n")
    else:
        _show(answer, verdict)
    raise typer.Exit(EXIT_CODES[verdict.verdict])


def _checked(asked: Asked) -> Asked:
    if asked.protocol not in {"", *FAMILIES}:
        raise CommandError(f"--protocol {asked.protocol} cannot be checked; {' and '.join(FAMILIES)} can", EXIT_USAGE)
    if not asked.rpc.startswith(("http://", "https://", "ws://", "wss://")):
        raise CommandError("--rpc is the address of a node: http(s):// or ws(s)://", EXIT_USAGE)
    given = {"--token": asked.token, "--router-address": asked.router, "--pool": asked.pool}
    for option, value in given.items():
        if (value or option == "--token") and not _ADDRESS.fullmatch(value or ""):
            raise CommandError(f"{option} is 0x and 40 hex digits, not {value!r}", EXIT_USAGE)
    token, router, pool = (value.lower() if value else None for value in given.values())
    return replace(asked, token=token or "", router=router, pool=pool)


async def _check(asked: Asked) -> tuple[TokenTrial, TokenVerdict]:
    try:
        async with _node(asked.rpc) as node:
            chain_id = int(await node.call("eth_chainId", timeout_s=BUDGET_S), 16)
            trial = await try_token(node, _question(asked, chain_id))
            known = canonical_symbol(chain_id, asked.token) is not None
    except (RpcUnavailable, RpcError, TypeError, ValueError) as error:
        trial = TokenTrial(token=asked.token, block=asked.block or 0, missing=(f"the node does not answer: {error}",))
        known = False
    return trial, judge(trial, STRICT if asked.strict else TrialLimits(), known_issuer=known)


def _question(asked: Asked, chain_id: int) -> Question:
    """Uniswap's own exchanges, or those of ``--protocol``; a pool that is named may be another exchange's."""
    families = (asked.protocol,) if asked.protocol else FAMILIES
    known = [market for market in known_markets(chain_id) if market.family in families]
    own = [next(market for market in known if market.family == each) for each in {each.family for each in known}]
    markets = known if asked.pool else sorted(own, key=lambda market: market.family)
    if asked.router is not None:
        quoter = next((market.quoter for market in known if market.quoter), None)
        family = FAMILIES[1] if asked.protocol == FAMILIES[1] else FAMILIES[0]
        markets = [Market(family, asked.router, quoter if family == FAMILIES[1] else None)]
    if not markets:
        named = asked.protocol or " or ".join(FAMILIES)
        raise CommandError(f"no router of {named} is known on chain {chain_id}; give --router-address", EXIT_USAGE)
    return Question(asked.token, Where(tuple(markets), known_quotes(chain_id), asked.pool, chain_id), asked.block)


@asynccontextmanager
async def _node(url: str) -> AsyncIterator[Node]:
    if url.startswith("http"):
        async with HttpNode(url, BUDGET_S) as node:
            yield node
        return
    client = RpcClient(url, name="token-check", policy=LinkPolicy(jitter=random.random, call_timeout_s=BUDGET_S))
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


def answer_of(trial: TokenTrial, verdict: TokenVerdict, ms: float) -> dict[str, Any]:
    """The JSON object: amounts are decimal strings; the reasons of the flags stand first among the evidence."""
    reasons: list[dict[str, Any]] = [
        {
            "what": "flag",
            "block": trial.block,
            "method": "judgement",
            "raw": {"flag": each.flag, "reason": each.reason, "means": each.means or "noted"},
        }
        for each in verdict.findings
    ]
    return {
        "token": trial.token,
        "verdict": verdict.verdict,
        "buy_tax_bps": verdict.buy_tax_bps,
        "sell_tax_bps": verdict.sell_tax_bps,
        "transfer_tax_bps": verdict.transfer_tax_bps,
        "can_sell": [{"amount": str(size.amount), "ok": size.ok} for size in verdict.can_sell],
        "flags": list(verdict.flags),
        "evidence": reasons + [seen.model_dump(mode="json") for seen in trial.evidence],
        "ms": round(ms, 1),
    }


def _show(answer: dict[str, Any], verdict: TokenVerdict) -> None:
    colours = {"safe": "green", "unsafe": "red", "unknown": "yellow"}
    word = Text(verdict.verdict, colours[verdict.verdict])
    console.print(f"{answer['token']} is", word, f"({answer['ms']} ms)")
    taxes = (("purchase", verdict.buy_tax_bps), ("sale", verdict.sell_tax_bps), ("transfer", verdict.transfer_tax_bps))
    console.print(f"traded in pool {verdict.pool or 'none'}")
    kept, largest = verdict.background.locked_bps(), verdict.background.top_holder_bps()
    shares = {"liquidity burned or locked": kept, "largest holder": largest}
    told = ", ".join(f"{name} {'?' if bps is None else percent(bps)}" for name, bps in shares.items())
    age = verdict.background.age_s
    console.print(f"{told}, age {'?' if age is None else age} s", highlight=False)
    console.print("taxes: " + ", ".join(f"{name} {'?' if bps is None else bps} bps" for name, bps in taxes))
    sizes = Table("amount", "can be sold")
    for size in verdict.can_sell:
        sizes.add_row(str(size.amount), {True: "yes", False: "no", None: "?"}[size.ok])
    if verdict.can_sell:
        console.print(sizes)
    for each in verdict.findings:
        console.print(f"{each.flag}: {each.reason} ({each.means or 'noted'})", markup=False, highlight=False)
