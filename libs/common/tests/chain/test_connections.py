"""An executor's providers over real sockets: who answers, who is left out and why, and all of them gone and back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from dexlane.chain.direct_calls import deployed, routers_of
from dexlane.chain.execution import assembly, connections
from dexlane.chain.execution.connections import NodeConnections
from dexlane.chain.execution.live import LiveAccess, why_not_live
from dexlane.chain.execution.sending_moments import SendingMoments
from dexlane.chain.execution.settings import ExecutorSettings
from dexlane.chain.execution.testimony import Questions
from dexlane.chain.execution.witnesses import Witnesses
from dexlane.chain.link import WrongChain
from dexlane.chain.rpc import RpcUnavailable
from dexlane.runtime.cancelling import cancelled
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.errors import Fatal
from dexlane.runtime.observability import Log, Metrics
from dexlane.testing.builders import a_block_ref
from dexlane.testing.fake_chain import FakeChain
from dexlane.values.books import Lane

ACCOUNT = "0x" + "11" * 20


class NodeDouble:
    """A node that knows its chain, its newest block and one nonce; it can be stopped and started on its port."""

    def __init__(self, chain_id: int = 1) -> None:
        self.chain_id = chain_id
        self.head = 100
        self.nonce = 7
        self.asked: list[str] = []
        self.port = 0
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/key-{self.port}"

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await serve(self._serve, "127.0.0.1", self.port, ping_interval=None)
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close(close_connections=True)
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, socket: ServerConnection) -> None:
        try:
            async for message in socket:
                request = orjson.loads(message)
                self.asked.append(request["method"])
                answer = {"id": request["id"], "result": self._answer(request["method"])}
                await socket.send(orjson.dumps(answer), text=True)
        except ConnectionClosed:
            return

    def _answer(self, method: str) -> Any:
        answers = {
            "eth_chainId": hex(self.chain_id),
            "eth_blockNumber": hex(self.head),
            "eth_getTransactionCount": hex(self.nonce),
        }
        return answers[method]


class Told(SendingMoments):
    """Who was left out, and why."""

    def __init__(self, log: Log) -> None:
        super().__init__(Metrics("test"), log)
        self.reasons: dict[str, str] = {}

    def left_out(self, chain_id: int, provider: str, reason: str) -> None:
        super().left_out(chain_id, provider, reason)
        self.reasons[provider] = reason


class Fleet:
    """Some nodes, an executor's connections to them, and its witnesses."""

    def __init__(self, nodes: Sequence[NodeDouble], log: Log) -> None:
        self.nodes = nodes
        self.connections = NodeConnections(1, [node.url for node in nodes], SystemClock(), log)
        self.told = Told(log)
        self.witnesses = Witnesses(1, self.connections.witnesses(), self.told)

    async def heard(self) -> list[str]:
        """The providers that have something to say about the account."""
        questions = Questions(block=a_block_ref(100), accounts=frozenset([ACCOUNT]))
        return [one.name for one in await self.witnesses.ask(questions) if one.nonces == {ACCOUNT: 7}]


@asynccontextmanager
async def fleet(log: Log, *nodes: NodeDouble, connected: bool = True) -> AsyncIterator[Fleet]:
    for node in nodes:
        await node.start()
    found = Fleet(nodes, log)
    watching = asyncio.create_task(found.connections.watch())
    try:
        if connected:
            await found.connections.connect()
        yield found
    finally:
        await cancelled([watching])
        await found.connections.stop()
        for node in nodes:
            await node.stop()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.05)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECT_WAIT_S", 0.3)


async def test_all_providers_are_witnesses_in_the_order_of_preference(log: Log) -> None:
    async with fleet(log, NodeDouble(), NodeDouble(), NodeDouble()) as one:
        assert [witness.name for witness in one.witnesses.all] == [node.name for node in one.nodes]
        assert await one.heard() == [node.name for node in one.nodes]
        assert one.witnesses.quorum == 2
        assert not any("key" in witness.name for witness in one.witnesses.all)


@pytest.mark.parametrize("wrong", [0, 1, 2])
async def test_a_provider_of_another_chain_is_left_out_by_that_name(log: Log, wrong: int) -> None:
    nodes = [NodeDouble(), NodeDouble(), NodeDouble()]
    nodes[wrong].chain_id = 5
    async with fleet(log, *nodes) as one:
        assert await one.heard() == [node.name for node in nodes if node is not nodes[wrong]]
        assert "serves chain 5, not chain 1" in one.told.reasons[nodes[wrong].name]
        assert await one.witnesses.nonce(ACCOUNT) == 7
        assert set(nodes[wrong].asked) == {"eth_chainId"}


async def test_a_provider_that_comes_back_as_another_chain_is_left_out_by_that_name(log: Log) -> None:
    async with fleet(log, NodeDouble(), NodeDouble(), NodeDouble()) as one:
        await one.nodes[1].stop()
        one.nodes[1].chain_id = 5
        await one.nodes[1].start()

        async def named() -> bool:
            await one.heard()
            return "serves chain 5" in one.told.reasons.get(one.nodes[1].name, "")

        await until(named)


async def test_when_all_serve_another_chain_that_is_the_reason_however_often_it_is_asked(log: Log) -> None:
    async with fleet(log, NodeDouble(5), NodeDouble(5), connected=False) as one:
        for _ in range(2):
            with pytest.raises(WrongChain, match="serves chain 5, not chain 1"):
                await one.connections.connect()


async def test_an_address_that_is_none_stops_the_start(log: Log) -> None:
    found = NodeConnections(1, ["http://127.0.0.1:1"], SystemClock(), log)
    with pytest.raises(Fatal, match="not a ws:// or wss:// address"):
        await found.connect()
    await found.stop()


async def test_one_dead_provider_of_three_is_named_and_the_others_agree(log: Log) -> None:
    async with fleet(log, NodeDouble(), NodeDouble(), NodeDouble()) as one:
        node = await one.connections.connect()
        dead, *alive = one.nodes
        await dead.stop()
        await until(lambda: _is_heard_from(one, [other.name for other in alive]))
        assert re.search("not connected|lost|closed", one.told.reasons[dead.name])
        assert await one.witnesses.nonce(ACCOUNT) == 7
        assert one.witnesses.objection(is_entry=True) is None
        await until(lambda: one.connections._providers.current.name != dead.name)
        assert await node.transaction_count(ACCOUNT) == 7  # the node of an executor is whichever answers
        await dead.start()
        await until(lambda: _is_heard_from(one, [other.name for other in one.nodes]))
        assert one.told.reasons[dead.name] == ""


async def _is_heard_from(one: Fleet, names: list[str]) -> bool:
    return await one.heard() == names


async def test_without_any_provider_nothing_is_known_until_they_are_back(log: Log) -> None:
    async with fleet(log, NodeDouble(), NodeDouble(), NodeDouble()) as one:
        node = await one.connections.connect()
        for dead in one.nodes:
            await dead.stop()
        await until(lambda: _is_heard_from(one, []))
        assert one.witnesses.objection(is_entry=True) is not None
        with pytest.raises(RpcUnavailable):
            await node.block_number()
        for _ in range(2):
            await one.heard()
        assert one.witnesses.objection(is_entry=False) is not None
        for back in one.nodes:
            await back.start()
        await until(lambda: _is_heard_from(one, [other.name for other in one.nodes]))
        assert one.witnesses.objection(is_entry=True) is None
        assert await node.block_number() == 100


async def test_providers_that_are_dead_at_the_start_are_waited_for(log: Log) -> None:
    async with fleet(log, NodeDouble(), NodeDouble(), connected=False) as one:
        for node in one.nodes:
            await node.stop()
        with pytest.raises(RpcUnavailable, match="no provider of chain 1 answers yet"):
            await one.connections.connect()
        await one.nodes[1].start()

        async def connects() -> bool:
            try:
                return await (await one.connections.connect()).block_number() == 100
            except RpcUnavailable:
                return False

        await until(connects)


async def test_a_provider_that_was_dropped_is_not_asked_while_the_others_are(log: Log) -> None:
    async with fleet(log, NodeDouble(), NodeDouble(), NodeDouble()) as one:
        one.witnesses.dissent([one.nodes[0].name], "transaction 0x1", outvoted=True)
        asked = len(one.nodes[0].asked)
        assert await one.heard() == [node.name for node in one.nodes[1:]]
        assert "contradicts the others about transaction 0x1" in one.told.reasons[one.nodes[0].name]
        node = await one.connections.connect()
        assert await node.block_number() == 100
        assert len(one.nodes[0].asked) == asked


def an_access(urls: Sequence[str], log: Log, folder: Path) -> LiveAccess:
    """How a chain with these providers is reached, put together as the services do it."""
    settings = ExecutorSettings(rpc_ws_urls={1: tuple(urls)}, data_dir=folder, port=1)
    service = SimpleNamespace(name="fast-executor", clock=SystemClock(), log=log, bus=None)
    shared: Any = SimpleNamespace(settings=settings, lane=Lane.FAST, service=service)
    return assembly._access(1, shared, NodeConnections(1, urls, SystemClock(), log))


async def test_every_url_of_a_chain_is_a_witness(log: Log, tmp_path: Path) -> None:
    urls = ["ws://127.0.0.1:1", "ws://127.0.0.1:2", "ws://localhost:3"]
    access = an_access(urls, log, tmp_path)
    assert [witness.name for witness in access.witnesses()] == ["127.0.0.1:1", "127.0.0.1:2", "localhost:3"]
    chain = FakeChain(1)
    assert "no contract stands at the router" in (await why_not_live(access, chain.rpc()) or "")
    chain.codes[access.deployment.router] = b"\1"
    assert await why_not_live(access, chain.rpc()) is None


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_provider_elsewhere_makes_the_money_real_wherever_it_stands(
    log: Log, tmp_path: Path, place: int
) -> None:
    urls = ["ws://127.0.0.1:1", "ws://127.0.0.1:2"]
    urls.insert(place, "wss://node.example/key")
    access, chain = an_access(urls, log, tmp_path), FakeChain(1)
    chain.codes[access.deployment.router] = b"\1"
    refusal = await why_not_live(access, chain.rpc())
    assert refusal is not None
    assert "not the local devnet" in refusal


async def test_routers_without_code_on_the_chain_are_left_out() -> None:
    chain, routers = FakeChain(1), routers_of(1)
    chain.codes[routers[0].router] = chain.codes[routers[-1].router] = b"\1"
    assert await deployed(chain.rpc(), routers) == (routers[0], routers[-1])
