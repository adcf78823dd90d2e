"""A node in front of anvil that treats transactions as go-ethereum does, and on demand as bad providers do.

anvil accepts a replacement that pays 5 % more, refuses a fee cap below the base fee and forgets what falls below it.
``StrictNode`` keeps a pool of its own with go-ethereum's rules and gives anvil only what may be in the next block:

- a replacement pays at least 10 % more in both fee fields, or "replacement transaction underpriced";
- the same bytes again are "already known";
- a fee cap below the base fee is accepted, and held back until the base fee has fallen;
- a nonce above the next one is accepted and waits for those below it; nothing is ever dropped but by ``forget``;
- a transaction that a reorganisation took out of its block goes back into the pool.

async with StrictNode(node_url, seed=7) as node:
    node.send_faults = SendFaults(answer_lost=0.1, swallow=0.05, replay=0.1)
    node.lag_blocks = 2          # receipts and nonces as they were two blocks ago
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from dexlane.chain.rpc import RpcError
from dexlane.testing.fake_mempool import (
    Account,
    PooledTransaction,
    check_admission,
    check_replacement,
    decode_transaction,
    refuse,
)
from dexlane.testing.rpc_proxy import FaultProxy, Pair

SEND = "eth_sendRawTransaction"
KEPT_NONCES = 256
"""So many used nonces of an account can come back after a reorganisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendFaults:
    """Chances, from zero to one, of what happens to a transaction that is sent. At most one of them happens."""

    answer_lost: float = 0.0
    """Taken, and the connection breaks before the answer."""
    unanswered: float = 0.0
    """Taken, and no answer ever comes."""
    refused: float = 0.0
    """Not looked at: an error that says nothing about the transaction."""
    throttled: float = 0.0
    """Not looked at: "Too Many Requests" (429)."""
    swallow: float = 0.0
    """Said to be taken, and never seen again: a private relay that includes nothing."""
    delay: float = 0.0
    """Said to be taken, and taken ``delay_heads`` blocks later."""
    delay_heads: int = 3
    replay: float = 0.0
    """Taken, and given to the chain again ``replay_heads`` blocks later, past every rule of the pool."""
    replay_heads: int = 40


class Pool:
    """Transactions by sender and nonce, under go-ethereum's rules. No input and no output."""

    def __init__(self) -> None:
        self._by_sender: dict[str, dict[int, PooledTransaction]] = {}

    def add(self, tx: PooledTransaction, account: Account, *, chain_id: int, gas_limit: int) -> None:
        """Take a transaction; ``RpcError`` with go-ethereum's text when it does not."""
        own = self._by_sender.setdefault(tx.sender, {})
        old = own.get(tx.nonce)
        if old is not None and old.hash == tx.hash and tx.nonce >= account.nonce:
            raise refuse("already known")
        check_admission(tx, account, chain_id=chain_id, gas_limit=gas_limit)
        if old is not None:
            check_replacement(old, tx)
        own[tx.nonce] = tx

    def due(self, sender: str, next_nonce: int, base_fee_wei: int) -> list[PooledTransaction]:
        """What can be in the next block, by nonce: it ends at a gap, or at a fee cap below the base fee."""
        own, found = self._by_sender.get(sender, {}), list[PooledTransaction]()
        for nonce in itertools.count(next_nonce):
            tx = own.get(nonce)
            if tx is None or tx.max_fee_per_gas_wei < base_fee_wei:
                return found
            found.append(tx)
        return found

    def find(self, tx_hash: str) -> PooledTransaction | None:
        """The transaction of that hash, used or not."""
        return next((tx for tx in self._all() if tx.hash == tx_hash), None)

    def settle(self, sender: str, next_nonce: int) -> None:
        """Give up nonces that are used for good."""
        own = self._by_sender.get(sender, {})
        for nonce in [nonce for nonce in own if nonce < next_nonce - KEPT_NONCES]:
            del own[nonce]

    def forget(self) -> None:
        """Drop everything, as a node that starts anew without a journal."""
        self._by_sender.clear()

    @property
    def senders(self) -> list[str]:
        """Accounts that ever sent something."""
        return list(self._by_sender)

    def _all(self) -> Iterator[PooledTransaction]:
        return (tx for own in self._by_sender.values() for tx in own.values())


class _Upstream:
    """The proxy's own connection to the node."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._socket: ClientConnection | None = None
        self._ids = itertools.count(1)
        self._one_at_a_time = asyncio.Lock()

    async def call(self, method: str, *params: Any) -> Any:
        """The result; ``RpcError`` for the node's refusal, ``OSError`` when it does not answer."""
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
        async with self._one_at_a_time:
            try:
                if self._socket is None:
                    self._socket = await connect(self._url, max_size=None, ping_interval=None, proxy=None)
                await self._socket.send(orjson.dumps(request), text=True)
                answer = orjson.loads(await self._socket.recv())
            except (ConnectionClosed, InvalidHandshake) as error:
                self._socket = None
                raise OSError("the node does not answer") from error
        if "error" in answer:
            raise RpcError(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]

    async def close(self) -> None:
        """Close."""
        if self._socket is not None:
            await self._socket.close()


@dataclass(frozen=True, slots=True)
class _Later:
    """Bytes that go to the pool (or past it, to the chain) at a later head."""

    head: int
    raw: bytes
    past_the_pool: bool


@dataclass
class _Facts:
    """What the chain last said."""

    head: int = 0
    next_base_fee_wei: int = 0
    gas_limit: int = 30_000_000
    chain_id: int = 0
    later: list[_Later] = field(default_factory=list)


class StrictNode(FaultProxy):
    """A strict node, and on demand a bad provider. Looks for a new head every ``poll_s``."""

    def __init__(self, node_url: str, *, seed: int, poll_s: float = 0.1) -> None:
        super().__init__(node_url, seed=seed)
        self.send_faults = SendFaults()
        self.lag_blocks = 0
        """Receipts and nonces are told as they were so many blocks ago."""
        self.pool = Pool()
        self._node = _Upstream(node_url)
        self._poll_s = poll_s
        self._facts = _Facts()
        self._sending = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._facts.chain_id = int(await self._node.call("eth_chainId"), 16)
        await self._look()
        self._spawn(self._follow())
        await super().__aenter__()
        return self

    async def __aexit__(self, *args: object) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().__aexit__(*args)
        await self._node.close()

    @property
    def head(self) -> int:
        """The newest block that was seen."""
        return self._facts.head

    async def forget(self) -> None:
        """Everything that is not in a block is gone, here and in anvil."""
        self._note("forget")
        async with self._sending:
            self.pool.forget()
            await self._node.call("anvil_dropAllTransactions")

    def _spawn(self, running: Any) -> None:
        task = asyncio.create_task(running)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                if await self._look():
                    await self._at_head()
            await asyncio.sleep(self._poll_s)

    async def _look(self) -> bool:
        """Read the newest block; whether it is another one."""
        block = await self._node.call("eth_getBlockByNumber", "latest", False)
        facts, number = self._facts, int(block["number"], 16)
        fees = await self._node.call("eth_feeHistory", "0x1", "latest", [])
        is_new = number != facts.head
        facts.head, facts.gas_limit = number, int(block["gasLimit"], 16)
        facts.next_base_fee_wei = int(fees["baseFeePerGas"][-1], 16)
        return is_new

    async def _at_head(self) -> None:
        """Hand what waited for this block to the pool, and what may be in the next one to the chain."""
        facts = self._facts
        ready = [one for one in facts.later if one.head <= facts.head]
        facts.later = [one for one in facts.later if one.head > facts.head]
        async with self._sending:
            for one in ready:
                if one.past_the_pool:
                    await self._give(one.raw)
                else:
                    with contextlib.suppress(RpcError):
                        await self._admit(decode_transaction(one.raw))
            for sender in self.pool.senders:
                await self._promote(sender)

    async def _promote(self, sender: str) -> None:
        nonce = await self._nonce(sender)
        self.pool.settle(sender, nonce)
        for tx in self.pool.due(sender, nonce, self._facts.next_base_fee_wei):
            await self._give(tx.raw)

    async def _give(self, raw: bytes) -> None:
        # anvil's own refusals (it has it, it is used) concern nobody: the pool is the truth about what waits.
        with contextlib.suppress(RpcError):
            await self._node.call(SEND, "0x" + raw.hex())

    async def _nonce(self, sender: str) -> int:
        return int(await self._node.call("eth_getTransactionCount", sender, "latest"), 16)

    async def _admit(self, tx: PooledTransaction) -> None:
        balance = int(await self._node.call("eth_getBalance", tx.sender, "latest"), 16)
        account = Account(await self._nonce(tx.sender), balance)
        self.pool.add(tx, account, chain_id=self._facts.chain_id, gas_limit=self._facts.gas_limit)

    async def send(self, raw: bytes) -> str:
        """Take a transaction as the pool does; its hash, or ``RpcError``."""
        tx = decode_transaction(raw)
        async with self._sending:
            await self._admit(tx)
            await self._promote(tx.sender)
        return tx.hash

    def passed_up(self, pair: Pair, request: dict[str, Any]) -> dict[str, Any] | None:
        """Keep sends from the node, and ask it for older nonces while this provider lags."""
        method, params = request["method"], request.get("params", [])
        if method == SEND:
            self._spawn(self._sent(pair, request))
            return None
        if method == "eth_getTransactionByHash" and (tx := self.pool.find(params[0].lower())):
            self._spawn(self._shown(pair, request, tx))
            return None
        if method == "eth_getTransactionCount" and self.lag_blocks and params[1:] == ["latest"]:
            self._note("lag")
            return {**request, "params": [params[0], hex(max(0, self._facts.head - self.lag_blocks))]}
        return request

    def _told(self, method: str, result: Any) -> Any:
        is_receipt = method == "eth_getTransactionReceipt" and result is not None
        if is_receipt and self.lag_blocks and int(result["blockNumber"], 16) > self._facts.head - self.lag_blocks:
            self._note("lag")
            return None
        return super()._told(method, result)

    async def _shown(self, pair: Pair, request: dict[str, Any], tx: PooledTransaction) -> None:
        found = await self._node.call("eth_getTransactionByHash", tx.hash)
        waiting = {
            "hash": tx.hash,
            "from": tx.sender,
            "nonce": hex(tx.nonce),
            "to": tx.to,
            "value": hex(tx.value_wei),
            "input": "0x" + tx.data.hex(),
            "gas": hex(tx.gas_limit),
            "maxFeePerGas": hex(tx.max_fee_per_gas_wei),
            "maxPriorityFeePerGas": hex(tx.max_priority_fee_per_gas_wei),
            "type": "0x2",
            "blockHash": None,
            "blockNumber": None,
        }
        await _answer(pair, request, {"result": found or waiting})

    async def _sent(self, pair: Pair, request: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionClosed):
            raw, fault = bytes.fromhex(request["params"][0].removeprefix("0x")), self._fault()
            if fault is None:
                await _answer(pair, request, await self._outcome(raw))
                return
            self._note(fault)
            await self._sent_badly(pair, request, raw, fault)

    async def _sent_badly(self, pair: Pair, request: dict[str, Any], raw: bytes, fault: str) -> None:
        facts, faults = self._facts, self.send_faults
        match fault:
            case "answer_lost":
                await self._outcome(raw)
                pair.client.transport.abort()
            case "unanswered":
                await self._outcome(raw)
            case "refused":
                await _answer(pair, request, _error(-32_603, "internal error: upstream connect error"))
            case "throttled":
                await _answer(pair, request, _error(429, "Too Many Requests"))
            case "swallow":
                await _answer(pair, request, {"result": decode_transaction(raw).hash})
            case "delay":
                facts.later.append(_Later(facts.head + faults.delay_heads, raw, past_the_pool=False))
                await _answer(pair, request, {"result": decode_transaction(raw).hash})
            case _:
                facts.later.append(_Later(facts.head + faults.replay_heads, raw, past_the_pool=True))
                await _answer(pair, request, await self._outcome(raw))

    async def _outcome(self, raw: bytes) -> dict[str, Any]:
        try:
            return {"result": await self.send(raw)}
        except RpcError as error:
            return _error(error.code, error.message)

    def _fault(self) -> str | None:
        faults, roll = self.send_faults, self._random.random()
        for name in ("answer_lost", "unanswered", "refused", "throttled", "swallow", "delay", "replay"):
            roll -= getattr(faults, name)
            if roll < 0:
                return name
        return None


def _error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


async def _answer(pair: Pair, request: dict[str, Any], outcome: dict[str, Any]) -> None:
    with contextlib.suppress(ConnectionClosed):  # who asked is gone
        await pair.client.send(orjson.dumps({"jsonrpc": "2.0", "id": request["id"], **outcome}), text=True)
