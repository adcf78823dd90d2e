"""The chain of the archive: whatever is changed, left out, exchanged or added to it is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.thoughts.chain import (
    ChainName,
    Entry,
    EntryKind,
    Head,
    begun,
    faults_of_chain,
    faults_of_contents,
    forgotten,
    hash_of,
    linked,
)
from dexlane.events.thoughts import content_id

NAME = ChainName("main", 1)


def a_chain(length: int = 6, forgotten_to: int = 0) -> list[Entry]:
    """A beginning, and decisions after it."""
    entries = [begun(NAME, None, None, 0)]
    for number in range(length - 1):
        decision_id = f"{number:032x}"
        entries.append(
            linked(NAME, head_of(entries), EntryKind.DECISION, decision_id, content_id(decision_id.encode()))
        )
    if forgotten_to:
        entries.append(forgotten(NAME, head_of(entries), forgotten_to))
    return entries


def head_of(entries: list[Entry]) -> Head:
    return Head(entries[-1].sequence, entries[-1].entry_hash)


def hashes_of(entries: list[Entry]) -> dict[str, str | None]:
    return {entry.about: entry.content_hash for entry in entries if entry.kind is EntryKind.DECISION}


def sentences(entries: list[Entry], *heads: Head) -> str:
    return "; ".join(fault.sentence for fault in faults_of_chain(NAME, entries, heads))


def test_a_chain_as_it_was_written_has_no_fault() -> None:
    entries = a_chain()
    assert sentences(entries, head_of(entries), Head(3, entries[2].entry_hash)) == ""
    assert list(faults_of_contents(entries, hashes_of(entries))) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("about", "f" * 32),
        ("content_hash", "f" * 64),
        ("previous_hash", "f" * 64),
        ("entry_hash", "f" * 64),
        ("kind", EntryKind.FORGOTTEN),
    ],
)
def test_a_change_of_any_field_is_found(name: str, value: object) -> None:
    entries = a_chain()
    entries[3] = replace(entries[3], **{name: value})  # type: ignore[arg-type]
    assert "4" in sentences(entries)


def test_an_entry_that_was_changed_and_hashed_again_breaks_the_one_after_it() -> None:
    entries = a_chain()
    changed = replace(entries[3], content_hash="f" * 64)
    entries[3] = replace(changed, entry_hash=hash_of(NAME, changed))
    assert "entry 5 does not name the entry before it" in sentences(entries)


@pytest.mark.parametrize("gone", range(1, 5))
def test_a_gap_is_found(gone: int) -> None:
    entries = a_chain()
    del entries[gone]
    assert f"entry {gone + 1} is missing" in sentences(entries)


def test_a_missing_beginning_is_found() -> None:
    assert "entry 1 is missing" in sentences(a_chain()[1:])


@pytest.mark.parametrize("at", range(1, 5))
def test_two_entries_that_were_exchanged_are_found(at: int) -> None:
    entries = a_chain()
    entries[at], entries[at + 1] = entries[at + 1], entries[at]
    assert sentences(entries)
    renumbered = [replace(entry, sequence=number) for number, entry in enumerate(entries, 1)]
    assert "was changed" in sentences(renumbered)


def test_what_was_cut_off_at_the_end_is_found_by_a_head_that_was_noted_down() -> None:
    entries = a_chain()
    noted = head_of(entries)
    assert sentences(entries[:-1]) == ""
    assert f"before the head {noted}" in sentences(entries[:-1], noted)


def test_a_chain_that_was_written_anew_is_found_by_a_head_that_was_noted_down() -> None:
    entries, other = a_chain(), a_chain()
    other[1] = linked(NAME, head_of(other[:1]), EntryKind.DECISION, "f" * 32, "e" * 64)
    for at in range(2, len(other)):
        other[at] = linked(NAME, head_of(other[:at]), EntryKind.DECISION, other[at].about, other[at].content_hash)
    assert sentences(other) == ""
    assert "is another one than the head that was noted down" in sentences(other, head_of(entries))


def test_a_chain_of_another_realm_or_chain_id_does_not_pass_for_this_one() -> None:
    for name in (ChainName("replay-a", 1), ChainName("main", 8453)):
        assert list(faults_of_chain(name, a_chain()))


def test_a_deleted_a_changed_and_an_added_content_are_found() -> None:
    entries = a_chain()
    hashes = hashes_of(entries)
    deleted, changed, unreadable = (entry.about for entry in entries[1:4])
    del hashes[deleted]
    hashes |= {changed: "f" * 64, unreadable: None, "added": "e" * 64}
    found = [fault.sentence for fault in faults_of_contents(entries, hashes)]
    assert any(deleted in one and "deleted" in one for one in found)
    assert any(changed in one and "changed" in one for one in found)
    assert any(unreadable in one and "changed" in one for one in found)
    assert any("added" in one and "not in the chain" in one for one in found)


def test_contents_that_the_archive_said_it_forgot_are_not_missed_and_newer_ones_are() -> None:
    entries = a_chain(forgotten_to=3)
    hashes = hashes_of(entries)
    del hashes[entries[2].about]
    assert list(faults_of_contents(entries, hashes)) == []
    del hashes[entries[4].about]
    assert [fault.sequence for fault in faults_of_contents(entries, hashes)] == [5]


def test_a_note_that_was_changed_forgives_nothing() -> None:
    entries = a_chain(forgotten_to=3)
    entries[-1] = replace(entries[-1], about='{"up_to":"everything"}')
    assert "note of entry 7 was changed" in sentences(entries)
    hashes = hashes_of(entries)
    del hashes[entries[2].about]
    assert list(faults_of_contents(entries, hashes))


def test_a_new_chain_names_the_head_of_the_one_that_was_lost() -> None:
    lost = head_of(a_chain())
    entry = begun(NAME, None, lost, 0)
    assert str(lost) in entry.about
    assert entry.entry_hash != begun(NAME, None, None, 0).entry_hash


@pytest.mark.parametrize("text", ["", "12", "x:" + "0" * 64, "1:00", "-1:" + "0" * 64])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no head"):
        Head.parse(text)


def test_a_head_is_read_as_it_is_printed() -> None:
    head = head_of(a_chain())
    assert Head.parse(str(head)) == head


Tampering = Callable[[list[Entry]], list[Entry]]


@given(length=st.integers(3, 12), data=st.data())
def test_no_tampering_of_the_middle_goes_unseen(length: int, data: st.DataObject) -> None:
    entries = a_chain(length)
    noted = head_of(entries)
    at = data.draw(st.integers(0, length - 1))
    other = data.draw(st.integers(0, length - 1).filter(lambda number: number != at))
    ways: dict[str, Tampering] = {
        "delete": lambda chain: chain[:at] + chain[at + 1 :],
        "repeat": lambda chain: chain[: at + 1] + chain[at:],
        "move": lambda chain: [*chain[:at], chain[other], *chain[at + 1 :]],
        "forge": lambda chain: [*chain[:at], replace(chain[at], content_hash="0" * 64), *chain[at + 1 :]],
    }
    tampered = data.draw(st.sampled_from(sorted(ways)))
    assert sentences(ways[tampered](entries), noted)
