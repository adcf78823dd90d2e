"""A difference between ledger and chain is explained by the transactions that the two tell differently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from rich.console import Console
from typer.testing import CliRunner

from dexlane.values.chains import NATIVE
from dexlane_cli import reconcile
from dexlane_cli.errors import CommandError
from dexlane_cli.main import app
from dexlane_cli.reconcile import TRANSFER, Report, examine, tables
from dexlane_cli.stack import StackOptions

ACCOUNT = "0x" + "aa" * 20
OTHER = "0x" + "bb" * 20
USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
TIP = 120
OPENING = {USDC: 1_000, NATIVE: 10**18}


def tx_hash(number: int) -> str:
    return f"0x{number:064x}"


def topic(address: str) -> str:
    return "0x" + address[2:].rjust(64, "0")


class World:
    """A chain with one account, and a ledger that knows of it what each test says."""

    def __init__(self) -> None:
        self.transactions: list[dict[str, Any]] = []
        self.receipts: dict[str, dict[str, Any]] = {}
        self.logs: list[dict[str, Any]] = []
        opening = {token: str(amount) for token, amount in OPENING.items()}
        self.movements = [
            {"cause_id": "opening", "event": "account.opened", "block": 100, "tx_hash": None, "amounts": opening}
        ]

    def mined(self, number: int, *, gas: int, usdc: int = 0, reverted: bool = False, sender: str = ACCOUNT) -> None:
        """Transaction ``number`` in block 100 + number; ``usdc`` is what our account gains of it."""
        block = hex(100 + number)
        self.transactions.append(
            {"hash": tx_hash(number), "from": sender, "to": OTHER, "value": "0x0", "blockNumber": block}
        )
        self.receipts[tx_hash(number)] = {
            "status": "0x0" if reverted else "0x1",
            "gasUsed": hex(gas),
            "effectiveGasPrice": "0x2",
        }
        if usdc:
            ends = (OTHER, ACCOUNT) if usdc > 0 else (ACCOUNT, OTHER)
            topics = [TRANSFER, *map(topic, ends)]
            self.logs.append(
                {"transactionHash": tx_hash(number), "blockNumber": block, "data": hex(abs(usdc)), "topics": topics}
            )

    def booked(self, number: int, *, native: int, usdc: int = 0, event: str = "fill.confirmed") -> None:
        """The ledger's entry of transaction ``number``."""
        amounts = {NATIVE: str(native), USDC: str(usdc)}
        entry = {"cause_id": f"intent-{number}", "event": event, "block": 100 + number, "amounts": amounts}
        self.movements.append({**entry, "tx_hash": tx_hash(number)})

    def balances(self) -> dict[str, str]:
        sums = {token: sum(int(one["amounts"].get(token, 0)) for one in self.movements) for token in (NATIVE, USDC)}
        return {token: str(amount) for token, amount in sums.items()}

    def get(self, url: str, **_options: Any) -> httpx.Response:
        content: dict[str, Any] = {"movements": self.movements}
        if "/ledger/balances" in url:
            account = {"book_id": "live", "account": ACCOUNT, "mode": "live", "chain_id": 1}
            content = {"accounts": [{**account, "balances": self.balances()}]}
        return httpx.Response(200, json=content, request=httpx.Request("GET", url))

    def post(self, url: str, *, json: list[dict[str, Any]], **_options: Any) -> httpx.Response:
        answers = [{"id": one["id"], "result": self._answer(one["method"], one["params"])} for one in json]
        return httpx.Response(200, json=answers, request=httpx.Request("POST", url))

    def _answer(self, method: str, params: list[Any]) -> Any:
        if method == "eth_blockNumber":
            return hex(TIP)
        if method == "eth_getBalance":
            fees = sum(
                int(self.receipts[tx["hash"]]["gasUsed"], 16) * 2 for tx in self.transactions if tx["from"] == ACCOUNT
            )
            return hex(OPENING[NATIVE] - fees)
        if method == "eth_call":
            gained = sum(int(log["data"], 16) * (1 if log["topics"][2] == topic(ACCOUNT) else -1) for log in self.logs)
            return hex(OPENING[USDC] + gained)
        if method == "eth_getLogs":
            wanted = params[0]["topics"]
            return [
                log
                for log in self.logs
                if all(w is None or w == t for w, t in zip(wanted, log["topics"], strict=False))
            ]
        if method == "eth_getBlockByNumber":
            return {"transactions": [tx for tx in self.transactions if tx["blockNumber"] == params[0]]}
        return self.receipts[params[0]]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(reconcile.httpx, "get", world.get)
    monkeypatch.setattr(reconcile.httpx, "post", world.post)
    monkeypatch.setattr(reconcile, "PATIENCE_S", 0.0)
    return world


def report(tmp_path: Path) -> Report:
    return examine(StackOptions(home=tmp_path), 1)


def test_equal_books_have_nothing_to_explain(world: World, tmp_path: Path) -> None:
    world.mined(1, gas=50, usdc=-300)
    world.booked(1, native=-100, usdc=-300)
    found = report(tmp_path)
    assert found.findings == ()
    assert {line.token: line.difference for line in found.lines} == {NATIVE: 0, USDC: 0}


def test_a_cancel_whose_fee_was_not_booked_is_named(world: World, tmp_path: Path) -> None:
    world.mined(1, gas=50, usdc=-300)
    world.booked(1, native=-100, usdc=-300)
    world.mined(2, gas=21_000)
    (finding,) = report(tmp_path).findings
    assert finding.line.token == NATIVE
    (cause,) = finding.causes
    assert (cause.tx_hash, cause.intent_id, cause.ledger, cause.chain) == (tx_hash(2), "", 0, -42_000)
    assert finding.unexplained == 0


def test_a_revert_booked_with_the_wrong_fee_names_its_intent(world: World, tmp_path: Path) -> None:
    world.mined(1, gas=60, reverted=True)
    world.booked(1, native=-100, event="intent.failed")
    (finding,) = report(tmp_path).findings
    (cause,) = finding.causes
    assert (cause.intent_id, cause.ledger, cause.chain) == ("intent-1", -100, -120)


def test_a_fill_that_the_chain_does_not_have_is_named(world: World, tmp_path: Path) -> None:
    world.booked(3, native=-100, usdc=-300)
    by_token = {finding.line.token: finding for finding in report(tmp_path).findings}
    assert by_token.keys() == {NATIVE, USDC}
    for finding in by_token.values():
        assert [(cause.block, cause.intent_id) for cause in finding.causes] == [(None, "intent-3")]
        assert finding.unexplained == 0


def test_tokens_that_came_from_elsewhere_are_named(world: World, tmp_path: Path) -> None:
    world.mined(4, gas=1, usdc=77, sender=OTHER)
    (finding,) = report(tmp_path).findings
    assert (finding.line.token, finding.line.difference) == (USDC, -77)
    assert [(cause.tx_hash, cause.chain) for cause in finding.causes] == [(tx_hash(4), 77)]


def test_what_no_transaction_explains_is_said(world: World, tmp_path: Path) -> None:
    world.movements[0]["amounts"][USDC] = "995"
    (finding,) = report(tmp_path).findings
    assert (finding.causes, finding.unexplained) == ((), -5)


def test_a_person_and_a_program_read_the_same(world: World, tmp_path: Path) -> None:
    world.mined(2, gas=21_000)
    found = report(tmp_path)
    console = Console(record=True, width=300)
    for table in tables(found):
        console.print(table)
    text = console.export_text()
    assert tx_hash(2) in text
    assert "not in the ledger" in text
    told = orjson.loads(orjson.dumps(found.as_json()))
    (difference,) = told["differences"]
    assert difference["difference"] == "42000"
    assert difference["transactions"][0]["tx_hash"] == tx_hash(2)
    assert len(told["balances"]) == 2


def test_live_accounts_on_a_chain_that_is_not_looked_at_are_no_agreement(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAINS", "8453")
    done = CliRunner().invoke(app, ["reconcile", "--home", str(tmp_path)])
    assert done.exit_code != 0
    assert "live accounts on chain 1 would not be compared" in str(done.exception)


def test_the_key_in_the_url_of_a_silent_node_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any, **__: Any) -> httpx.Response:
        raise httpx.ConnectError("no")

    monkeypatch.setattr(reconcile.httpx, "post", silent)
    with pytest.raises(CommandError) as refused:
        reconcile.Node("wss://node.example/v2/secret-key").block_number()
    assert "secret-key" not in str(refused.value)


def test_a_node_that_refuses_is_one_sentence(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, **_options: Any) -> httpx.Response:
        answer = {"id": None, "error": {"code": -32600, "message": "no batches"}}
        return httpx.Response(200, json=answer, request=httpx.Request("POST", url))

    monkeypatch.setattr(reconcile.httpx, "post", refuse)
    with pytest.raises(CommandError, match="refused eth_blockNumber"):
        report(tmp_path)
