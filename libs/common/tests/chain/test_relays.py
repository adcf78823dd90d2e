"""The three kinds of relays over real HTTP, against one that answers well and badly."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from pydantic import ValidationError

from dexlane.chain.execution.settings import ExecutorSettings
from dexlane.chain.relays.auth import HEADER, AuthKey, as_body
from dexlane.chain.relays.catalogue import RelaySpec, connected, known_relays, named
from dexlane.chain.relays.http import RelayHttp
from dexlane.chain.relays.relay import Parcel, Relay, RelayAnswer, RelayKind, RelayStatus
from dexlane.domain.publish_answers import PublishAnswer
from dexlane.domain.relay_scores import Fault
from dexlane.runtime.errors import Misconfigured
from dexlane.testing.live_bench import KEY
from dexlane.testing.relay_server import Conduct, RelayServer
from dexlane_signer import DynamicFeeTransaction, PrivateKey, keccak256

SECRET = bytes.fromhex("22" * 32)
RAW = PrivateKey.from_hex(KEY).sign_transaction(
    DynamicFeeTransaction(
        chain_id=1,
        nonce=0,
        max_priority_fee_per_gas_wei=10**8,
        max_fee_per_gas_wei=10**9,
        gas_limit=21_000,
        to="0x" + "33" * 20,
        value_wei=1,
        data=b"",
    )
)
PARCEL = Parcel(raw=RAW.raw, tx_hash=RAW.hash, slot_key="1:0x0:0", tip=10, last_block=14, deadline_s=1_700_000_100)
every_kind = pytest.mark.parametrize("kind", list(RelayKind))


@asynccontextmanager
async def a_relay(kind: RelayKind, conduct: Conduct | None = None) -> AsyncIterator[tuple[Relay, RelayServer]]:
    async with RelayServer(conduct=conduct or Conduct(), tip=10) as server:
        [client] = connected([server.spec("one", kind)], AuthKey(SECRET))
        try:
            yield client, server
        finally:
            await client.stop()


@every_kind
async def test_bytes_are_taken_and_held_as_long_as_that_kind_of_relay_does(kind: RelayKind) -> None:
    async with a_relay(kind) as (client, server):
        handed_over: list[int] = []
        said = await client.send(PARCEL, lambda: handed_over.append(1))
        assert (said.answer, said.fault) == (PublishAnswer.ACCEPTED, None)
        lasts = {RelayKind.PROTECT: 14, RelayKind.PRIVATE_POOL: 35, RelayKind.BUNDLES: 11}
        assert said.until == server.held[RAW.hash].until == lasts[kind]
        assert handed_over == [1]


async def test_a_bundle_names_its_block_its_time_and_what_may_revert() -> None:
    async with a_relay(RelayKind.BUNDLES) as (client, server):
        await client.send(PARCEL)
        [(method, [bundle])] = server.requests
        assert method == "eth_sendBundle"
        uuid = bundle.pop("replacementUuid")
        assert bundle == {
            "txs": ["0x" + RAW.raw.hex()],
            "blockNumber": hex(11),
            "minTimestamp": 0,
            "maxTimestamp": PARCEL.deadline_s,
            "revertingTxHashes": [],
        }
        await client.cancel(PARCEL)
        assert server.requests[-1] == ("eth_cancelBundle", [{"replacementUuid": uuid}])
        assert server.signers == {AuthKey(SECRET).address}


@every_kind
async def test_a_cancel_says_whether_the_relay_says_that_it_forgot(kind: RelayKind) -> None:
    async with a_relay(kind) as (client, server):
        await client.send(PARCEL)
        assert await client.cancel(PARCEL) is (kind is not RelayKind.PRIVATE_POOL)
        assert server.held[RAW.hash].cancelled is (kind is not RelayKind.PRIVATE_POOL)


FAULTS = [
    (Conduct(throttled=1), Fault.RATE_LIMITED, PublishAnswer.RATE_LIMITED),
    (Conduct(broken=1), Fault.UNREACHABLE, PublishAnswer.UNKNOWN),
    (Conduct(garbage=1), Fault.GARBAGE, PublishAnswer.UNKNOWN),
]


@pytest.mark.parametrize(("conduct", "fault", "answer"), FAULTS, ids=[fault for _, fault, _ in FAULTS])
@every_kind
async def test_a_relays_own_faults_are_named(
    kind: RelayKind, conduct: Conduct, fault: Fault, answer: PublishAnswer
) -> None:
    async with a_relay(kind, conduct) as (client, _):
        said = await client.send(PARCEL)
        assert (said.fault, said.answer) == (fault, answer)


@every_kind
async def test_a_refusal_of_the_bytes_is_no_fault_of_the_relay(kind: RelayKind) -> None:
    async with a_relay(kind, Conduct(known=1)) as (client, _):
        said = await client.send(PARCEL)
        assert (said.answer, said.fault, said.text) == (PublishAnswer.ALREADY_KNOWN, None, "already known")


async def test_nobody_at_the_address_is_unreachable_and_status_says_nothing() -> None:
    spec = RelaySpec(name="gone", kind=RelayKind.PROTECT, url="http://127.0.0.1:9", status_url="http://127.0.0.1:9/tx/")
    [client] = connected([spec], None)
    assert (await client.send(PARCEL)).fault is Fault.UNREACHABLE
    assert await client.status(RAW.hash) is RelayStatus.UNKNOWN
    assert await client.cancel(PARCEL) is False
    await client.stop()


async def test_an_answer_that_comes_too_late_may_have_been_taken() -> None:
    async with RelayServer(conduct=Conduct(late=1, late_s=30)) as server:
        http = RelayHttp(server.url, None, timeout_s=0.1)
        reply = await http.call("eth_sendRawTransaction", ["0x" + RAW.raw.hex()])
        assert reply.fault is not None
        assert reply.fault[0] is Fault.UNREACHABLE
        assert RAW.hash in server.held
        await http.close()


async def test_a_relay_that_answers_byte_by_byte_is_not_waited_for() -> None:
    async with RelayServer(conduct=Conduct(drip_s=0.02)) as server:
        http = RelayHttp(server.url, None, status_url=f"{server.url}/tx/", timeout_s=0.2)
        reply = await http.call("eth_sendRawTransaction", ["0x" + RAW.raw.hex()])
        assert reply.fault == (Fault.UNREACHABLE, "no whole answer in time")
        assert RAW.hash in server.held
        assert await http.status(RAW.hash) == ""
        await http.close()


@pytest.mark.parametrize(
    ("page", "word"),
    [
        ("PENDING", RelayStatus.PENDING),
        ("included", RelayStatus.INCLUDED),
        ("FAILED", RelayStatus.GONE),
        ("CANCELLED", RelayStatus.GONE),
        ("UNKNOWN", RelayStatus.UNKNOWN),
        ("HAPPY", RelayStatus.UNKNOWN),
    ],
)
async def test_the_status_page_is_read_and_what_it_does_not_say_is_unknown(page: str, word: RelayStatus) -> None:
    async with a_relay(RelayKind.PROTECT, Conduct(status=page)) as (client, _):
        assert await client.status(RAW.hash) is word


async def raw_answers(body: bytes, status: int = 200, header: bytes = b"") -> RelayAnswer:
    """What a client makes of an answer that is given byte by byte."""
    import asyncio

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        writer.write(b"HTTP/1.1 %d X\r\n%bcontent-length: %d\r\n\r\n" % (status, header, len(body)) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    [client] = connected([RelaySpec(name="odd", kind=RelayKind.PRIVATE_POOL, url=url)], None)
    try:
        return await client.send(PARCEL)
    finally:
        await client.stop()
        server.close()


@pytest.mark.parametrize(
    ("answer", "status", "expected"),
    [
        ({"result": "0x" + "00" * 32}, 200, (PublishAnswer.UNKNOWN, Fault.GARBAGE)),
        ({"result": None}, 200, (PublishAnswer.UNKNOWN, Fault.GARBAGE)),
        ([], 200, (PublishAnswer.UNKNOWN, Fault.GARBAGE)),
        ({"error": "nonce too low"}, 400, (PublishAnswer.NONCE_TOO_LOW, None)),
        ({"error": {"code": "x", "message": "rate limit"}}, 403, (PublishAnswer.RATE_LIMITED, Fault.RATE_LIMITED)),
        ({"hello": 1}, 404, (PublishAnswer.UNKNOWN, Fault.GARBAGE)),
        ({"result": RAW.hash.upper().replace("0X", "0x")}, 200, (PublishAnswer.ACCEPTED, None)),
    ],
)
async def test_odd_answers_are_read_for_what_they_are_worth(
    answer: Any, status: int, expected: tuple[PublishAnswer, Fault | None]
) -> None:
    said = await raw_answers(json.dumps(answer).encode(), status)
    assert (said.answer, said.fault) == expected


async def test_a_compressed_answer_is_read_and_one_that_only_says_so_is_garbage() -> None:
    body, header = json.dumps({"result": RAW.hash}).encode(), b"content-encoding: gzip\r\n"
    assert (await raw_answers(gzip.compress(body), header=header)).answer is PublishAnswer.ACCEPTED
    assert (await raw_answers(body, header=header)).fault is Fault.GARBAGE


async def test_an_answer_without_end_is_garbage() -> None:
    assert (await raw_answers(b"[" * 1_100_000)).fault is Fault.GARBAGE


DEEP = [b"[" * depth + b"]" * depth for depth in (1_000, 1_020, 200_000)]
"""The first two can be read and not printed, the last cannot be read."""


@pytest.mark.parametrize("deep", DEEP, ids=[str(len(deep)) for deep in DEEP])
@pytest.mark.parametrize("answer", [b"%b", b'{"error":%b}', b'{"error":{"message":%b}}', b'{"result":%b}'])
async def test_an_answer_of_lists_in_lists_is_an_answer_like_any_other(answer: bytes, deep: bytes) -> None:
    said = await raw_answers(answer % deep)
    assert said.answer is not PublishAnswer.ACCEPTED
    assert said.text == "" or said.fault is Fault.GARBAGE


@pytest.mark.parametrize("deep", DEEP, ids=[str(len(deep)) for deep in DEEP])
@pytest.mark.parametrize("page", [b"%b", b'{"status":%b}'])
async def test_a_status_page_of_lists_in_lists_says_nothing(page: bytes, deep: bytes) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(page % deep)))
    http = RelayHttp("http://odd/", None, status_url="http://odd/tx/", transport=transport)
    assert await http.status(RAW.hash) == ""
    await http.close()


def test_the_signature_is_what_other_libraries_make() -> None:
    body = as_body("eth_sendBundle", [{"txs": []}])
    address, _, signature = AuthKey(SECRET).header(body).partition(":")
    signed = Account.sign_message(encode_defunct(text="0x" + keccak256(body).hex()), SECRET)
    assert address == Account.from_key(SECRET).address
    assert signature == "0x" + bytes(signed.signature).hex()
    assert HEADER == "X-Flashbots-Signature"


def test_the_auth_key_shows_itself_nowhere_and_lies_where_nobody_else_reads(tmp_path: Path) -> None:
    file = tmp_path / "auth.key"
    file.write_text("0x" + SECRET.hex() + "\n")
    file.chmod(0o600)
    key = AuthKey.read(file)
    assert key.address == AuthKey(SECRET).address
    assert SECRET.hex() not in repr(key)
    with pytest.raises(TypeError):
        key.__reduce__()
    file.chmod(0o640)
    with pytest.raises(Misconfigured, match="chmod 600"):
        AuthKey.read(file)
    file.chmod(0o600)
    for text in ("", "zz", "22" * 31):
        file.write_text(text)
        with pytest.raises(Misconfigured, match=r"relay auth key auth\.key is no readable file of 64 hex digits"):
            AuthKey.read(file)
    for text in ("00" * 32, "ff" * 32):
        file.write_text(text)
        with pytest.raises(Misconfigured, match="is no secp256k1 key"):
            AuthKey.read(file)
    with pytest.raises(Misconfigured):
        AuthKey.read(tmp_path / "nowhere")


def test_every_known_relay_is_private_on_its_way_and_far_away() -> None:
    assert {name for _, name in known_relays()} >= {"flashbots-protect", "mev-blocker", "titan"}
    for spec in known_relays().values():
        assert spec.url.startswith("https://")
        assert not spec.is_loopback
    assert {kind for spec in known_relays().values() for kind in [spec.kind]} == set(RelayKind)


@pytest.mark.parametrize(
    ("relays", "sentence"),
    [
        ({1: ["mev-blocker"]}, "nothing of the devnet leaves it"),
        ({1: ["nobody"]}, "no relay named 'nobody' is known on chain 1"),
        ({10: ["mev-blocker"]}, "is known on chain 10 \\(known: none\\)"),
        ({1: [{"name": "a", "kind": "private_pool", "url": "http://relay.example"}]}, "an https:// address is needed"),
        ({1: [{"name": "a", "kind": "bundles", "url": "http://127.0.0.1:1"}]}, "set relay_auth_key_file"),
        ({1: [{"name": "a", "kind": "private_pool", "url": "http://127.0.0.1:1"}] * 2}, "have one name"),
        (
            {1: [{"name": "a", "kind": "bundles", "url": "http://127.0.0.1:1", "status_url": "http://127.0.0.1:1"}]},
            "bundles have no status page",
        ),
    ],
)
def test_settings_refuse_relays_that_cannot_be_meant(relays: dict[int, Sequence[Any]], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        ExecutorSettings(port=1, relays=relays)


def test_no_relay_is_named_by_default_and_a_signed_one_needs_its_key() -> None:
    assert ExecutorSettings(port=1).relays == {}
    spec = named(1, ["titan"])
    with pytest.raises(Misconfigured, match="set relay_auth_key_file"):
        connected(spec, None)
