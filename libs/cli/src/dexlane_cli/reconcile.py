"""``dexlane reconcile``: the live ledger against the chain, to the wei."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import httpx

from dexlane.values.chains import NATIVE
from dexlane_cli.errors import CommandError
from dexlane_cli.stack import StackOptions

PATIENCE_S = 20.0
BALANCE_OF = "0x70a08231"


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


class Node:
    """The few calls a reconciliation needs, over HTTP."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("ws://", "http://", 1).replace("wss://", "https://", 1)

    def call(self, method: str, *params: Any) -> str:
        """The result of one call; a sentence when the node does not answer."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        try:
            answer = httpx.post(self._url, json=request, timeout=10, trust_env=False).json()
        except (httpx.HTTPError, ValueError) as error:
            raise CommandError(f"the node at {self._url} does not answer") from error
        if "result" not in answer:
            raise CommandError(f"the node refused {method}: {answer.get('error')}")
        return str(answer["result"])

    def block_number(self) -> int:
        """The newest block."""
        return int(self.call("eth_blockNumber"), 16)

    def balance(self, account: str, token: str, block: int) -> int:
        """A balance after that block."""
        if token == NATIVE:
            return int(self.call("eth_getBalance", account, hex(block)), 16)
        data = BALANCE_OF + account.removeprefix("0x").rjust(64, "0")
        return int(self.call("eth_call", {"to": token, "data": data}, hex(block)), 16)


def ledger_balances(options: StackOptions, block: int) -> dict[str, Any]:
    """What portfolio has booked for live accounts up to and including that block."""
    url = f"http://127.0.0.1:{options.ports.service('portfolio')}/ledger/balances"
    try:
        answer = httpx.get(url, params={"block": block}, timeout=10, trust_env=False)
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise CommandError(f"portfolio does not answer at {url}; is dexlane running?") from error
    return content


def compare(options: StackOptions, chain_id: int) -> tuple[int, list[Line]]:
    """Compare at one block. The ledger follows the chain by moments, so a difference counts only when it stays."""
    node = Node(options.node_urls[chain_id][0])
    block = node.block_number()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        content = ledger_balances(options, block)
        lines = [
            Line(
                book_id=account["book_id"],
                account=account["account"],
                token=token,
                ledger=int(amount),
                chain=node.balance(account["account"], token, block),
            )
            for account in content["accounts"]
            if account["mode"] == "live" and account["chain_id"] == chain_id
            for token, amount in account["balances"].items()
        ]
        agreed = all(line.difference == 0 for line in lines)
        if agreed or time.monotonic() > deadline:
            return block, lines
        time.sleep(0.5)
