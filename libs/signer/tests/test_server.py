"""Over the socket: signatures, denials, and nothing for anything that is not understood."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dexlane_signer import (
    DenialReason,
    GuardUnavailableError,
    LocalSigner,
    NonceGuard,
    Policy,
    RecordRequest,
    RemoteSigner,
    SignedBefore,
    SignerUnreachableError,
    SigningDenied,
)
from dexlane_signer.server import MAX_CONNECTIONS, MAX_WAITING, SigningServer
from dexlane_signer.sockets import SocketTakenError, listen
from dexlane_signer.wire import MAX_FRAME_BYTES, dump, to_frame, to_object

from .conftest import KEY, NOW_S, transaction
from .test_signer import STRANGER, of_record, request

OWN = (os.getuid(),)


@dataclass
class Place:
    path: Path
    guard: NonceGuard
    signer: LocalSigner
    server: SigningServer


@pytest.fixture
async def place(tmp_path: Path, policy: Policy) -> AsyncIterator[Place]:
    guard = NonceGuard(tmp_path / "guard.db")
    signer = LocalSigner([KEY], [policy], guard, clock_s=lambda: NOW_S)
    server = SigningServer(signer, uids=OWN)
    await server.start(tmp_path / "s.sock")
    yield Place(tmp_path / "s.sock", guard, signer, server)
    await server.stop()
    guard.close()


@pytest.fixture
async def remote(place: Place) -> AsyncIterator[RemoteSigner]:
    client = RemoteSigner(place.path, time_limit_s=20)
    yield client
    await client.close()


async def test_a_signature_over_the_socket_is_the_one_on_record(place: Place, remote: RemoteSigner) -> None:
    signed = await remote.sign_transaction(request(attempt=1))
    assert signed == place.signer.sign_transaction(request(attempt=1))
    assert await remote.highest_nonces(1) == {KEY.address: 7}
    assert await remote.highest_nonces(8453) == {KEY.address: None}
    assert await remote.signed_before(of_record(0)) == SignedBefore("a", signed)
    assert await remote.signed_before(of_record(8)) is None


async def test_while_entries_are_not_signed_the_socket_tells_what_was_signed_and_keeps_the_bytes(
    place: Place, remote: RemoteSigner
) -> None:
    signed = await remote.sign_transaction(request(attempt=1))
    place.signer.halt("looked at")
    assert await remote.signed_before(of_record(0)) == SignedBefore("a", replace(signed, raw=b""))


async def test_a_denial_keeps_its_reason_and_its_sentence(remote: RemoteSigner) -> None:
    with pytest.raises(SigningDenied) as denied:
        await remote.sign_transaction(request(to=STRANGER))
    assert denied.value.reason is DenialReason.UNKNOWN_TARGET
    assert STRANGER in denied.value.denial.sentence


async def test_an_unusable_record_is_transient_and_signs_nothing(place: Place, remote: RemoteSigner) -> None:
    place.guard.close()
    with pytest.raises(GuardUnavailableError):
        await remote.sign_transaction(request())


async def test_many_requests_in_flight_get_each_its_own_answer(remote: RemoteSigner) -> None:
    asked = [request(intent_id=f"i{nonce}", nonce=nonce) for nonce in range(3 * MAX_WAITING)]
    signed = await asyncio.gather(*(remote.sign_transaction(one) for one in asked))
    assert [one.transaction.nonce for one in signed] == list(range(3 * MAX_WAITING))


async def test_the_socket_is_for_its_owner_alone(place: Place) -> None:
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o600


async def test_another_user_is_not_answered(tmp_path: Path, place: Place) -> None:
    others = SigningServer(place.signer, uids=(os.getuid() + 1,))
    await others.start(tmp_path / "others.sock")
    client = RemoteSigner(tmp_path / "others.sock", time_limit_s=1)
    with pytest.raises(SignerUnreachableError):
        await client.sign_transaction(request())
    assert place.signer.counts.strangers == 1
    assert place.guard.highest_nonce(1, KEY.address) is None
    await others.stop()


async def said_to(place: Place, *frames: bytes, end: bool = False) -> list[dict[str, Any]]:
    """What the server answers to raw bytes, until it is silent for a moment or hangs up."""
    reader, writer = await asyncio.open_unix_connection(str(place.path))
    writer.write(b"".join(frames))
    if end:
        writer.write_eof()
    answers = []
    try:
        while True:
            length = int.from_bytes(await asyncio.wait_for(reader.readexactly(4), 0.5), "big")
            answers.append(to_object(await reader.readexactly(length)))
    except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
        writer.close()
    return answers


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def asked(**changes: Any) -> dict[str, Any]:
    return {"id": 1, "ask": "transaction", "request": dump(request()), **changes}


MALFORMED = {
    "no JSON": frame(b"{"),
    "empty": frame(b""),
    "a list": frame(b"[]"),
    "no id": frame(json.dumps({"ask": "nonces", "request": "1"}).encode()),
    "an id that is no number": to_frame(asked(id="1")),
    "an id that is true": to_frame(asked(id=True)),
    "an unknown question": to_frame(asked(ask="hash")),
    "a question that is a list": to_frame(asked(ask=["transaction"])),
    "an unknown field": to_frame(asked(surprise=1)),
    "an unknown field inside": to_frame(asked(request={**dump(request()), "surprise": "1"})),
    "a number instead of text": to_frame(asked(request={**dump(request()), "epoch": 0})),
    "a bare permit": to_frame(asked(ask="permit")),
    "no request": to_frame({"id": 1, "ask": "transaction"}),
    "a chain that no record can hold": to_frame({"id": 1, "ask": "nonces", "request": str(1 << 63)}),
    "an intent without a name": to_frame(asked(request={**dump(request()), "intent_id": ""})),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_not_understood_is_denied_and_counted_and_the_connection_goes_on(place: Place, name: str) -> None:
    denied, signed = await said_to(place, MALFORMED[name], to_frame(asked(id=2)))
    assert denied["denied"]["reason"] == DenialReason.MALFORMED_REQUEST
    assert denied["denied"]["sentence"]
    assert place.signer.counts.denied == {DenialReason.MALFORMED_REQUEST: 1}
    assert signed["id"] == 2
    assert "signed" in signed
    assert len(place.guard.attempts("a")) == 1


async def test_an_oversized_frame_is_denied_and_ends_the_connection(place: Place) -> None:
    length = (MAX_FRAME_BYTES + 1).to_bytes(4, "big")
    answers = await said_to(place, length, to_frame(asked()))
    assert [answer["denied"]["reason"] for answer in answers] == [DenialReason.MALFORMED_REQUEST]
    assert place.guard.highest_nonce(1, KEY.address) is None


async def test_a_truncated_frame_is_counted_and_signs_nothing(place: Place) -> None:
    assert await said_to(place, to_frame(asked())[:-1], end=True) == []
    await asyncio.sleep(0.05)
    assert place.signer.counts.denied == {DenialReason.MALFORMED_REQUEST: 1}
    assert place.guard.highest_nonce(1, KEY.address) is None


async def test_connections_are_counted_and_one_too_many_is_not_answered(place: Place, remote: RemoteSigner) -> None:
    """Else an asker could use up the process's file descriptors, and no halt would reach its control socket."""
    assert await remote.highest_nonces(1) == {KEY.address: None}
    links = [await asyncio.open_unix_connection(str(place.path)) for _ in range(MAX_CONNECTIONS)]
    reader, _ = links[-1]
    assert await asyncio.wait_for(reader.read(), 5) == b"", "the last one is hung up on"
    assert place.signer.counts.strangers == 1
    assert await remote.highest_nonces(1) == {KEY.address: None}, "who was there before is answered"
    for _, writer in links:
        writer.close()
    await asyncio.sleep(0.1)
    assert len(await said_to(place, to_frame(asked()))) == 1, "and there is room again"


async def test_a_signer_that_is_not_there_is_unreachable_and_then_found_again(
    tmp_path: Path, place: Place, remote: RemoteSigner
) -> None:
    await remote.sign_transaction(request(attempt=1))
    await place.server.stop()
    await asyncio.sleep(0.05)
    with pytest.raises(SignerUnreachableError):
        await remote.sign_transaction(request(attempt=2, max_fee_per_gas_wei=30 * 10**9))
    again = SigningServer(place.signer, uids=OWN)
    await again.start(place.path)
    assert (await remote.sign_transaction(request(attempt=2, max_fee_per_gas_wei=30 * 10**9))).number == 2
    await again.stop()


async def test_a_signer_that_does_not_answer_costs_the_time_limit_only(tmp_path: Path) -> None:
    server = await asyncio.start_unix_server(lambda reader, writer: asyncio.sleep(60), sock=listen(tmp_path / "s"))
    client = RemoteSigner(tmp_path / "s", time_limit_s=0.1)
    with pytest.raises(SignerUnreachableError, match=r"within 0\.1 s"):
        await client.sign_transaction(request())
    await client.close()
    server.close()


async def test_a_silent_signer_is_asked_less_and_less_often_and_at_once_when_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dexlane_signer.client.PAUSES_S", (0.2, 0.4))
    questions: list[int] = []
    is_awake = False

    async def listen_to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.read(4):
            question = to_object(await reader.readexactly(int.from_bytes(head, "big")))
            questions.append(question["id"])
            if is_awake:
                writer.write(to_frame({"id": question["id"], "nonces": {}}))

    server = await asyncio.start_unix_server(listen_to, sock=listen(tmp_path / "s"))
    client = RemoteSigner(tmp_path / "s", time_limit_s=0.05)
    for wait_s, answer in ((0.0, "within"), (0.0, "asked again in 0.2 s"), (0.25, "within"), (0.25, "asked again in")):
        await asyncio.sleep(wait_s)
        with pytest.raises(SignerUnreachableError, match=answer):
            await client.highest_nonces(1)
        assert "did not answer" in client.silence
    assert len(questions) == 2, "in between nobody asked, and nobody waited"
    is_awake = True
    await asyncio.sleep(0.2)
    assert await client.highest_nonces(1) == {}
    assert client.silence == ""
    assert await client.highest_nonces(1) == {}
    await client.close()
    server.close()


async def test_a_signer_that_is_gone_is_tried_with_every_question(tmp_path: Path, place: Place) -> None:
    client = RemoteSigner(tmp_path / "later", time_limit_s=20)
    for _ in range(3):
        with pytest.raises(SignerUnreachableError, match="does not answer"):
            await client.highest_nonces(1)
    again = SigningServer(place.signer, uids=OWN)
    await again.start(tmp_path / "later")
    assert await client.highest_nonces(1) == {KEY.address: None}
    assert client.silence == ""
    await client.close()
    await again.stop()


ODD_ANSWERS: list[dict[str, Any]] = [
    {},
    {"signed": None},
    {"signed": {"raw": "0x02", "number": 1, "kind": "trade"}},
    {"signed": {"raw": "0x", "number": 1}},
    {"denied": {"reason": "no such reason", "sentence": ""}},
    {"denied": "no"},
]


@pytest.mark.parametrize("odd", ODD_ANSWERS, ids=str)
async def test_an_answer_in_another_language_is_no_signature(tmp_path: Path, odd: dict[str, Any]) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4)
        writer.write(to_frame({"id": 1, **odd}))

    server = await asyncio.start_unix_server(speak, sock=listen(tmp_path / "s"))
    client = RemoteSigner(tmp_path / "s", time_limit_s=1)
    with pytest.raises(SignerUnreachableError):
        await client.sign_transaction(request())
    await client.close()
    server.close()


@pytest.mark.parametrize("asked_for", [of_record(8), of_record(7, 2), of_record(7, chain_id=10)], ids=str)
async def test_an_attempt_of_another_place_is_not_taken_for_the_record(
    place: Place, tmp_path: Path, asked_for: RecordRequest
) -> None:
    signed = place.signer.sign_transaction(request())
    found = {"intent_id": "a", "signed": {"raw": dump(signed.raw), "number": 1, "kind": "trade"}}
    assert await answered_with(tmp_path, {"record": found}, of_record(7)) == SignedBefore("a", signed)
    with pytest.raises(SignerUnreachableError, match="another place"):
        await answered_with(tmp_path, {"record": found}, asked_for)


TOLD = {"hash": "0x" + "ab" * 32, "number": 1, "kind": "trade", "transaction": dump(transaction())}
ODD_RECORDS: list[Any] = [
    {},
    {"intent_id": "a"},
    {"intent_id": 1, "signed": {}},
    [],
    "a",
    {"intent_id": "a", "told": {}},
    *({"intent_id": "a", "told": {**TOLD, **odd}} for odd in ({"hash": "0xab"}, {"number": "1"}, {"kind": "x"})),
    {"intent_id": "a", "told": {**TOLD, "transaction": {}}},
]


@pytest.mark.parametrize("odd", ODD_RECORDS, ids=str)
async def test_a_record_in_another_language_is_none(tmp_path: Path, odd: Any) -> None:
    with pytest.raises(SignerUnreachableError):
        await answered_with(tmp_path, {"record": odd}, of_record(7))


async def answered_with(folder: Path, answer: dict[str, Any], asked_for: RecordRequest) -> SignedBefore | None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4)
        writer.write(to_frame({"id": 1, **answer}))

    server = await asyncio.start_unix_server(speak, sock=listen(folder / "other"))
    client = RemoteSigner(folder / "other", time_limit_s=1)
    try:
        return await client.signed_before(asked_for)
    finally:
        await client.close()
        server.close()


async def test_an_answer_for_another_slot_is_refused(place: Place, tmp_path: Path) -> None:
    other = place.signer.sign_transaction(request(nonce=8))

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4)
        writer.write(to_frame({"id": 1, "signed": {"raw": dump(other.raw), "number": 1, "kind": "trade"}}))

    server = await asyncio.start_unix_server(speak, sock=listen(tmp_path / "fake"))
    client = RemoteSigner(tmp_path / "fake", time_limit_s=1)
    with pytest.raises(SignerUnreachableError, match="another slot"):
        await client.sign_transaction(request(nonce=7))
    await client.close()
    server.close()


async def test_the_place_of_a_socket_is_taken_over_only_from_the_dead(tmp_path: Path, place: Place) -> None:
    with pytest.raises(SocketTakenError, match="another process listens"):
        listen(place.path)
    (tmp_path / "file").touch()
    with pytest.raises(SocketTakenError, match="is no socket"):
        listen(tmp_path / "file")
    listen(tmp_path / "left").close()
    listen(tmp_path / "left").close()
