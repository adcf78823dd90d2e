"""``dexlane reconcile``: the live ledger against the chain, to the wei, and what explains a difference."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import httpx
import orjson
import typer
from rich.table import Table

from dexlane.chain.link import host_of
from dexlane.values.chains import NATIVE
from dexlane_cli.errors import CommandError
from dexlane_cli.options import DEFAULT_HOME, Home, Shift, console, options_for
from dexlane_cli.stack import StackOptions

PATIENCE_S = 60.0
"""So long the ledger may be behind, on a machine that has much else to do, before a difference is one."""
BALANCE_OF = "0x70a08231"
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
"""keccak-256 of ``Transfer(address,address,uint256)`` (ERC-20)."""
SEARCHED_BLOCKS = 20_000
"""How far back the transactions behind a difference are looked for."""
LOGS_AT_ONCE = 1_000
BLOCKS_AT_ONCE = 50


@dataclass(frozen=True)
class Line:
    """One balance of one account: what the ledger says and what the chain says, in smallest units."""

    book_id: str
    account: str
    token: str
    ledger: int
    chain: int

    @property
    def difference(self) -> int:
        """Ledger less chain; zero is the only good answer."""
        return self.ledger - self.chain


@dataclass(frozen=True)
class Cause:
    """One transaction that ledger and chain tell differently: what each says it moved of the token, in smallest units.

    ``intent_id`` is empty for a transaction that the ledger does not know, ``block`` is None for one that the chain
    does not have. A token that moves inside a contract without a log, or native coin paid out by one, is not seen
    here: then the causes of a difference do not add up to it.
    """

    tx_hash: str
    block: int | None
    intent_id: str
    ledger: int
    chain: int


@dataclass(frozen=True)
class Finding:
    """A balance that differs, and the transactions that explain it. ``searched_from`` is the first block looked at."""

    line: Line
    searched_from: int
    causes: tuple[Cause, ...]

    @property
    def unexplained(self) -> int:
        """What the causes leave open."""
        return self.line.difference - sum(cause.ledger - cause.chain for cause in self.causes)


@dataclass(frozen=True)
class Report:
    """A chain compared at one block."""

    chain_id: int
    block: int
    lines: tuple[Line, ...]
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:
        """For programs: amounts are decimal strings."""
        return {
            "chain_id": self.chain_id,
            "block": self.block,
            "balances": [_texts({**asdict(line), "difference": line.difference}) for line in self.lines],
            "differences": [
                {
                    **_texts({**asdict(finding.line), "difference": finding.line.difference}),
                    "searched_from": finding.searched_from,
                    "unexplained": str(finding.unexplained),
                    "transactions": [_texts(asdict(cause)) for cause in finding.causes],
                }
                for finding in self.findings
            ],
        }


def _texts(values: Mapping[str, Any]) -> dict[str, Any]:
    amounts = {"ledger", "chain", "difference"}
    return {key: str(value) if key in amounts else value for key, value in values.items()}


class Node:
    """The few calls a reconciliation needs, over HTTP."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("ws://", "http://", 1).replace("wss://", "https://", 1)

    def call(self, method: str, *params: Any) -> Any:
        """The result of one call; a sentence when the node does not answer."""
        return self.calls([(method, params)])[0]

    def calls(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Results in the order of the calls, which go out as one batch."""
        requests = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
            for number, (method, params) in enumerate(calls)
        ]
        try:
            answers = httpx.post(self._url, json=requests, timeout=30, trust_env=False).json()
        except (httpx.HTTPError, ValueError) as error:
            raise CommandError(f"the node at {host_of(self._url)} does not answer") from error
        by_id = {answer.get("id"): answer for answer in answers} if isinstance(answers, list) else {}
        for request in requests:
            answer = by_id.get(request["id"], {})
            if "result" not in answer:
                raise CommandError(f"the node refused {request['method']}: {answer.get('error', answers)}")
        return [by_id[request["id"]]["result"] for request in requests]

    def block_number(self) -> int:
        """The newest block."""
        return int(self.call("eth_blockNumber"), 16)

    def balance(self, account: str, token: str, block: int) -> int:
        """A balance after that block."""
        if token == NATIVE:
            return int(self.call("eth_getBalance", account, hex(block)), 16)
        data = BALANCE_OF + account.removeprefix("0x").rjust(64, "0")
        return int(self.call("eth_call", {"to": token, "data": data}, hex(block)), 16)

    def token_movements(self, account: str, token: str, first: int, last: int) -> dict[str, tuple[int, int]]:
        """(block, net amount) by transaction, of what the token's logs say about an account."""
        owner = "0x" + account.removeprefix("0x").rjust(64, "0")
        moved: dict[str, tuple[int, int]] = {}
        for start in range(first, last + 1, LOGS_AT_ONCE):
            place = {"address": token, "fromBlock": hex(start), "toBlock": hex(min(last, start + LOGS_AT_ONCE - 1))}
            directions = ([TRANSFER, owner], [TRANSFER, None, owner])
            gone, come = self.calls([("eth_getLogs", [{**place, "topics": topics}]) for topics in directions])
            for log, sign in [*((log, -1) for log in gone), *((log, 1) for log in come)]:
                tx_hash, (_, before) = log["transactionHash"].lower(), moved.get(log["transactionHash"].lower(), (0, 0))
                moved[tx_hash] = (int(log["blockNumber"], 16), before + sign * int(log["data"], 16))
        return moved

    def native_movements(self, account: str, first: int, last: int) -> dict[str, tuple[int, int]]:
        """(block, net wei) by transaction that an account sent or was paid by: value and fees, also of reverts."""
        moved: dict[str, tuple[int, int]] = {}
        for start in range(first, last + 1, BLOCKS_AT_ONCE):
            numbers = range(start, min(last, start + BLOCKS_AT_ONCE - 1) + 1)
            blocks = self.calls([("eth_getBlockByNumber", [hex(number), True]) for number in numbers])
            ours = [tx for block in blocks for tx in block["transactions"] if account in _ends_of(tx)]
            receipts = self.calls([("eth_getTransactionReceipt", [tx["hash"]]) for tx in ours]) if ours else []
            for tx, receipt in zip(ours, receipts, strict=True):
                moved[tx["hash"].lower()] = (int(tx["blockNumber"], 16), _native_effect(tx, receipt, account))
        return moved


def _ends_of(tx: Mapping[str, Any]) -> set[str]:
    return {tx["from"].lower(), (tx.get("to") or "").lower()}


def _native_effect(tx: Mapping[str, Any], receipt: Mapping[str, Any], account: str) -> int:
    value = int(tx["value"], 16) if receipt["status"] == "0x1" else 0
    effect = value if (tx.get("to") or "").lower() == account else 0
    if tx["from"].lower() == account:
        gas = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
        effect -= value + gas + int(receipt.get("l1Fee") or "0x0", 16)
    return effect


def compare(options: StackOptions, chain_id: int) -> tuple[int, list[Line]]:
    """Compare at one block. The ledger follows the chain by moments, so a difference counts only when it stays."""
    node = Node(options.node_urls[chain_id][0])
    block = node.block_number()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        lines = [
            Line(
                book_id=account["book_id"],
                account=account["account"],
                token=token,
                ledger=int(amount),
                chain=node.balance(account["account"], token, block),
            )
            for account in _live_accounts(options, chain_id, block)
            for token, amount in {NATIVE: "0", **account["balances"]}.items()
        ]
        agreed = all(line.difference == 0 for line in lines)
        if agreed or time.monotonic() > deadline:
            return block, lines
        time.sleep(0.5)


def examine(options: StackOptions, chain_id: int) -> Report:
    """Compare, and look for the transactions behind every difference."""
    block, lines = compare(options, chain_id)
    node = Node(options.node_urls[chain_id][0])
    findings = tuple(_explained(options, node, line, block) for line in lines if line.difference)
    return Report(chain_id, block, tuple(lines), findings)


def _explained(options: StackOptions, node: Node, line: Line, block: int) -> Finding:
    content = _asked(options, "/ledger/movements", book_id=line.book_id, account=line.account, block=block)
    opened = max((one["block"] or 0 for one in content["movements"] if one["tx_hash"] is None), default=0)
    first = max(opened + 1, block - SEARCHED_BLOCKS)
    if line.token == NATIVE:
        seen = node.native_movements(line.account, first, block)
    else:
        seen = node.token_movements(line.account, line.token, first, block)
    return Finding(line, first, tuple(_causes(content["movements"], seen, line.token, first)))


def _causes(
    movements: Sequence[Mapping[str, Any]], seen: Mapping[str, tuple[int, int]], token: str, first: int
) -> Iterator[Cause]:
    """Transactions from block ``first`` on that are told differently, in the order of their blocks."""
    booked: dict[str, int] = defaultdict(int)
    intents: dict[str, str] = {}
    for one in movements:
        if one["tx_hash"] is not None and (one["block"] or 0) >= first:
            booked[one["tx_hash"]] += int(one["amounts"].get(token, 0))
            intents[one["tx_hash"]] = one["cause_id"]
    causes = [
        Cause(
            tx_hash=tx_hash,
            block=seen[tx_hash][0] if tx_hash in seen else None,
            intent_id=intents.get(tx_hash, ""),
            ledger=booked.get(tx_hash, 0),
            chain=seen.get(tx_hash, (0, 0))[1],
        )
        for tx_hash in {*booked, *seen}
    ]
    return iter(sorted((c for c in causes if c.ledger != c.chain), key=lambda c: (c.block or 0, c.tx_hash)))


def tables(report: Report) -> Iterator[Table]:
    """The balances, and the transactions behind each difference, for a terminal."""
    columns = ("book", "account", "token", "ledger", "chain", "difference")
    table = Table(*columns, title=f"chain {report.chain_id}, block {report.block}")
    for line in report.lines:
        amounts = (str(line.ledger), str(line.chain), str(line.difference))
        table.add_row(line.book_id, line.account, line.token, *amounts)
    yield table
    for finding in report.findings:
        line = finding.line
        title = f"{line.token} of {line.account}, transactions since block {finding.searched_from}"
        table = Table("block", "transaction", "intent", "ledger", "chain", "difference", title=title)
        for cause in finding.causes:
            place = "not on the chain" if cause.block is None else str(cause.block)
            amounts = (str(cause.ledger), str(cause.chain), str(cause.ledger - cause.chain))
            table.add_row(place, cause.tx_hash, cause.intent_id or "not in the ledger", *amounts)
        table.add_row("", "not explained by transactions", "", "", "", str(finding.unexplained))
        yield table


def require_every_chain(options: StackOptions) -> None:
    """``CommandError`` for live accounts on a chain that would not be looked at: they would be left out in silence."""
    accounts = _asked(options, "/ledger/balances")["accounts"]
    chains = {one["chain_id"] for one in accounts if one["mode"] == "live"}
    if missing := chains - set(options.node_urls):
        raise CommandError(
            f"live accounts on chain {min(missing)} would not be compared; name its node in DEXLANE_RPC_WS_URLS, or "
            "devnet's chains in CHAINS, as for `dexlane up`"
        )


def _live_accounts(options: StackOptions, chain_id: int, block: int) -> list[dict[str, Any]]:
    content = _asked(options, "/ledger/balances", block=block)
    return [one for one in content["accounts"] if one["mode"] == "live" and one["chain_id"] == chain_id]


def _asked(options: StackOptions, path: str, **params: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{options.ports.service('portfolio')}{path}"
    try:
        answer = httpx.get(url, params=params, timeout=10, trust_env=False)
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise CommandError(f"portfolio does not answer at {url}; is dexlane running?") from error
    return content


def reconcile_command(
    home: Home = DEFAULT_HOME,
    port_shift: Shift = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON document.")] = False,
) -> None:
    """Compare the ledger of every live account with the chain, to the wei, and name the transactions behind a
    difference. Exit code 0 only without one."""
    options = options_for(home, port_shift)
    require_every_chain(options)
    reports = [examine(options, chain_id) for chain_id in options.node_urls]
    if as_json:
        sys.stdout.write(orjson.dumps([report.as_json() for report in reports]).decode() + "\n")
    else:
        for report in reports:
            for table in tables(report):
                console.print(table)
    rows, faults = sum(len(report.lines) for report in reports), sum(len(report.findings) for report in reports)
    if faults:
        raise CommandError(f"{faults} of {rows} balances differ; halt with `dexlane halt` before anything else")
    if not as_json:
        console.print(f"{rows} balances of live accounts agree, difference 0" if rows else "no live account is open")
