"""Token facts as a node tells them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from dexlane.chain.abi import AbiError, Frame
from dexlane.chain.link import Request, RpcError
from dexlane.chain.token_facts import is_execution_failure
from dexlane.domain.risk.bytecode.proxies import IMPLEMENTATION_SLOTS
from dexlane.domain.risk.evidence import TokenFacts
from dexlane.runtime.errors import Transient

DECIMALS, SYMBOL, OWNER = "0x313ce567", "0x95d89b41", "0x8da5cb5b"
"""Selectors of ``decimals()``, ``symbol()`` and ``owner()``."""

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
            on_code(facts.code_hash, _bytes(answers[index * _PER_TOKEN]))
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
    runtime = _bytes(_required(code))
    decimals, symbol, owner = (_returned(answer) for answer in calls)
    return TokenFacts(
        address=token,
        code_hash="0x" + hashlib.sha256(runtime).hexdigest() if runtime else None,
        decimals=_read(decimals, lambda frame: frame.uint(0, 8)),
        symbol=_symbol(symbol),
        implementation=next((address for slot in slots if (address := _slot_address(_required(slot)))), None),
        owner=_read(owner, lambda frame: frame.address(0)),
    )


def _required(answer: Any) -> Any:
    if isinstance(answer, RpcError):
        raise Transient(f"the node refused to say what a token is: {answer}") from answer
    return answer


def _bytes(answer: Any) -> bytes:
    """Bytes in hex. ``Transient`` for anything else: the node stammers."""
    try:
        if answer.startswith("0x"):
            return bytes.fromhex(answer[2:])
    except (AttributeError, TypeError, ValueError) as error:
        raise Transient(f"an answer of the node about a token cannot be read: {error}") from error
    raise Transient("an answer of the node about a token is not in hex")


def _returned(answer: Any) -> bytes:
    """What a call returned; nothing when the contract's code failed. Any other refusal says nothing about it.

    However the code fails, it fails alone: a token must not keep the node's word on all others from us.
    """
    if isinstance(answer, RpcError):
        if is_execution_failure(answer):
            return b""
        raise Transient(f"the node refused a call: {answer}") from answer
    return _bytes(answer)


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


def _slot_address(word: Any) -> str | None:
    value = int.from_bytes(_bytes(word), "big") & ((1 << 160) - 1)
    return f"0x{value:040x}" if value else None
