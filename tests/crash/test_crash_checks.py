"""Each check of `make crash` notices the breach that it is there for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import crash_checks as checks
from crash_checks import Told
from crash_evidence import (
    JOURNALS,
    LONGEST,
    Journals,
    MinedTransaction,
    OurChain,
    Settling,
    Streams,
    open_work,
    overdue,
)

ACCOUNT = "0x" + "aa" * 20
TABLES = """
CREATE TABLE outbox (sequence INTEGER PRIMARY KEY, event_id, subject, stream, sent_ms);
CREATE TABLE execution_intents (intent_id, mode, purpose, is_open);
CREATE TABLE execution_slots (account, nonce, intent_id, is_open, record);
CREATE TABLE execution_attempts (intent_id, number, kind, tx_hash, raw);
CREATE TABLE paper_trade (intent_id, status);
CREATE TABLE paper_balance (account, token, amount);
CREATE TABLE outcomes (intent_id, event, final, entry_id, holds);
CREATE TABLE entries (id, cause_id, reverses);
CREATE TABLE balances (path, token, amount);
CREATE TABLE exits (state);
CREATE TABLE positions (quantity);
"""


class World:
    """Journals with one live fill and one paper fill, a chain and streams that agree with them."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.journals = {name: sqlite3.connect(data / f"{name}.db") for name in JOURNALS}
        for connection in self.journals.values():
            connection.executescript(f"PRAGMA synchronous=OFF; BEGIN; {TABLES} COMMIT;")
        included = {"number": 1, "success": True, "block": {"number": 7}}
        self.state: dict[str, Any] = {
            "stage": "final",
            "deadline_block": 9,
            "included": included,
            "attempts": [{"number": 1, "kind": "trade"}],
        }
        self.put("fast-executor", "execution_intents", "live", "live", "entry", 0)
        self.put("fast-executor", "execution_intents", "paper", "paper", "entry", 0)
        self.put("fast-executor", "execution_slots", ACCOUNT, 4, "live", 0, self.record())
        self.put("fast-executor", "execution_attempts", "live", 1, "trade", "0x01", b"")
        for intent in ("live", "paper"):
            self.put("portfolio", "outcomes", intent, "fill.confirmed", 1, f"entry of {intent}", 1)
            self.put("portfolio", "entries", f"entry of {intent}", intent, None)
        self.put("paper-sim", "paper_trade", "paper", "closed")
        self.put("paper-sim", "paper_balance", "0xpaper", "USDC", "5")
        self.put("portfolio", "balances", "assets:book:0xpaper", "USDC", "5")
        self.put("portfolio", "outbox", 1, "told", "main.1.fill", "TRADING", 1)
        self.put("portfolio", "outbox", 2, "older", "main.1.exposure", "STATE", 1)
        self.put("portfolio", "outbox", 3, "newest", "main.1.exposure", "STATE", 1)
        self.chain = OurChain(None, first_nonces={ACCOUNT: 4})  # type: ignore[arg-type]
        self.mine("0x01", 4)
        self.streams = Streams(None, state={"main.1.exposure": "newest"})  # type: ignore[arg-type]
        self.streams.trading["told"] = 1

    def record(self) -> str:
        return orjson.dumps({"state": self.state}).decode()

    def mine(self, tx_hash: str, nonce: int, *, succeeded: bool = True) -> None:
        self.chain.mined.append(MinedTransaction(tx_hash, ACCOUNT, nonce, 7, succeeded))

    def put(self, journal: str, table: str, *values: Any) -> None:
        places = ", ".join("?" * len(values))
        self.run(journal, f"INSERT INTO {table} VALUES ({places})", *values)  # noqa: S608  tables of this test

    def run(self, journal: str, statement: str, *values: Any) -> None:
        with self.journals[journal] as connection:
            connection.execute(statement, values)

    def violations(self) -> list[str]:
        journals, told = Journals(self.data), Told(self.data)
        return [
            *checks.chain_and_journals(self.chain, journals),
            *checks.nonces(self.chain),
            *checks.outcomes(journals),
            *checks.paper_trades(journals),
            *checks.paper_balances(journals),
            *checks.streams_and_outboxes(self.data, told, self.streams),
        ]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    for connection in world.journals.values():
        connection.close()


def test_sound_books_have_no_violation(world: World) -> None:
    assert world.violations() == []
    assert open_work(world.data) == {}


def test_attempts_are_found_by_their_numbers_which_may_leave_some_out(world: World) -> None:
    world.state["attempts"] = [{"number": 3, "kind": "trade"}]
    world.state["included"] |= {"number": 3}
    world.run("fast-executor", "UPDATE execution_slots SET record = ?", world.record())
    world.run("fast-executor", "UPDATE execution_attempts SET number = 3")
    assert world.violations() == []


def test_a_transaction_that_no_journal_knows_is_noticed(world: World) -> None:
    world.mine("0x02", 5)
    (found,) = world.violations()
    assert "0x02" in found


def test_an_intent_that_took_effect_twice_is_noticed(world: World) -> None:
    world.put("fast-executor", "execution_attempts", "live", 2, "trade", "0x02", b"")
    world.mine("0x02", 5)
    assert any("took effect 2 times" in found for found in world.violations())


def test_a_gap_in_the_nonces_is_noticed(world: World) -> None:
    world.mine("0x01", 6)
    assert any("not in a row" in found for found in world.violations())


def test_a_revert_that_the_journal_takes_for_a_fill_is_noticed(world: World) -> None:
    world.chain.mined.clear()
    world.mine("0x01", 4, succeeded=False)
    assert any("the journal says" in found for found in world.violations())


def test_a_slot_without_a_transaction_is_noticed(world: World) -> None:
    world.chain.mined.clear()
    assert any("no transaction" in found for found in world.violations())


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM outcomes WHERE intent_id = 'live'",
        "UPDATE outcomes SET final = 0 WHERE intent_id = 'paper'",
        "UPDATE outcomes SET event = 'intent.failed' WHERE intent_id = 'live'",
        "INSERT INTO entries VALUES ('again', 'live', NULL)",
        "DELETE FROM entries WHERE cause_id = 'paper'",
        "INSERT INTO outcomes VALUES ('stranger', 'fill.confirmed', 1, NULL, 1)",
        "UPDATE balances SET amount = '6'",
        "INSERT INTO outbox VALUES (9, 'untold', 'main.1.fill', 'TRADING', 1)",
        "INSERT INTO outbox VALUES (9, 'newer', 'main.1.exposure', 'STATE', 1)",
    ],
)
def test_damage_to_the_ledger_is_noticed(world: World, damage: str) -> None:
    world.run("portfolio", damage)
    assert len(world.violations()) == 1


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM paper_trade",
        "UPDATE paper_trade SET status = 'waiting'",
        "INSERT INTO paper_trade VALUES ('x', 'closed')",
    ],
)
def test_a_paper_intent_without_its_end_is_noticed(world: World, damage: str) -> None:
    world.run("paper-sim", damage)
    assert len(world.violations()) == 1


@pytest.mark.parametrize(
    ("journal", "work"),
    [
        ("fast-executor", "UPDATE execution_slots SET is_open = 1"),
        ("smart-executor", "INSERT INTO execution_intents VALUES ('x', 'live', 'exit', 1)"),
        ("gateway", "INSERT INTO outbox VALUES (1, 'x', 'main.1.book', 'STATE', NULL)"),
        ("paper-sim", "UPDATE paper_trade SET status = 'in_block'"),
        ("portfolio", "INSERT INTO exits VALUES ('open')"),
        ("portfolio", "INSERT INTO positions VALUES ('1')"),
    ],
)
def test_work_that_is_under_way_is_noticed(world: World, journal: str, work: str) -> None:
    world.run(journal, work)
    assert len(open_work(world.data)) == 1


def test_a_slot_that_is_open_past_its_deadline_is_noticed(world: World) -> None:
    world.run("fast-executor", "UPDATE execution_slots SET is_open = 1")
    assert not list(overdue(world.data, 19, 10))
    assert len(list(overdue(world.data, 20, 10))) == 1


def test_settling_takes_as_long_as_less_and_less_waits_and_not_for_ever() -> None:
    settling = Settling(0, 10)
    settling.note(8, 500)
    assert not settling.is_over(17)
    settling.note(17, 428)
    assert not settling.is_over(26)
    settling.note(26, 428)
    assert settling.is_over(27), "nothing became less"
    settling = Settling(0, 10)
    for second in range(10 * LONGEST):
        settling.note(second, 1_000 - second)
        assert not settling.is_over(second)
    assert settling.is_over(10 * LONGEST)
