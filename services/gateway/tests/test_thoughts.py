"""The archive enters every decision in one chain, keeps what it was computed from, and shows both."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from dexlane.domain.thoughts.chain import ChainName, EntryKind, Head, faults_of_chain, faults_of_contents
from dexlane.domain.thoughts.recording import decided_again
from dexlane.events.risk import DecisionRecorded
from dexlane.events.thoughts import DocumentsRecorded, ThoughtsChained, content_id
from dexlane.runtime import thought_archive
from dexlane.runtime.thought_archive import Asked, documents
from dexlane.testing.builders import USDC, WETH, a_book, a_verdict, an_entry_opportunity
from dexlane.testing.thinking import a_thought, recorded_thoughts
from gateway.records import _tell_head, keep_bounded_once

NAME = ChainName("main", 1)
DAY_MS = 86_400_000


def thoughts(count: int, **fields: Any) -> list[Any]:
    """Decisions of as many books, and the documents they share."""
    books = [a_book(id=f"paper-{number}", **fields) for number in range(count)]
    return list(recorded_thoughts(*(a_thought(book=book) for book in books)))


async def keep(gateway: Any, *events: Any) -> None:
    """As the durable consumers do."""
    for event in events:
        if isinstance(event, DocumentsRecorded):
            async with gateway.desk.journal.transaction() as tx:
                await thought_archive.put_documents(tx.conn, event, tx.now_ms)
        else:
            await gateway.archive(event)


async def faults(gateway: Any, *heads: Head) -> list[str]:
    async with gateway.desk.journal.reading() as conn:
        entries = await thought_archive.entries(conn, 1)
        contents = {key: one async for key, one in thought_archive.contents(conn, 1)}
    hashes = {key: None if one is None else one.content_hash for key, one in contents.items()}
    found = [*faults_of_chain(NAME, entries, heads), *faults_of_contents(entries, hashes)]
    return [fault.sentence for fault in found]


async def head(gateway: Any) -> Head | None:
    async with gateway.desk.journal.reading() as conn:
        return await thought_archive.head(conn, 1)


async def test_every_decision_has_one_entry_however_often_it_is_delivered(gateway: Any) -> None:
    told = thoughts(3)
    await keep(gateway, *told, *reversed(told))
    async with gateway.desk.journal.reading() as conn:
        entries = await thought_archive.entries(conn, 1)
    assert [entry.kind for entry in entries] == [EntryKind.BEGUN, *([EntryKind.DECISION] * 3)]
    assert await faults(gateway) == []


async def test_the_chain_goes_on_after_a_restart(gateway: Any, open_gateway: Any) -> None:
    first, *rest = thoughts(3)
    await keep(gateway, first, rest[0])
    before = await head(gateway)
    assert before is not None
    again = await open_gateway()
    await keep(again, *rest)
    assert await faults(again, before) == []


async def test_the_same_decisions_have_the_same_content_hashes_in_another_order(
    gateway: Any, open_gateway: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    told = thoughts(3)
    await keep(gateway, *told)
    rebuilt = await open_gateway(data_dir=tmp_path_factory.mktemp("lost"))
    await keep(rebuilt, *reversed(told))
    hashes = []
    for one in (gateway, rebuilt):
        async with one.desk.journal.reading() as conn:
            entries = await thought_archive.entries(conn, 1)
        hashes.append({e.about: e.content_hash for e in entries if e.kind is EntryKind.DECISION})
    assert hashes[0] == hashes[1]
    assert await head(gateway) != await head(rebuilt)
    assert await faults(rebuilt) == []


async def test_a_new_journal_says_which_head_it_does_not_know(gateway: Any) -> None:
    lost = Head(42, "ab" * 32)
    async with gateway.desk.journal.transaction() as tx:
        assert not await thought_archive.knows(tx.conn, NAME, lost)
        await thought_archive.begin(tx.conn, NAME, lost, 7)
        assert await thought_archive.knows(tx.conn, NAME, lost)
    await keep(gateway, *thoughts(1))
    async with gateway.desk.journal.reading() as conn:
        begun, _ = await thought_archive.entries(conn, 1)
    assert thought_archive.note_of(begun) == {"after": str(lost), "at_ms": 7}
    assert await faults(gateway) == []


async def test_decisions_from_before_the_chain_are_entered_once(gateway: Any) -> None:
    await keep(gateway, *thoughts(2))
    async with gateway.desk.journal.transaction() as tx:
        await tx.conn.execute(thought_archive.chain.delete())
        await tx.conn.execute(thought_archive.tokens.delete())
        assert await thought_archive.append_missing(tx.conn, NAME) == 2
        assert await thought_archive.append_missing(tx.conn, NAME) == 0
    assert await faults(gateway) == []


async def test_the_head_is_told_once_for_as_long_as_it_is_the_head(gateway: Any) -> None:
    await keep(gateway, *thoughts(1))
    for _ in range(2):
        async with gateway.desk.journal.transaction() as tx:
            await _tell_head(tx, 1)
    [word] = await gateway.sent(ThoughtsChained)
    assert Head(word.sequence, word.entry_hash) == await head(gateway)


TAMPERING = {
    "a word of a decision": "UPDATE archive SET body = replace(body, 'traded', 'failed') WHERE sequence = 2",
    "a hash in a decision": "UPDATE archive SET body = replace(body, 'hash\":\"', 'hash\":\"f') WHERE sequence = 2",
    "a deleted decision": "DELETE FROM archive WHERE sequence = 2",
    "a deleted entry": "DELETE FROM thought_chain WHERE sequence = 3",
    "a deleted end": "DELETE FROM thought_chain WHERE sequence = 5",
    "a changed entry": "UPDATE thought_chain SET content_hash = entry_hash WHERE sequence = 3",
    "two exchanged entries": "UPDATE thought_chain SET sequence = 105 - sequence WHERE sequence IN (2, 3)",
    "a forged beginning": 'UPDATE thought_chain SET about = \'{"after":"1:00"}\' WHERE sequence = 1',
}


@pytest.mark.parametrize("what", TAMPERING)
async def test_tampering_with_the_database_is_found(gateway: Any, what: str) -> None:
    await keep(gateway, *thoughts(4))
    assert await faults(gateway) == []
    async with gateway.desk.journal.transaction() as tx:
        assert (await tx.conn.execute(sa.text(TAMPERING[what]))).rowcount
        await tx.conn.execute(sa.text("UPDATE thought_chain SET sequence = sequence - 100 WHERE sequence > 100"))
    assert await faults(gateway)


async def forget(gateway: Any, **limits: int) -> int:
    """What the gateway does each minute."""
    settings = gateway.desk.settings.model_copy(update={"archive_days": 100_000, **limits})
    return await keep_bounded_once(gateway.desk.journal, settings)


async def test_what_the_retention_forgets_is_said_in_the_chain_and_the_entries_stay(gateway: Any) -> None:
    await keep(gateway, *thoughts(5))
    assert await forget(gateway, archive_decisions=2) == 3
    assert await forget(gateway, archive_decisions=2) == 0
    assert await faults(gateway) == []
    listed = await gateway.get("/thoughts")
    assert [one["decision"] is None for one in listed] == [False, False, True, True, True]
    async with gateway.desk.journal.transaction() as tx:
        await tx.conn.execute(sa.text("DELETE FROM archive"))
    assert len(await faults(gateway)) == 2


async def test_a_decision_that_was_forgotten_and_comes_again_stays_forgotten(gateway: Any) -> None:
    told = thoughts(3)
    await keep(gateway, *told)
    await forget(gateway, archive_decisions=1)
    before = await head(gateway)
    await keep(gateway, *told)
    assert await head(gateway) == before
    assert await faults(gateway) == []
    assert [one["decision"] is None for one in await gateway.get("/thoughts")] == [False, True, True]


async def test_decisions_go_when_they_are_old_and_one_with_a_wrong_clock_takes_no_other_along(gateway: Any) -> None:
    _, *decisions = thoughts(4)
    first_ms = gateway.clock.now_ms()
    for one, at_ms in zip(decisions, (first_ms, first_ms + 2, first_ms + 1, 0), strict=True):
        changed = one.model_copy(update={"occurred_at_ms": at_ms, "content_hash": ""})
        await keep(gateway, DecisionRecorded.from_wire(changed.to_wire()))
    gateway.clock.advance(DAY_MS + 1)
    assert await forget(gateway, archive_days=1) == 1
    assert await forget(gateway, archive_days=1) == 0
    gateway.clock.advance(2)
    assert await forget(gateway, archive_days=1) == 3
    assert await faults(gateway) == []


async def test_what_goes_goes_in_pieces_and_each_is_said_in_the_chain(
    open_gateway: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thought_archive, "PIECE", 2)
    gateway = await open_gateway(database_url=database_url)
    await keep(gateway, *thoughts(6))
    async with gateway.desk.journal.reading() as conn:
        assert await thought_archive.to_forget(conn, 1, 1, 0) == [(0, 2), (2, 4), (4, 6)]
    assert await forget(gateway, archive_decisions=1) == 5
    async with gateway.desk.journal.reading() as conn:
        entries = await thought_archive.entries(conn, 1)
        assert await thought_archive.to_forget(conn, 1, 1, 0) == []
    said = [thought_archive.note_of(entry) for entry in entries if entry.kind is EntryKind.FORGOTTEN]
    assert said == [{"up_to": 2}, {"up_to": 4}, {"up_to": 6}]
    assert await faults(gateway) == []


async def test_documents_outlive_the_oldest_decision_by_a_day_and_no_longer(
    open_gateway: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thought_archive, "PIECE", 2)
    gateway = await open_gateway(database_url=database_url)
    told, *decisions = thoughts(1)
    await keep(gateway, told, *decisions)
    kept, gone = "1" * 64, [f"{number:064x}" for number in range(5)]
    oldest = decisions[0].occurred_at_ms
    async with gateway.desk.journal.transaction() as tx:
        rows = [{"id": name, "body": "{}", "told_ms": oldest - DAY_MS - 1} for name in gone]
        await tx.conn.execute(documents.insert(), [*rows, {"id": kept, "body": "{}", "told_ms": oldest - DAY_MS}])
    await forget(gateway)
    async with gateway.desk.journal.reading() as conn:
        assert await thought_archive.document(conn, kept) == "{}"
        assert await thought_archive.texts(conn, gone) == {}
        assert await thought_archive.texts(conn, told.documents) == told.documents


async def test_decisions_are_found_by_book_token_outcome_service_and_time(open_gateway: Any, database_url: str) -> None:
    gateway = await open_gateway(database_url=database_url)
    risky = a_thought(cause=a_verdict(an_entry_opportunity(), risk_score=90), book=a_book(id="paper-risky"))
    await keep(gateway, *recorded_thoughts(a_thought(), risky))
    now_ms = risky.occasion.at_ms

    async def found(**asked: Any) -> list[str]:
        return [one["decision"]["outcome"] for one in await gateway.get("/thoughts", **asked)]

    assert await found() == ["too_risky", "traded"]
    assert await found(book_id="paper-risky") == ["too_risky"]
    assert await found(outcome="traded", token=WETH.address.upper().replace("0X", "0x")) == ["traded"]
    assert await found(token="0x" + "1" * 40) == []
    assert await found(subject_id=risky.occasion.subject_id) == ["too_risky", "traded"]
    assert await found(subject_id="0" * 32) == []
    assert await found(service="fast-executor", since_ms=now_ms, until_ms=now_ms) == ["too_risky", "traded"]
    assert await found(since_ms=now_ms + 1) == []
    assert await found(until_ms=now_ms - 1) == []
    assert await found(chain_id=8453) == []
    async with gateway.desk.journal.reading() as conn:
        for one in await thought_archive.search(conn, 1, Asked()):
            for beginning in (one.entry.about, one.entry.about[:8], one.entry.about[:1]):
                assert one in await thought_archive.search(conn, 1, Asked(decision_id=beginning))
        assert await thought_archive.search(conn, 1, Asked(decision_id="f" * 31)) == []
    first = await gateway.client.get("/api/v1/thoughts", params={"limit": 1})
    assert await found(limit=1, cursor=first.json()["next"]) == ["traded"]


async def test_one_decision_is_told_in_full_with_its_place_and_its_documents_to_the_byte(gateway: Any) -> None:
    told, decision = recorded_thoughts()
    await keep(gateway, told, decision)
    assert isinstance(decision, DecisionRecorded)
    shown = await gateway.get(f"/thoughts/{decision.id}")
    assert DecisionRecorded.model_validate(shown["decision"]) == decision
    assert shown["entry"]["content_hash"] == decision.content_hash
    assert USDC.address in shown["text"]
    fetched: dict[str, str] = {}
    assert isinstance(told, DocumentsRecorded)
    for name in told.documents:
        answer = await gateway.client.get(f"/api/v1/documents/{name}")
        assert content_id(answer.content) == name
        fetched[name] = answer.text
    assert decided_again(decision.inputs_id or "", fetched.get) == decision
    [head_now] = await gateway.get("/thoughts/heads")
    assert head_now["sequence"] == 2


@pytest.mark.parametrize("path", ["/thoughts/" + "0" * 32, "/documents/" + "0" * 64])
async def test_what_is_not_there_is_said_to_be_unknown(gateway: Any, path: str) -> None:
    answer = await gateway.client.get(f"/api/v1{path}")
    assert answer.status_code == 404
    assert "archive" in answer.json()["detail"]


def test_a_decision_with_another_hash_and_a_document_with_another_name_are_refused() -> None:
    told, decision = recorded_thoughts()
    with pytest.raises(ValueError, match="other contents"):
        DecisionRecorded.from_wire(decision.to_wire().replace(b'"traded"', b'"failed"'))
    assert isinstance(told, DocumentsRecorded)
    name, text = next(iter(told.documents.items()))
    with pytest.raises(ValueError, match="other contents"):
        DocumentsRecorded(**{**told.model_dump(), "documents": {name: text + " "}})


def test_a_decision_that_was_recorded_without_a_hash_is_given_one() -> None:
    _, decision = recorded_thoughts()
    assert isinstance(decision, DecisionRecorded)
    bare = decision.to_wire().replace(f'"content_hash":"{decision.content_hash}"'.encode(), b'"content_hash":""')
    assert DecisionRecorded.from_wire(bare) == decision
