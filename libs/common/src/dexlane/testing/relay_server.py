"""A private relay on the loopback that builds blocks from what it was given, and on demand behaves as bad relays do.

async with RelayServer(seed=7) as relay:
    relay.conduct = Conduct(swallow=0.5, throttled=0.1)
    spec = relay.spec("first", RelayKind.PROTECT)
    ...
    build(chain, [relay, other])            # the next block of a FakeChain, with what their builders want in it
    await AnvilBuilder(url).build([relay])  # the same on anvil: bundles at their block, whole or not at all

It speaks all three dialects, checks the signature of bundles, and keeps a record of every request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Self

import httpx
from coincurve import PublicKey

from dexlane.chain.relays.auth import AuthKey
from dexlane.chain.relays.catalogue import DIALECTS, RelaySpec
from dexlane.chain.relays.http import RelayHttp
from dexlane.chain.relays.relay import Relay, RelayKind
from dexlane.chain.rpc import RpcError
from dexlane.testing.fake_chain import FakeChain
from dexlane.testing.fake_mempool import decode_transaction
from dexlane_signer import keccak256

PRIVATE_BLOCKS = 25
SENDING = frozenset({"eth_sendRawTransaction", "eth_sendPrivateTransaction", "eth_sendBundle"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """Chances, from zero to one, of what happens to bytes that are sent. At most one of them happens."""

    swallow: float = 0.0
    """Said to be taken, and never included."""
    leak: float = 0.0
    """Taken, and given to the public pool as well."""
    known: float = 0.0
    """Refused as "already known", and not held."""
    throttled: float = 0.0
    """HTTP status 429."""
    broken: float = 0.0
    """HTTP status 500."""
    garbage: float = 0.0
    """Not held, and something that is no JSON."""
    late: float = 0.0
    """Taken, and answered after ``late_s``."""
    late_s: float = 5.0
    drip_s: float | None = None
    """Seconds from one byte of every answer to the next; None: answers come whole."""
    forgets_after: int | None = None
    """Blocks after which everything is forgotten, whatever was asked for."""
    status: str | None = None
    """What the status page says of everything; None: the truth."""
    includes_twice: bool = False
    """Offers what was included for the following blocks again."""
    ignores_cancels: bool = False
    """Says that it cancelled, and includes all the same."""


OUTCOMES = ("swallow", "leak", "known", "throttled", "broken", "garbage", "late")


@dataclass(slots=True)
class Held:
    """Bytes that the relay has. ``block`` is the only one that a bundle is for."""

    raw: bytes
    tx_hash: str
    until: int
    block: int | None = None
    uuid: str = ""
    swallowed: bool = False
    cancelled: bool = False


@dataclass(slots=True)
class RelayServer:
    """One relay. ``tip`` is what its builder takes for the newest block; building moves it on."""

    seed: int = 0
    conduct: Conduct = field(default_factory=Conduct)
    tip: int = 0
    held: dict[str, Held] = field(default_factory=dict)
    included: set[str] = field(default_factory=set)
    leaks: list[bytes] = field(default_factory=list)
    """What it wants everybody to see; whoever drives the chain gives it to the public pool."""
    requests: list[tuple[str, Any]] = field(default_factory=list)
    signers: set[str] = field(default_factory=set)
    chances: Random = field(init=False)
    server: asyncio.Server | None = None
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    talking: set[asyncio.Task[Any]] = field(default_factory=set)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Seed what it does."""
        self.chances = Random(self.seed)  # noqa: S311 - repeatable on purpose

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.server is not None:
            self.server.close()
        self.closing.set()
        for writer in list(self.writers):
            writer.close()  # whoever waits for a request learns that there is none
        await asyncio.gather(*self.talking, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        if self.server is None:
            raise AssertionError("the relay is not started")
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    def spec(self, name: str, kind: RelayKind) -> RelaySpec:
        """How settings would describe it."""
        status = None if kind is RelayKind.BUNDLES else f"{self.url}/tx/"
        return RelaySpec(name=name, kind=kind, url=self.url, status_url=status)

    def asked(self, method: str) -> int:
        """How often a method was called."""
        return sum(name == method for name, _ in self.requests)

    def offers(self, tip: int) -> Iterator[Held]:
        """What its builder wants in the block after ``tip``."""
        self.tip = tip
        for held in list(self.held.values()):
            is_over = tip >= held.until or (held.block is not None and held.block != tip + 1)
            again = self.conduct.includes_twice or held.tx_hash not in self.included
            honoured = not held.cancelled or self.conduct.ignores_cancels
            if not is_over and not held.swallowed and honoured and again:
                yield held

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self.talking.add(task)
            task.add_done_callback(self.talking.discard)
        self.writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = first.split(" ")
                status, answer = await self.answer(method, path, headers, body)
                lead = f"HTTP/1.1 {status} {'OK' if status == 200 else 'No'}\r\ncontent-length: {len(answer)}\r\n\r\n"
                await self._write(writer, lead.encode() + answer)
        self.writers.discard(writer)
        writer.close()

    async def _write(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        drip_s = self.conduct.drip_s
        pieces = [answer] if drip_s is None else [bytes((byte,)) for byte in answer]
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if drip_s is not None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.closing.wait(), drip_s)

    async def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """HTTP status and body of an answer."""
        return self._page(path) if method == "GET" else await self._call(body, headers)

    def client(self, name: str, kind: RelayKind, auth: AuthKey) -> Relay:
        """A client that reaches it without a network, for worlds of one process; nothing is listened on."""

        async def answered(request: httpx.Request) -> httpx.Response:
            headers = {key.lower(): value for key, value in request.headers.items()}
            status, body = await self.answer(request.method, request.url.path, headers, request.content)
            return httpx.Response(status, stream=httpx.ByteStream(body))

        status_url = None if kind is RelayKind.BUNDLES else f"http://{name}/tx/"
        transport = httpx.MockTransport(answered)
        return DIALECTS[kind](name, RelayHttp(f"http://{name}/", auth, status_url=status_url, transport=transport))

    def _page(self, path: str) -> tuple[int, bytes]:
        tx_hash = path.rpartition("/")[2]
        held = self.held.get(tx_hash)
        truth = (
            "INCLUDED"
            if tx_hash in self.included
            else "UNKNOWN"
            if held is None
            else "CANCELLED"
            if held.cancelled
            else "FAILED"
            if self.tip >= held.until
            else "PENDING"
        )
        return 200, json.dumps({"status": self.conduct.status or truth, "hash": tx_hash}).encode()

    async def _call(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        request = json.loads(body)
        method, params = request["method"], request["params"]
        self.requests.append((method, params))
        signature = headers.get("x-flashbots-signature")
        if signature is not None:
            self.signers.add(check_signature(signature, body))
        elif method in {"eth_sendBundle", "eth_cancelBundle"}:
            return _error("signature is required")
        if method in SENDING:
            return await self._take(method, params)
        if method == "eth_cancelPrivateTransaction":
            return self._cancel([params[0]["txHash"]])
        if method == "eth_cancelBundle":
            return self._cancel([key for key, held in self.held.items() if held.uuid == params[0]["replacementUuid"]])
        return _error(f"the method {method} does not exist")

    async def _take(self, method: str, params: Sequence[Any]) -> tuple[int, bytes]:
        held = self._read(method, params)
        fate = self._fate()
        if fate in {"throttled", "broken"}:
            return (429 if fate == "throttled" else 500), b'{"error": "not now"}'
        if fate == "garbage":
            return 200, b"<html>welcome"
        if fate == "known":
            return _error("already known")
        held.swallowed = fate == "swallow"
        self.held[held.tx_hash] = held
        if fate == "leak":
            self.leaks.append(held.raw)
        if fate == "late":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.closing.wait(), self.conduct.late_s)
        result = {"bundleHash": held.tx_hash} if method == "eth_sendBundle" else held.tx_hash
        return 200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()

    def _read(self, method: str, params: Sequence[Any]) -> Held:
        asked: Any = params[0]
        text = asked if isinstance(asked, str) else asked["tx"] if "tx" in asked else asked["txs"][0]
        raw = bytes.fromhex(text.removeprefix("0x"))
        tx_hash = decode_transaction(raw).hash
        block = int(asked["blockNumber"], 16) if method == "eth_sendBundle" else None
        wished = int(asked["maxBlockNumber"], 16) if method == "eth_sendPrivateTransaction" else block
        until = min(self.tip + (self.conduct.forgets_after or PRIVATE_BLOCKS), wished or self.tip + PRIVATE_BLOCKS)
        return Held(raw, tx_hash, until, block, "" if block is None else asked["replacementUuid"])

    def _fate(self) -> str:
        drawn = self.chances.random()
        for name in OUTCOMES:
            drawn -= getattr(self.conduct, name)
            if drawn < 0:
                return name
        return "taken"

    def _cancel(self, hashes: Iterable[str]) -> tuple[int, bytes]:
        known = [self.held[tx_hash] for tx_hash in hashes if tx_hash in self.held]
        for held in known:
            held.cancelled = True
        return 200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": bool(known)}).encode()


def _error(message: str) -> tuple[int, bytes]:
    return 200, json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32_000, "message": message}}).encode()


def check_signature(header: str, body: bytes) -> str:
    """The address that signed a request's body; ``AssertionError`` when the header names another one."""
    address, _, signature = header.partition(":")
    text = b"0x" + keccak256(body).hex().encode()
    digest = keccak256(b"\x19Ethereum Signed Message:\n66" + text)
    raw = bytes.fromhex(signature.removeprefix("0x"))
    point = PublicKey.from_signature_and_message(raw[:64] + bytes((raw[64] - 27,)), digest, hasher=None)
    signer = "0x" + keccak256(point.format(compressed=False)[1:])[12:].hex()
    if signer != address.lower():
        raise AssertionError(f"{address} did not sign this: {signer} did")
    return signer


def build(chain: FakeChain, relays: Sequence[RelayServer], **options: Any) -> None:
    """The next block of a chain in memory, with what the relays offer and the public pool. Nobody sees anything of it
    before it is there."""
    for relay in relays:
        while relay.leaks:
            with contextlib.suppress(RpcError):
                chain.submit(relay.leaks.pop())
    public = dict(chain.pool)
    for relay in relays:
        for held in relay.offers(chain.tip.number):
            with contextlib.suppress(RpcError):
                chain.submit(held.raw)
    offered = set(chain.pool) - set(public)
    chain.mine(**options)
    for tx_hash in offered & set(chain.pool):
        chain.drop(tx_hash)  # it did not fit into the block, and its builder shows it to nobody
    used = chain.blocks[-1].nonces
    chain.pool.update(
        {key: tx for key, tx in public.items() if key not in chain.pool and tx.nonce >= used.get(tx.sender, 0)}
    )
    hashes = {tx.hash for tx in chain.blocks[-1].transactions}
    for relay in relays:
        relay.included |= hashes & set(relay.held)
        relay.tip = chain.tip.number


class AnvilBuilder:
    """Builds blocks on anvil, whose own mining is switched off."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def call(self, method: str, *params: Any) -> Any:
        """Ask the node; ``RpcError`` for its refusal."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = (await self._client.post("", json=request)).json()
        if "error" in answer:
            raise RpcError(answer["error"].get("code", 0), answer["error"].get("message", ""))
        return answer["result"]

    async def build(self, relays: Sequence[RelayServer]) -> None:
        """One block with what the relays offer: each bundle whole, or the block without it."""
        tip = int(await self.call("eth_blockNumber"), 16)
        left_out: set[str] = set()
        for relay in relays:
            while relay.leaks:
                with contextlib.suppress(RpcError):
                    await self.call("eth_sendRawTransaction", "0x" + relay.leaks.pop().hex())
        while True:
            snapshot = await self.call("evm_snapshot")
            offered = {held.tx_hash: held for relay in relays for held in relay.offers(tip)}
            sent = {tx_hash for tx_hash in offered if tx_hash not in left_out}
            for tx_hash in list(sent):
                try:
                    await self.call("eth_sendRawTransaction", "0x" + offered[tx_hash].raw.hex())
                except RpcError:
                    sent.discard(tx_hash)
            await self.call("evm_mine")
            failed = {tx_hash for tx_hash in sent if not await self._succeeded(tx_hash)}
            if not failed:
                break
            await self.call("evm_revert", snapshot)
            left_out |= failed
        for relay in relays:
            relay.included |= sent & set(relay.held)
            relay.tip = tip + 1

    async def pooled(self) -> set[str]:
        """Hashes in the node's public pool."""
        content = await self.call("txpool_content")
        pools = [content.get("pending", {}), content.get("queued", {})]
        return {tx["hash"] for pool in pools for own in pool.values() for tx in own.values()}

    async def _succeeded(self, tx_hash: str) -> bool:
        receipt = await self.call("eth_getTransactionReceipt", tx_hash)
        return receipt is not None and int(receipt["status"], 16) == 1
