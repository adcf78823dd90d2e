"""A node behind HTTP, contracts that claim a delay, and who may have rights: read strictly, whatever comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import httpx
import orjson
import pytest

from dexlane.chain.link import Request, RpcError, RpcUnavailable
from dexlane.chain.token_check import http_node
from dexlane.chain.token_check.check import known_market
from dexlane.chain.token_check.delays import delay_of
from dexlane.chain.token_check.http_node import HttpNode
from dexlane.chain.token_check.probe import selector
from dexlane.chain.token_check.subject import NoSubjectError, read_head, read_subject

TOKEN, ROUTER, OWNER = "0x" + "7" * 40, "0x" + "6" * 40, "0x" + "5" * 40
Answer = Callable[[list[dict[str, Any]]], bytes]


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], HttpNode]:
    """A node whose answers a test makes."""

    def make(answer: Answer) -> HttpNode:
        def handle(request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=answer(orjson.loads(request.content)))

        node = HttpNode("http://node.example/key", 1.0)
        monkeypatch.setattr(node, "_client", httpx.AsyncClient(transport=httpx.MockTransport(handle)))
        return node

    return make


async def test_answers_are_matched_by_their_ids_in_any_order(behind: Any) -> None:
    def backwards(requests: list[dict[str, Any]]) -> bytes:
        found = [{"id": each["id"], "result": each["params"][0]} for each in requests]
        found[1] = {"id": 1, "error": {"code": 3, "message": "execution reverted", "data": "0x"}}
        return orjson.dumps(found[::-1])

    async with behind(backwards) as node:
        first, second, third = await node.batch([("a", ("x",)), ("b", ("y",)), ("c", ("z",))])
    assert (first, third) == ("x", "z")
    assert isinstance(second, RpcError)
    assert second.code == 3


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b'[{"id":7,"result":1}]', b'{"id":null,"error":{"code":-32600}}', b"[1,2]", b"[" + b" " * 99],
    ids=["html", "nothing", "another id", "no id", "no objects", "cut off"],
)
async def test_nonsense_is_no_answer(behind: Any, body: bytes) -> None:
    async with behind(lambda _: body) as node:
        with pytest.raises(RpcUnavailable):
            await node.call("eth_chainId")


async def test_an_endless_answer_is_cut_off(behind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_node, "MAX_ANSWER_BYTES", 1_000)
    async with behind(lambda _: b" " * 2_000) as node:
        with pytest.raises(RpcUnavailable, match="longer than"):
            await node.call("eth_chainId")


async def test_a_refusal_is_an_error_and_no_address_leaks(behind: Any) -> None:
    async with behind(lambda _: b'[{"id":0,"error":{"code":-32601,"message":"no such method"}}]') as node:
        with pytest.raises(RpcError, match="no such method"):
            await node.call("eth_simulateV1")
        assert await node.batch([]) == []

    def fail(_: Any) -> bytes:
        raise httpx.ConnectError("refused")

    async with behind(fail) as node:
        with pytest.raises(RpcUnavailable) as raised:
            await node.call("eth_chainId")
    assert "key" not in str(raised.value)


class Chain:
    """Contracts by address: code, and answers by function."""

    def __init__(self, codes: dict[str, bytes], answers: dict[tuple[str, str], int]) -> None:
        self._codes = codes
        self._answers = {(to, "0x" + selector(name).hex()): value for (to, name), value in answers.items()}

    async def call(self, method: str, *params: Any, timeout_s: float | None = None) -> Any:
        """One request."""
        [answer] = await self.batch([(method, params)], timeout_s=timeout_s)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(self, requests: Sequence[Request], *, timeout_s: float | None = None) -> list[Any]:
        """Several."""
        del timeout_s
        return [self._answer(method, params) for method, params in requests]

    def _answer(self, method: str, params: Sequence[Any]) -> Any:
        if method == "eth_getCode":
            return "0x" + self._codes.get(params[0], b"").hex()
        if method == "eth_getStorageAt":
            return "0x" + "0" * 64
        if method != "eth_call":
            return None
        value = self._answers.get((params[0]["to"], params[0]["data"][:10]))
        return RpcError(3, "execution reverted") if value is None else f"0x{value:064x}"


def code_of(*signatures: str) -> bytes:
    """Code whose constants are these functions."""
    return b"".join(b"\x63" + selector(signature) + b"\x14" for signature in signatures)


LOCK, ADMIN = "0x" + "1" * 40, "0x" + "2" * 40
DAY = 86_400


async def test_a_timelock_delays_and_so_does_an_admin_that_one_owns() -> None:
    codes = {
        LOCK: code_of("getMinDelay()", "updateDelay(uint256)"),
        ADMIN: code_of("owner()", "upgrade(address,address)"),
    }
    chain = Chain(codes, {(LOCK, "getMinDelay()"): 2 * DAY, (ADMIN, "owner()"): int(LOCK, 16)})
    assert await delay_of(chain, LOCK, "latest") == 2 * DAY
    assert await delay_of(chain, ADMIN, "latest") == 2 * DAY


@pytest.mark.parametrize(
    ("codes", "answers"),
    [
        ({LOCK: code_of("getMinDelay()", "run(address,bytes)")}, {(LOCK, "getMinDelay()"): 7 * DAY}),
        ({}, {}),
        ({LOCK: code_of("owner()")}, {(LOCK, "owner()"): int(OWNER, 16)}),
        ({LOCK: code_of("owner()")}, {(LOCK, "owner()"): int(LOCK, 16)}),
        ({LOCK: code_of("owner()")}, {}),
        ({LOCK: code_of("getMinDelay()")}, {}),
    ],
    ids=["another function", "no code", "owned by a key", "owned by itself", "no owner", "no answer"],
)
async def test_a_claim_of_a_delay_is_no_evidence(codes: dict[str, bytes], answers: dict[tuple[str, str], int]) -> None:
    assert await delay_of(Chain(codes, answers), LOCK, "latest") is None


async def test_what_is_no_router_and_what_is_no_token_is_said() -> None:
    head = await read_head(_Heads(), None, 1.0)
    token = Chain({TOKEN: b"\1"}, {(TOKEN, "totalSupply()"): 1})
    with pytest.raises(NoSubjectError, match="does not answer as a router"):
        await read_subject(token, TOKEN, ROUTER, (), head)
    with pytest.raises(NoSubjectError, match="is no token") as raised:
        await read_subject(Chain({TOKEN: b"\1"}, {}), TOKEN, ROUTER, (), head)
    assert not raised.value.is_token
    with pytest.raises(NoSubjectError, match="does not have block 5"):
        await read_head(Chain({}, {}), 5, 1.0)


class _Heads(Chain):
    def __init__(self) -> None:
        super().__init__({}, {})

    def _answer(self, method: str, params: Sequence[Any]) -> Any:
        del method, params
        zeros = "0x" + "0" * 64
        return {"number": "0x5", "hash": zeros, "timestamp": "0x1", "gasLimit": "0x1", "miner": "0x" + "0" * 40}


def test_the_market_of_a_known_chain_is_known() -> None:
    router, quotes = known_market(1)
    assert router == "0x7a250d5630b4cf539739df2c5dacb4c659f2488d"
    assert quotes
    assert known_market(999_999) == (None, ())
