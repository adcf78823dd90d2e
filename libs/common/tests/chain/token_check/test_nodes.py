"""A node behind HTTP, contracts that claim a delay, and who may have rights: read strictly, whatever comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest

from dexlane.chain.keccak import keccak256
from dexlane.chain.link import RpcError, RpcUnavailable
from dexlane.chain.token_check import http_node
from dexlane.chain.token_check.asking import NoSubjectError, read_head
from dexlane.chain.token_check.delays import delay_of
from dexlane.chain.token_check.http_node import HttpNode
from dexlane.chain.token_check.pools import Market as At
from dexlane.chain.token_check.pools import Where, known_markets, known_quotes
from dexlane.chain.token_check.probe import selector
from dexlane.chain.token_check.subject import LOG_BLOCKS, MAX_AUTHORITIES, Subject, read_subject
from dexlane.domain.risk.bytecode.proxies import BEACON_SLOT, EIP_1822_SLOT, EIP_1967_SLOT, IMPLEMENTATION_SLOTS
from dexlane.testing.told_node import ToldNode

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


class Chain(ToldNode):
    """Contracts by address: code, and answers by function."""

    def __init__(self, codes: dict[str, bytes], answers: dict[tuple[str, str], int]) -> None:
        super().__init__(self._answer)
        self._codes = codes
        self._answers = {(to, "0x" + selector(name).hex()): value for (to, name), value in answers.items()}

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


HERE = Where((At("uniswap_v2", ROUTER),))
PAIR, WETH, FACTORY = "0x" + "3" * 40, "0x" + "4" * 40, "0x" + "8" * 40
PEOPLE = ["0x" + digits * 20 for digits in ("9a", "ab", "bc", "cd", "de", "ef", "a9")]


class Market(Chain):
    """A token with a pool; its events, slots and head are the test's."""

    def __init__(self, code: bytes, *, titles: Any = (), births: Any = (), slots: dict[str, str] | None = None) -> None:
        answers = {
            (TOKEN, "totalSupply()"): 10**24,
            (ROUTER, "factory()"): int(FACTORY, 16),
            (ROUTER, "WETH()"): int(WETH, 16),
            (FACTORY, "getPair(address,address)"): int(PAIR, 16),
        }
        super().__init__({TOKEN: code}, answers)
        self._titles, self._births, self._slots = titles, births, slots or {}

    def _answer(self, method: str, params: Sequence[Any]) -> Any:
        if method == "eth_getLogs":
            found = self._titles if isinstance(params[0]["topics"][0], list) else self._births
            return list(found) if isinstance(found, tuple) else found
        if method == "eth_getStorageAt":
            return "0x" + self._slots.get(params[1], "0x")[2:].rjust(64, "0")
        if method == "eth_call" and params[0]["to"] == PAIR:
            return "0x" + f"{10**20:064x}" * 2
        return super()._answer(method, params)

    async def subject(self, number: int = 5) -> Subject:
        """What is read of it at a block."""
        head = await read_head(_Heads(), None, 1.0)
        return await read_subject(self, TOKEN, HERE, replace(head, number=number))


def event(signature: str, *people: str) -> dict[str, Any]:
    """A log of an event whose arguments are all indexed."""
    topics = [keccak256(signature.encode()), *(bytes.fromhex(each[2:]).rjust(32, b"\0") for each in people)]
    return {"topics": ["0x" + topic.hex() for topic in topics]}


def minted(*people: str) -> tuple[dict[str, Any], ...]:
    """First tokens of these."""
    return tuple(event("Transfer(address,address,uint256)", "0x" + "0" * 40, who) for who in people)


def titled(*people: str) -> tuple[dict[str, Any], ...]:
    """Owners, each after the other."""
    return tuple(event("OwnershipTransferred(address,address)", "0x" + "0" * 40, who) for who in people)


async def test_receivers_of_first_tokens_push_nobody_out_who_may_have_rights() -> None:
    slots = {"0x0": PEOPLE[6]}
    found = await Market(code_of("run()"), births=minted(*PEOPLE[:6]), slots=slots).subject()
    assert found.callers[0] == PEOPLE[6]
    assert len(found.callers) == MAX_AUTHORITIES
    assert found.missing == ()


async def test_accounts_beyond_the_limit_are_said() -> None:
    found = await Market(code_of("run()"), titles=titled(*PEOPLE)).subject()
    assert len(found.callers) == MAX_AUTHORITIES
    assert found.missing == ("2 accounts that may have rights were not tried: there are too many",)
    many = await Market(code_of("run()"), titles=titled(*[PEOPLE[0]] * 30, *PEOPLE[:6])).subject()
    assert many.missing == ("1 accounts that may have rights were not tried: there are too many",)


@pytest.mark.parametrize("answer", [RpcError(-32005, "too many blocks"), None], ids=["refused", "nothing"])
async def test_a_node_that_does_not_tell_events_leaves_something_unseen(answer: Any) -> None:
    found = await Market(code_of("run()"), titles=answer).subject()
    assert found.missing == ("the node does not tell the events of owners and roles",)


async def test_roles_that_were_granted_before_the_events_read_are_said() -> None:
    with_roles = code_of("hasRole(bytes32,address)")
    late = await Market(with_roles).subject(LOG_BLOCKS + 1)
    assert late.missing == (
        f"it has roles, and none was granted in the last {LOG_BLOCKS} blocks: who has them is not known",
    )
    granted = (event("RoleGranted(bytes32,address,address)", "0x" + "f" * 64, OWNER, OWNER),)
    assert (await Market(with_roles, titles=granted).subject(LOG_BLOCKS + 1)).missing == ()
    assert (await Market(with_roles).subject(LOG_BLOCKS)).missing == ()
    assert (await Market(code_of("run()")).subject(LOG_BLOCKS + 1)).missing == ()


async def test_a_node_that_refuses_the_code_of_a_caller_gives_no_subject() -> None:
    class Refusing(Market):
        def _answer(self, method: str, params: Sequence[Any]) -> Any:
            refused = method == "eth_getCode" and params[0] == OWNER
            return RpcError(-32005, "too many requests") if refused else super()._answer(method, params)

    with pytest.raises(RpcError, match="too many"):
        await Refusing(code_of("run()"), slots={"0x0": OWNER}).subject()


@pytest.mark.parametrize("slot", [slot for slot in IMPLEMENTATION_SLOTS if slot != BEACON_SLOT])
async def test_code_that_a_slot_of_a_standard_names_is_looked_at(slot: str) -> None:
    found = await Market(b"\xf4", slots={slot: LOCK}).subject()
    assert set(found.targets) == {TOKEN, LOCK}
    assert (found.strange_proxy, found.missing) == (False, ())


async def test_code_that_a_beacon_names_or_that_two_slots_name_is_never_taken_for_known() -> None:
    assert (await Market(b"\xf4", slots={BEACON_SLOT: LOCK}).subject()).strange_proxy
    two = await Market(b"\xf4", slots={EIP_1967_SLOT: LOCK, EIP_1822_SLOT: ADMIN}).subject()
    assert two.missing == ("2 contracts are named by the slots of proxies: which one's code runs is not known",)


async def test_what_is_no_router_and_what_is_no_token_is_said() -> None:
    head = await read_head(_Heads(), None, 1.0)
    token = Chain({TOKEN: b"\1"}, {(TOKEN, "totalSupply()"): 1})
    with pytest.raises(NoSubjectError, match="does not answer as a router"):
        await read_subject(token, TOKEN, HERE, head)
    with pytest.raises(NoSubjectError, match="is no token") as raised:
        await read_subject(Chain({TOKEN: b"\1"}, {}), TOKEN, HERE, head)
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
    first, second, *forks = known_markets(1)
    assert (first.family, first.router) == ("uniswap_v2", "0x7a250d5630b4cf539739df2c5dacb4c659f2488d")
    assert (second.family, second.quoter) == ("uniswap_v3", "0x61ffe014ba17989e743c5f6cb21bf9697530b21e")
    assert all(market.router not in (first.router, second.router) for market in forks)
    assert known_quotes(1)
    assert (known_markets(999_999), known_quotes(999_999)) == ((), ())
