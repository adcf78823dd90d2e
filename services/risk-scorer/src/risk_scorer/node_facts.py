"""Token facts as a node tells them, and the caches that keep evidence about tokens between runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from dexlane.chain.abi import AbiError, Frame
from dexlane.chain.link import Request, RpcError
from dexlane.domain.risk.bytecode.proxies import IMPLEMENTATION_SLOTS
from dexlane.domain.risk.evidence import Seen, TokenFacts, TrialFacts
from dexlane.runtime.errors import Transient

DECIMALS, SYMBOL, OWNER = "0x313ce567", "0x95d89b41", "0x8da5cb5b"
"""Selectors of ``decimals()``, ``symbol()`` and ``owner()``."""
FACTS_KEPT_S = 7 * 86_400
TRIALS_KEPT_S = 6 * 3_600

_PER_TOKEN = 1 + len(IMPLEMENTATION_SLOTS) + 3


class BatchClient(Protocol):
    """The part of ``RpcClient`` that is needed here."""

    async def batch(self, requests: Sequence[Request], *, timeout_s: float | None = None) -> list[Any]:
        """Results in the order of the requests; refused ones as ``RpcError``. ``RpcUnavailable`` without an answer."""
        ...


async def read_facts(
    client: BatchClient, tokens: Sequence[str], timeout_s: float, on_code: Callable[[str, bytes], None]
) -> dict[str, TokenFacts]:
    """Ask the node about all tokens in one message; ``on_code`` is told hash and bytes of every code.

    ``Transient`` when the node does not answer, or refuses to.
    """
    requests = [request for token in tokens for request in _questions(token)]
    answers = await client.batch(requests, timeout_s=timeout_s)
    read = {
        token: _facts(token, answers[index * _PER_TOKEN : (index + 1) * _PER_TOKEN])
        for index, token in enumerate(tokens)
    }
    for index, facts in enumerate(read.values()):
        if facts.code_hash is not None:
            on_code(facts.code_hash, bytes.fromhex(answers[index * _PER_TOKEN][2:]))
    return read


def _questions(token: str) -> list[Request]:
    slots: list[Request] = [("eth_getStorageAt", (token, slot, "latest")) for slot in IMPLEMENTATION_SLOTS]
    calls: list[Request] = [
        ("eth_call", ({"to": token, "data": selector}, "latest")) for selector in (DECIMALS, SYMBOL, OWNER)
    ]
    return [("eth_getCode", (token, "latest")), *slots, *calls]


def _facts(token: str, answers: Sequence[Any]) -> TokenFacts:
    code, *rest = answers
    slots, calls = rest[: len(IMPLEMENTATION_SLOTS)], rest[len(IMPLEMENTATION_SLOTS) :]
    runtime = bytes.fromhex(_required(code)[2:])
    decimals, symbol, owner = (_returned(answer) for answer in calls)
    return TokenFacts(
        address=token,
        code_hash="0x" + hashlib.sha256(runtime).hexdigest() if runtime else None,
        decimals=_read(decimals, lambda frame: frame.uint(0, 8)),
        symbol=_symbol(symbol),
        implementation=next((address for slot in slots if (address := _slot_address(_required(slot)))), None),
        owner=_read(owner, lambda frame: frame.address(0)),
    )


def _required(answer: Any) -> str:
    if isinstance(answer, RpcError):
        raise Transient(f"the node refused to say what a token is: {answer}") from answer
    return str(answer)


def _returned(answer: Any) -> bytes:
    """What a call returned; nothing when the contract reverted. Any other refusal says nothing about the contract."""
    if isinstance(answer, RpcError):
        if answer.code == 3 or "revert" in answer.message.lower() or "invalid opcode" in answer.message.lower():
            return b""
        raise Transient(f"the node refused a call: {answer}") from answer
    return bytes.fromhex(str(answer)[2:])


def _read(data: bytes, field: Callable[[Frame], Any]) -> Any:
    try:
        return field(Frame(data))
    except AbiError:
        return None


def _symbol(data: bytes) -> str | None:
    """``symbol()`` as a string, or as the 32 bytes that early tokens return."""
    raw = data.rstrip(b"\0") if len(data) == 32 else _read(data, lambda frame: frame.byte_string(0))
    if not raw:
        return None
    text = bytes(raw).decode("utf-8", errors="replace")
    return "".join(letter for letter in text if letter.isprintable())[:64] or None


def _slot_address(word: str) -> str | None:
    value = int(word, 16) & ((1 << 160) - 1)
    return f"0x{value:040x}" if value else None


V = TypeVar("V", TokenFacts, TrialFacts)


class SeenCache(Generic[V]):
    """Evidence about the tokens of one chain in Redis. Losing it costs time; nothing is decided by its absence."""

    def __init__(self, redis: Redis, key: str, kept: tuple[type[V], int], on_lost: Callable[[str], None]) -> None:
        self._redis = redis
        self._key = key
        self._model: type[V] = kept[0]
        self._kept_s = kept[1]
        self._on_lost = on_lost

    def place(self, facts: V) -> str:
        """What a piece of evidence is kept under: the token's address."""
        return facts.address

    async def recall(self) -> dict[str, Seen[V]]:
        """Everything that is kept; nothing when the cache does not answer."""
        try:
            rows = await self._redis.hgetall(self._key)
        except (RedisError, OSError) as error:
            self._on_lost(str(error) or type(error).__name__)
            return {}
        found = (self._unpacked(row) for row in rows.values())
        return {self.place(seen.value): seen for seen in found if seen is not None}

    async def keep(self, facts: Iterable[Seen[V]]) -> None:
        """Write evidence, and begin its time anew."""
        rows: dict[Any, Any] = {self.place(seen.value): _packed(seen) for seen in facts}
        if not rows:
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hset(self._key, mapping=rows)
                pipe.expire(self._key, self._kept_s)
                await pipe.execute()
        except (RedisError, OSError) as error:
            self._on_lost(str(error) or type(error).__name__)

    async def close(self) -> None:
        """Let go of the connection."""
        await self._redis.aclose()

    def _unpacked(self, row: bytes | str) -> Seen[V] | None:
        """What another version wrote is no evidence."""
        try:
            content = orjson.loads(row)
            facts = self._model.model_validate(content["facts"])
            return Seen(facts, int(content["block"]), int(content["at_ms"]))
        except (ValueError, KeyError, TypeError):
            return None


class FactCache(SeenCache[TokenFacts]):
    """What the node said, for a week."""

    def __init__(self, redis: Redis, prefix: str, on_lost: Callable[[str], None]) -> None:
        super().__init__(redis, f"{prefix}:token-facts", (TokenFacts, FACTS_KEPT_S), on_lost)


class TrialCache(SeenCache[TrialFacts]):
    """What executed checks said, for some hours; older ones would be too old to count."""

    def __init__(self, redis: Redis, prefix: str, on_lost: Callable[[str], None]) -> None:
        super().__init__(redis, f"{prefix}:token-trials", (TrialFacts, TRIALS_KEPT_S), on_lost)

    def place(self, facts: TrialFacts) -> str:
        """A check is about a token in a pool."""
        return f"{facts.address} {facts.pool}"


def _packed(seen: Seen[Any]) -> bytes:
    return orjson.dumps({"block": seen.block, "at_ms": seen.at_ms, "facts": seen.value.model_dump(mode="json")})
