"""The JSON-RPC client against a scripted WebSocket server: it reconnects, it never guesses, it never loses silently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from dexlane.chain.link import LinkPolicy, host_of
from dexlane.chain.network import network_of
from dexlane.chain.node import NodeRpc
from dexlane.chain.providers import ProviderPolicy, Providers
from dexlane.chain.rpc import RpcClient, RpcError, RpcUnavailable
from dexlane.chain.subscriptions import Gap, Subscription, SubscriptionPolicy
from dexlane.runtime.cancelling import cancelled
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.errors import Fatal

SILENT = object()
POLICY = LinkPolicy(
    jitter=lambda: 0.5,
    connect_timeout_s=5,
    call_timeout_s=5,
    ping_interval_s=0.1,
    ping_timeout_s=0.5,
    first_wait_s=0.01,
    longest_wait_s=0.05,
)


class ScriptedNode:
    """A WebSocket server that answers as the test says."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[list[Any]], Any]] = {
            "eth_chainId": lambda params: "0x1",
            "eth_subscribe": lambda params: "0xabc",
        }
        self.requests: list[str] = []
        self.sockets: list[ServerConnection] = []
        self.accepted = 0
        self._server: Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await serve(self._serve, "127.0.0.1", self.port, ping_interval=None)
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        await self.cut()
        if self._server is not None:
            self._server.close(close_connections=True)
            await self._server.wait_closed()

    async def cut(self) -> None:
        for socket in self.sockets:
            socket.transport.abort()
        self.sockets.clear()

    async def notify(self, result: Any, *, raw: bytes | None = None) -> None:
        message = {
            "jsonrpc": "2.0",
            "method": "eth_subscription",
            "params": {"subscription": "0xabc", "result": result},
        }
        for socket in self.sockets:
            await socket.send(raw or orjson.dumps(message), text=True)

    def freeze(self) -> None:
        for socket in self.sockets:
            socket.transport.pause_reading()

    async def _serve(self, socket: ServerConnection) -> None:
        self.accepted += 1
        self.sockets.append(socket)
        try:
            async for message in socket:
                request = orjson.loads(message)
                batch = request if isinstance(request, list) else [request]
                answers = [answer for answer in map(self._answer, batch) if answer is not None]
                if answers:
                    await socket.send(orjson.dumps(answers if isinstance(request, list) else answers[0]), text=True)
        except ConnectionClosed:
            return

    def _answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        self.requests.append(request["method"])
        script = self.answers.get(request["method"])
        if script is None:
            return {"id": request["id"], "error": {"code": -32601, "message": "the method does not exist"}}
        result = script(request["params"])
        if result is SILENT:
            return None
        if isinstance(result, RpcError):
            error = {"code": result.code, "message": result.message, "data": result.data}
            return {"id": request["id"], "error": error}
        return {"id": request["id"], "result": result}


@pytest.fixture
async def node() -> AsyncIterator[ScriptedNode]:
    node = ScriptedNode()
    await node.start()
    yield node
    await node.stop()


@pytest.fixture
async def client(node: ScriptedNode) -> AsyncIterator[RpcClient]:
    client = RpcClient(node.url, name="test", policy=POLICY, chain_id=1)
    await client.start()
    yield client
    await client.stop()


@pytest.fixture
async def heads(node: ScriptedNode) -> AsyncIterator[Subscription]:
    policy = SubscriptionPolicy(link=POLICY, silence_s=0.4, capacity=4)
    subscription = Subscription(node.url, "newHeads", policy=policy, chain_id=1)
    running = asyncio.create_task(subscription.run())
    yield subscription
    await cancelled([running])


async def soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  the condition belongs to the code under test
            await asyncio.sleep(0.005)


async def test_an_answer_reaches_the_call_that_asked(node: ScriptedNode, client: RpcClient) -> None:
    node.answers["echo"] = lambda params: params[0]
    assert await asyncio.gather(*(client.call("echo", number) for number in range(50))) == list(range(50))


async def test_a_refusal_of_the_node_keeps_its_code_message_and_data(node: ScriptedNode, client: RpcClient) -> None:
    node.answers["eth_call"] = lambda params: RpcError(3, "execution reverted", "0x08c379a0")
    with pytest.raises(RpcError) as refused:
        await client.call("eth_call")
    assert (refused.value.code, refused.value.message, refused.value.data) == (3, "execution reverted", "0x08c379a0")


async def test_a_batch_keeps_order_and_puts_refusals_in_place(node: ScriptedNode, client: RpcClient) -> None:
    node.answers["echo"] = lambda params: params[0] if params[0] != 2 else RpcError(-1, "no")
    answers = await client.batch([("echo", (number,)) for number in range(1_201)])
    assert isinstance(answers[2], RpcError)
    assert [answer for answer in answers if not isinstance(answer, RpcError)] == [n for n in range(1_201) if n != 2]


async def test_an_unanswered_call_is_unavailable_and_the_next_one_works(node: ScriptedNode, client: RpcClient) -> None:
    node.answers["slow"] = lambda params: SILENT
    with pytest.raises(RpcUnavailable):
        await client.call("slow", timeout_s=0.05)
    assert await client.call("eth_chainId") == "0x1"


async def test_a_call_in_flight_fails_when_the_connection_is_cut(node: ScriptedNode, client: RpcClient) -> None:
    node.answers["slow"] = lambda params: SILENT
    call = asyncio.create_task(client.call("slow", timeout_s=5))
    await soon(lambda: "slow" in node.requests)
    await node.cut()
    with pytest.raises(RpcUnavailable):
        await call


async def test_the_client_comes_back_after_the_node_did(node: ScriptedNode, client: RpcClient) -> None:
    await node.stop()
    await soon(lambda: not client.connected)
    with pytest.raises(RpcUnavailable):
        await client.call("eth_chainId")
    await asyncio.sleep(0.1)
    await node.start()
    await client.wait_connected(2)
    assert await client.call("eth_chainId") == "0x1"


async def test_a_request_is_never_sent_twice(node: ScriptedNode, client: RpcClient) -> None:
    node.answers["eth_sendRawTransaction"] = lambda params: SILENT
    call = asyncio.create_task(client.call("eth_sendRawTransaction", "0x02"))
    await soon(lambda: "eth_sendRawTransaction" in node.requests)
    await node.cut()
    with pytest.raises(RpcUnavailable):
        await call
    await client.wait_connected(2)
    await asyncio.sleep(0.05)
    assert node.requests.count("eth_sendRawTransaction") == 1


async def test_a_frozen_node_is_found_by_pings(node: ScriptedNode, client: RpcClient) -> None:
    node.freeze()
    await soon(lambda: node.accepted == 2)
    await client.wait_connected(2)


async def test_another_chain_is_refused_in_one_sentence(node: ScriptedNode) -> None:
    client = RpcClient(f"{node.url}/v3/secret-key", name="test", policy=POLICY, chain_id=8453)
    with pytest.raises(Fatal, match=r"serves chain 1, not chain 8453") as refused:
        await client.start()
    assert "secret-key" not in str(refused.value)


async def test_a_node_that_changes_its_chain_stops_every_call(node: ScriptedNode, client: RpcClient) -> None:
    node.answers["eth_chainId"] = lambda params: "0x5"
    await node.cut()
    await asyncio.sleep(0.2)
    with pytest.raises(Fatal):
        await client.call("eth_blockNumber")


@pytest.mark.parametrize("babble", [None, "one", 1, ["0x1"]])
async def test_a_node_that_does_not_say_its_chain_is_tried_again(
    node: ScriptedNode, client: RpcClient, babble: object
) -> None:
    node.answers["eth_chainId"] = lambda params: babble
    await node.cut()
    await soon(lambda: node.accepted > 3)
    with pytest.raises(RpcUnavailable):
        await client.call("eth_blockNumber")
    node.answers["eth_chainId"] = lambda params: "0x1"
    await client.wait_connected(2)


async def test_a_node_that_sends_us_to_a_page_for_people_is_tried_again() -> None:
    def redirect(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(302, "")
        response.headers["Location"] = "https://status.example.org/maintenance"
        return response

    async def nobody(socket: ServerConnection) -> None:
        raise AssertionError

    async with serve(nobody, "127.0.0.1", 0, process_request=redirect) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        client = RpcClient(f"ws://127.0.0.1:{port}", name="test", policy=POLICY, chain_id=1)
        await client.start()
        with pytest.raises(RpcUnavailable):
            await client.call("eth_blockNumber")
        await client.stop()


BABBLED: dict[str, Callable[[NodeRpc], Awaitable[object]]] = {
    "eth_blockNumber": lambda rpc: rpc.block_number(),
    "eth_getBlockByNumber": lambda rpc: rpc.block("latest"),
    "eth_call": lambda rpc: rpc.eth_call("0x" + "1" * 40, b""),
    "eth_getLogs": lambda rpc: rpc.logs("0x" + "1" * 64, []),
    "eth_feeHistory": lambda rpc: rpc.fee_history(1, "latest", [50]),
    "eth_getTransactionCount": lambda rpc: rpc.transaction_count("0x" + "1" * 40),
    "eth_getBalance": lambda rpc: rpc.balance("0x" + "1" * 40),
    "eth_getCode": lambda rpc: rpc.code("0x" + "1" * 40),
    "eth_getTransactionReceipt": lambda rpc: rpc.receipt("0x" + "1" * 64),
    "eth_getTransactionByHash": lambda rpc: rpc.transaction("0x" + "1" * 64),
}


@pytest.mark.parametrize("babble", [7, True, "zz", [None], {"hash": 5, "blockHash": 3}], ids=repr)
@pytest.mark.parametrize("method", BABBLED)
async def test_an_answer_that_cannot_be_read_is_none(
    node: ScriptedNode, client: RpcClient, method: str, babble: object
) -> None:
    node.answers[method] = lambda params: babble
    with pytest.raises(RpcUnavailable):
        await BABBLED[method](NodeRpc(client))


@pytest.mark.parametrize(
    "lie",
    [
        {"gasUsedRatio": [None]},
        {"gasUsedRatio": [-0.5]},
        {"reward": [["-0x5"]]},
        {"reward": [["0x" + "f" * 64]]},
        {"baseFeePerGas": ["-0x1", "0x1"]},
    ],
    ids=repr,
)
async def test_a_fee_history_with_impossible_numbers_is_none(
    node: ScriptedNode, client: RpcClient, lie: dict[str, object]
) -> None:
    told = {"oldestBlock": "0x1", "baseFeePerGas": ["0x1", "0x1"], "gasUsedRatio": [0.5], "reward": [["0x1"]]}
    node.answers["eth_feeHistory"] = lambda params: told
    assert (await NodeRpc(client).fee_history(1, 1, [50])).tips_per_gas_wei == ((1,),)
    node.answers["eth_feeHistory"] = lambda params: told | lie
    with pytest.raises(RpcUnavailable):
        await NodeRpc(client).fee_history(1, 1, [50])


class Untold:
    """Providers about which nobody wants to know anything."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_told, **_more: None


@pytest.mark.parametrize("stray", [1, 2])
async def test_a_provider_that_comes_back_as_another_chain_stops_nothing_while_another_serves_ours(stray: int) -> None:
    nodes = [ScriptedNode(), ScriptedNode()]
    for node in nodes:
        await node.start()
    policy = ProviderPolicy(link=POLICY)
    providers = Providers(1, [node.url for node in nodes], policy, clock=SystemClock(), moments=Untold())
    await providers.start()
    tasks = [asyncio.ensure_future(run()) for run in providers.tasks().values()]
    await soon(lambda: all(one.heads.subscribed for one in providers.all))
    for node in nodes[:stray]:
        node.answers["eth_chainId"] = lambda params: "0x5"
        await node.cut()
    await soon(lambda: all(one.client.fault for one in providers.all[:stray]))
    await asyncio.sleep(0.3)
    if stray == 1:
        assert not any(task.done() and task.exception() for task in tasks)
        assert providers.in_use() is providers.all[1]
    else:
        with pytest.raises(Fatal, match="serves chain 5"):
            await providers.all[0].call("eth_blockNumber")
    await cancelled(tasks)
    await providers.stop()
    for node in nodes:
        await node.stop()


async def test_start_returns_when_no_node_is_there_yet(node: ScriptedNode) -> None:
    await node.stop()
    states: list[str] = []
    client = RpcClient(node.url, name="test", policy=POLICY, on_state=lambda state, reason: states.append(state))
    await client.start()
    assert not client.connected
    await node.start()
    await client.wait_connected(2)
    await client.stop()
    assert states[0] == "unavailable"
    assert states[-1] == "connected"


async def test_a_late_or_repeated_answer_is_ignored(node: ScriptedNode, client: RpcClient) -> None:
    await node.notify(None, raw=b'{"jsonrpc":"2.0","id":1,"result":"0x5"}')
    await node.notify(None, raw=b'{"jsonrpc":"2.0","id":999,"result":"0x5"}')
    assert await client.call("eth_chainId") == "0x1"


async def test_garbage_costs_the_connection_but_not_the_client(node: ScriptedNode, client: RpcClient) -> None:
    await node.notify(None, raw=b"<html>502</html>")
    await soon(lambda: node.accepted == 2)
    await client.wait_connected(2)
    assert await client.call("eth_chainId") == "0x1"


async def test_a_subscription_begins_with_a_gap(node: ScriptedNode, heads: Subscription) -> None:
    assert isinstance(await heads.next(), Gap)
    await soon(lambda: heads.subscribed)
    await node.notify({"number": "0x1"})
    assert await heads.next() == {"number": "0x1"}


async def test_a_lost_connection_leaves_a_gap_between_notifications(node: ScriptedNode, heads: Subscription) -> None:
    await soon(lambda: heads.subscribed)
    await node.notify({"number": "0x1"})
    assert isinstance(await heads.next(), Gap)
    assert await heads.next() == {"number": "0x1"}
    await node.cut()
    await soon(lambda: node.accepted == 2 and heads.subscribed)
    await node.notify({"number": "0x3"})
    assert isinstance(await heads.next(), Gap)
    assert await heads.next() == {"number": "0x3"}


async def test_a_silent_node_is_given_up_and_subscribed_to_again(node: ScriptedNode, heads: Subscription) -> None:
    await soon(lambda: node.accepted >= 2)
    assert isinstance(await heads.next(), Gap)


async def test_an_overflow_is_marked_and_resubscribed_never_dropped(node: ScriptedNode, heads: Subscription) -> None:
    await soon(lambda: heads.subscribed)
    for number in range(20):
        await node.notify({"number": hex(number)})
    await soon(lambda: node.accepted == 2 and heads.subscribed)
    assert isinstance(await heads.next(), Gap)
    assert heads._queue.qsize() <= 4


async def test_typed_calls_read_what_nodes_answer(node: ScriptedNode, client: RpcClient) -> None:
    block = {
        "number": "0x10",
        "hash": "0x" + "AB" * 32,
        "parentHash": "0x" + "00" * 32,
        "timestamp": "0x64",
        "baseFeePerGas": "0x7",
        "gasUsed": "0x1",
        "gasLimit": "0x2",
    }
    node.answers["eth_getBlockByNumber"] = lambda params: block if params[0] == "0x10" else None
    header = await NodeRpc(client).block(16)
    assert header is not None
    assert (header.number, header.hash, header.base_fee_per_gas_wei) == (16, "0x" + "ab" * 32, 7)
    assert await NodeRpc(client).block(17) is None


@pytest.mark.parametrize(
    ("version", "url", "expected"),
    [
        ("anvil/v1.7.1", "ws://127.0.0.1:18545", "devnet"),
        ("anvil/v1.7.1", "ws://localhost:1", "devnet"),
        ("anvil/v1.7.1", "ws://[::1]:1", "devnet"),
        ("anvil/v1.7.1", "wss://node.example", "remote"),
        ("anvil/v1.7.1", "ws://127.0.0.1.example:1", "remote"),
        ("Geth/v1.16.0", "ws://127.0.0.1:8546", "remote"),
        ("notanvil/", "ws://127.0.0.1:8546", "remote"),
    ],
)
def test_only_anvil_on_loopback_is_the_devnet(version: str, url: str, expected: str) -> None:
    assert network_of(version, url) == expected


def test_a_providers_key_is_not_shown() -> None:
    assert host_of("wss://user:secret@node.example:8546/v3/key?token=1") == "wss://node.example:8546"


async def test_of_several_urls_the_next_one_is_used_when_one_is_lost(node: ScriptedNode) -> None:
    second = ScriptedNode()
    await second.start()
    client = RpcClient([node.url, second.url], name="test", policy=POLICY, chain_id=1)
    await client.start()
    assert client.url == node.url
    await node.stop()
    async with asyncio.timeout(5):
        while not (client.connected and client.url == second.url):  # noqa: ASYNC110  the client reconnects by itself
            await asyncio.sleep(0.01)
    assert await client.call("eth_chainId") == "0x1"
    await client.stop()
    await second.stop()
