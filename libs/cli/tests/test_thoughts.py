"""``dexlane thoughts`` on a gateway's journal: shown, exported, verified, decided again; and every tampering named."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from dexlane.domain.thoughts.chain import ChainName, Head
from dexlane.events.risk import DecisionRecorded
from dexlane.events.thoughts import DocumentsRecorded, content_id
from dexlane.runtime import thought_archive
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.journal import Journal
from dexlane.runtime.migrate import upgrade
from dexlane.runtime.observability import Log
from dexlane.testing.builders import a_book, a_pool_v2, a_verdict, an_entry_opportunity
from dexlane.testing.thinking import a_thought, recorded_thoughts
from dexlane_cli import thoughts
from dexlane_cli.errors import CommandError
from dexlane_cli.main import app
from dexlane_cli.thought_sources import JournalSource

runner = CliRunner()
RESERVE = str(a_pool_v2().state.reserve0)  # type: ignore[union-attr]


async def _fill(url: str, log: Log) -> list[DecisionRecorded]:
    """A trade, a refusal, and a word of a person, as the gateway archives them."""
    await upgrade(url, "gateway")
    risky = a_thought(cause=a_verdict(an_entry_opportunity(), risk_score=45), book=a_book(id="paper-risky"))
    by_hand = DecisionRecorded(
        id=DecisionRecorded.make_id("gateway", "s" * 32, None, "breaker_reset"),
        chain_id=1,
        occurred_at_ms=0,
        service="gateway",
        subject_id="s" * 32,
        outcome="breaker_reset",
        reasons=("breaker-losses was reset: looked at",),
    )
    journal = Journal(url, clock=ManualClock(), log=log)
    decisions: list[DecisionRecorded] = []
    async with journal.transaction() as tx:
        for event in (by_hand, *recorded_thoughts(a_thought(), risky)):
            if isinstance(event, DocumentsRecorded):
                await thought_archive.put_documents(tx.conn, event, tx.now_ms)
            elif isinstance(event, DecisionRecorded):
                await tx.conn.exec_driver_sql(
                    "INSERT INTO archive (sequence, event_id, name, chain_id, occurred_at_ms, body)"
                    " VALUES (?, ?, ?, 1, ?, ?)",
                    (len(decisions) + 1, event.id, event.NAME, event.occurred_at_ms, event.to_wire().decode()),
                )
                await thought_archive.append(tx.conn, ChainName("main", 1), event)
                decisions.append(event)
    await journal.close()
    return decisions


@pytest.fixture
def decisions(tmp_path: Path, log: Log) -> list[DecisionRecorded]:
    """What the journal in ``tmp_path`` holds."""
    return asyncio.run(_fill(f"sqlite+aiosqlite:///{database(tmp_path)}", log))


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is on its way here."""
    monkeypatch.setattr(thoughts, "SETTLE_S", 0)


def database(home: Path) -> Path:
    return home / "session" / "data" / "gateway.db"


def tampered(home: Path, statement: str, *values: str) -> None:
    with sqlite3.connect(database(home)) as db:
        assert db.execute(statement, values).rowcount
    db.close()


def run(home: Path, *arguments: str) -> tuple[str, str]:
    """What was printed, and the fault in words; empty when there was none."""
    result = runner.invoke(app, ["thoughts", *arguments, "--home", str(home)])
    if result.exception is not None and not isinstance(result.exception, CommandError | SystemExit):
        raise result.exception
    return result.output, str(result.exception) if isinstance(result.exception, CommandError) else ""


def test_the_newest_decisions_are_listed_in_a_sentence_each(decisions: list[DecisionRecorded], tmp_path: Path) -> None:
    printed, fault = run(tmp_path, "show", "--latest", "2")
    assert fault == ""
    assert [line.split()[0] for line in printed.splitlines()] == [one.id for one in decisions[1:]]
    assert "fast-executor for paper-risky does nothing (too risky)" in printed


def test_one_decision_is_told_in_full_and_found_by_what_it_is_about(
    decisions: list[DecisionRecorded], tmp_path: Path
) -> None:
    printed, _ = run(tmp_path, "show", decisions[2].id[:8])
    assert "It would be traded if the book had level 6 instead of 5." in printed
    assert decisions[2].content_hash in printed
    short, _ = run(tmp_path, "show", decisions[2].id, "--detail", "short")
    assert len(short.splitlines()) == 1
    as_json, _ = run(tmp_path, "show", "--json", "--outcome", "traded", "--token", decisions[1].tokens[0].upper())
    assert DecisionRecorded.from_wire(as_json.strip()) == decisions[1]
    assert "no recorded decision fits" in run(tmp_path, "show", "--book", "nobody")[1]
    assert "is no id" in run(tmp_path, "show", "xyz")[1]


def test_a_whole_record_verifies_and_every_decision_is_decided_again(
    decisions: list[DecisionRecorded], tmp_path: Path
) -> None:
    printed, fault = run(tmp_path, "verify", "--json")
    said = json.loads(printed)
    assert (fault, said["faults"], said["decisions"], said["entries"]) == ("", [], 3, 4)
    assert run(tmp_path, "verify", "--head", said["heads"]["1"])[1] == ""
    printed, fault = run(tmp_path, "re-run", "--all")
    assert fault == ""
    assert "2 decided again to the same bytes, 0 not; 1 name no inputs" in printed
    assert run(tmp_path, "re-run", decisions[1].id)[1] == ""
    [without] = json.loads(run(tmp_path, "re-run", decisions[0].id, "--json")[0])
    assert without["why"] == "it names no inputs; gateway said: breaker-losses was reset: looked at"


def test_one_wei_in_a_document_is_named_by_verify_and_by_re_run(
    decisions: list[DecisionRecorded], tmp_path: Path
) -> None:
    with sqlite3.connect(database(tmp_path)) as db:
        [(name,)] = db.execute("SELECT id FROM thought_documents WHERE body LIKE ?", (f"%{RESERVE}%",)).fetchall()
    db.close()
    one_more = str(int(RESERVE) + 1)
    tampered(tmp_path, "UPDATE thought_documents SET body = replace(body, ?, ?)", RESERVE, one_more)
    printed, fault = run(tmp_path, "verify")
    assert f"document {name} was changed" in printed
    assert "the record is not whole" in fault
    printed, fault = run(tmp_path, "re-run", "--all")
    assert f"{decisions[1].id}: document {name} was changed" in printed
    assert "2 of 3 decisions do not follow" in fault


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM thought_documents WHERE body LIKE '%\"call\"%'", "is missing; decision"),
        ("DELETE FROM archive WHERE sequence = 2", "was deleted"),
        ("UPDATE archive SET body = replace(body, 'paper-one', 'paper-two')", "was changed"),
        ("DELETE FROM thought_chain WHERE sequence = 2", "entry 2 is missing"),
        ("UPDATE thought_chain SET about = 'x' WHERE sequence = 2", "entry 2 was changed"),
    ],
)
def test_what_was_done_to_the_journal_is_said(
    decisions: list[DecisionRecorded], tmp_path: Path, statement: str, said: str
) -> None:
    assert decisions
    tampered(tmp_path, statement)
    printed, fault = run(tmp_path, "verify")
    assert said in " ".join(printed.split())
    assert fault


def test_what_was_cut_off_is_found_by_the_head_that_was_noted_down(
    decisions: list[DecisionRecorded], tmp_path: Path
) -> None:
    head = json.loads(run(tmp_path, "verify", "--json")[0])["heads"]["1"]
    tampered(tmp_path, "DELETE FROM thought_chain WHERE sequence = 4")
    tampered(tmp_path, "DELETE FROM archive WHERE event_id = ?", decisions[2].id)
    assert run(tmp_path, "verify")[1] == ""
    assert f"before the head {head}" in run(tmp_path, "verify", "--head", head)[1]
    assert "is no head" in run(tmp_path, "verify", "--head", "4")[1]


def test_an_exported_file_is_shown_verified_and_decided_again_without_a_journal(
    decisions: list[DecisionRecorded], tmp_path: Path
) -> None:
    out, elsewhere = tmp_path / "thoughts.jsonl", tmp_path / "nowhere"
    assert run(tmp_path, "export", "--format", "jsonl", "--out", str(out))[1] == ""
    assert run(elsewhere, "verify", "--file", str(out))[1] == ""
    assert run(elsewhere, "re-run", "--all", "--file", str(out))[1] == ""
    assert decisions[1].id in run(elsewhere, "show", decisions[1].id, "--file", str(out))[0]
    out.write_text(out.read_text().replace("paper-risky", "paper-calm"))
    assert "was changed" in run(elsewhere, "verify", "--file", str(out))[1]
    out.write_text("no export\n")
    assert "line 1" in run(elsewhere, "verify", "--file", str(out))[1]
    assert "there is no archive" in run(elsewhere, "verify")[1]


def test_a_parquet_file_is_a_table_of_the_chain(decisions: list[DecisionRecorded], tmp_path: Path) -> None:
    out = tmp_path / "thoughts.parquet"
    assert run(tmp_path, "export", "--format", "parquet", "--out", str(out))[1] == ""
    rows = pq.read_table(out).to_pylist()
    assert [row["about"] for row in rows[1:]] == [one.id for one in decisions]
    assert DecisionRecorded.from_wire(rows[2]["decision"]) == decisions[1]
    assert rows[3]["told"].startswith("fast-executor for paper-risky")


def test_a_car_file_holds_decisions_and_documents_under_their_own_hashes(
    decisions: list[DecisionRecorded], tmp_path: Path
) -> None:
    out = tmp_path / "thoughts.car"
    printed, fault = run(tmp_path, "export", "--format", "car", "--out", str(out))
    assert fault == ""
    content = out.read_bytes()
    assert printed.split("root ")[1].startswith("bafyrei")
    for decision in decisions:
        assert bytes([1, 0x55, 0x12, 0x20]) + bytes.fromhex(decision.content_hash) + decision.canonical() in content
    with sqlite3.connect(database(tmp_path)) as db:
        for name, body in db.execute("SELECT id, body FROM thought_documents"):
            assert bytes.fromhex(name) + body.encode() in content
    db.close()
    assert run(tmp_path, "export", "--format", "car", "--out", str(out))[0] == printed


async def _begin_anew(url: str, log: Log, at_ms: int, again: list[DecisionRecorded]) -> None:
    """The archive was lost, and decisions are entered again from the streams, without documents."""
    journal = Journal(url, clock=ManualClock(), log=log)
    async with journal.transaction() as tx:
        for table in (thought_archive.chain, thought_archive.tokens, thought_archive.documents):
            await tx.conn.execute(table.delete())
        await thought_archive.begin(tx.conn, ChainName("main", 1), Head(9, "ab" * 32), at_ms)
        for decision in again:
            await thought_archive.append(tx.conn, ChainName("main", 1), decision)
    await journal.close()


@pytest.mark.parametrize("from_file", [False, True])
def test_documents_of_decisions_from_before_a_new_beginning_may_be_gone_and_later_ones_may_not(
    decisions: list[DecisionRecorded], tmp_path: Path, log: Log, *, from_file: bool
) -> None:
    url, out = f"sqlite+aiosqlite:///{database(tmp_path)}", tmp_path / "thoughts.jsonl"
    at_ms = decisions[1].occurred_at_ms

    def ran(*arguments: str) -> tuple[str, str]:
        if from_file:
            run(tmp_path, "export", "--format", "jsonl", "--out", str(out))
            return run(tmp_path, *arguments, "--file", str(out))
        return run(tmp_path, *arguments)

    asyncio.run(_begin_anew(url, log, at_ms + 1, decisions))
    printed, fault = ran("verify")
    assert fault == ""
    assert "2 documents are no longer kept; only decisions from before" in printed
    printed, fault = ran("re-run", "--all")
    assert fault == ""
    assert "of 2 from before the chain was begun anew documents are no longer kept" in printed
    asyncio.run(_begin_anew(url, log, at_ms, decisions))
    printed, fault = ran("verify")
    assert f"document {decisions[1].inputs_id} is missing; decision {decisions[1].id} names it" in printed
    assert "2 faults" in fault
    assert "2 of 3 decisions do not follow" in ran("re-run", "--all")[1]


def test_a_beginning_that_says_no_time_excuses_nothing(
    decisions: list[DecisionRecorded], tmp_path: Path, log: Log
) -> None:
    asyncio.run(_begin_anew(f"sqlite+aiosqlite:///{database(tmp_path)}", log, 0, decisions))
    assert "2 faults" in run(tmp_path, "verify")[1]


def test_a_changed_document_is_a_fault_however_old_it_is(
    decisions: list[DecisionRecorded], tmp_path: Path, log: Log
) -> None:
    asyncio.run(_begin_anew(f"sqlite+aiosqlite:///{database(tmp_path)}", log, 1 << 50, decisions))
    changed = "INSERT INTO thought_documents (id, body, told_ms) VALUES (?, '{}', 0)"
    tampered(tmp_path, changed, decisions[1].inputs_id or "")
    assert "1 faults, the first: document" in run(tmp_path, "verify")[1]
    assert "1 of 3 decisions do not follow" in run(tmp_path, "re-run", "--all")[1]


def test_a_document_that_no_decision_leads_to_may_lack_what_it_names(
    decisions: list[DecisionRecorded], tmp_path: Path
) -> None:
    """The archive forgets by when documents were last told: one may go a while before another that names it."""
    assert decisions
    text = json.dumps({"$": "e" * 64}, separators=(",", ":"))
    tampered(tmp_path, "INSERT INTO thought_documents VALUES (?, ?, 0)", content_id(text.encode()), text)
    assert run(tmp_path, "verify")[1] == ""


def test_one_decision_is_looked_up_without_reading_the_archive(
    decisions: list[DecisionRecorded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(JournalSource, "chains")
    monkeypatch.delattr(JournalSource, "rows")
    monkeypatch.setattr(thought_archive, "PAGE", 1)
    assert decisions[1].id in run(tmp_path, "show", decisions[1].id)[0]
    assert len(run(tmp_path, "show")[0].splitlines()) == 3
    assert run(tmp_path, "re-run", decisions[1].id[:9])[1] == ""
    assert "2 decided again" in run(tmp_path, "re-run", "--all")[0]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_an_export_reads_the_archive_page_by_page(
    decisions: list[DecisionRecorded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    assert decisions
    monkeypatch.delattr(JournalSource, "chains")
    monkeypatch.setattr(thought_archive, "PAGE", 1)
    out = tmp_path / "thoughts.out"
    printed, fault = run(tmp_path, "export", "--format", form, "--out", str(out))
    assert (fault, out.exists(), list(tmp_path.glob("*.part"))) == ("", True, [])
    if form == "jsonl":
        assert printed.endswith(f"{len(out.read_text().splitlines())} lines\n")
    else:
        assert printed.endswith("4 rows\n")


def test_one_decision_or_all_of_them_are_decided_again(decisions: list[DecisionRecorded], tmp_path: Path) -> None:
    assert decisions
    assert "name a decision, or say --all" in run(tmp_path, "re-run")[1]
