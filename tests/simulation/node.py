"""A provider of the simulated chain: it answers late, not at all, from the past, or other than what it did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dexlane.chain.answers import BlockId, Receipt
from dexlane.chain.execution.testimony import Witness
from dexlane.chain.rpc import RpcError, RpcUnavailable
from dexlane.testing.fake_chain import FakeBlock
from dexlane.testing.fake_rpc import FakeRpc
from simulation.chain import SimulatedChain
from simulation.lives import CURRENT, Life, crossing


@dataclass(frozen=True)
class Answer:
    """What a provider does with a transaction: whether the chain gets it, and what is said. ``error`` None: the
    truth."""

    forwards: bool
    error: Exception | None = None
    after_s: float = 0.0


ANSWERS: dict[str, Answer] = {
    "accepted": Answer(True),
    "answer lost": Answer(True, RpcUnavailable("the connection was lost before it answered"), 1.0),
    "refused before": Answer(False, RpcUnavailable("the connection to the node is closed")),
    "5xx": Answer(False, RpcUnavailable("the node answered 503"), 0.5),
    "reset": Answer(False, RpcUnavailable("the connection to the node was lost while sending")),
    "timeout": Answer(True, RpcUnavailable("eth_sendRawTransaction was not answered within 10 s"), 10.0),
    "429": Answer(False, RpcError(-32005, "rate limit exceeded")),
    "already known": Answer(True, RpcError(-32000, "already known")),
    "nonce too low": Answer(False, RpcError(-32000, "nonce too low: next nonce 99, tx nonce 1")),
    "underpriced": Answer(False, RpcError(-32000, "replacement transaction underpriced")),
    "insufficient funds": Answer(False, RpcError(-32000, "insufficient funds for gas * price + value")),
    "wrong answer": Answer(True, RpcError(-32603, "internal error: unexpected token")),
}
"""The twelve outcomes of a send. The last one stands for an answer that says nothing of what happened."""


class _Past:
    """The chain as a provider shows it that is some blocks behind."""

    def __init__(self, chain: SimulatedChain, behind: int) -> None:
        self._chain = chain
        self.blocks = chain.blocks[: max(1, len(chain.blocks) - behind)]

    def resolve(self, block: BlockId) -> FakeBlock | None:
        if isinstance(block, str) and len(block) == 66:
            return next((known for known in reversed(self.blocks) if known.header.hash == block), None)
        if block in {"latest", "pending"}:
            return self.blocks[-1]
        depth = {"safe": 1, "finalized": self._chain.blocks_to_finality}.get(str(block))
        number = len(self.blocks) - 1 - depth if depth is not None else 0 if block == "earliest" else int(block)
        return self.blocks[number] if 0 <= number < len(self.blocks) else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)


class SimulatedNode(FakeRpc):
    """``dexlane.chain.rpc.Rpc`` of one provider for one process, with the faults of its world."""

    def __init__(self, chain: SimulatedChain, name: str, *, lies: bool = False) -> None:
        super().__init__(chain)
        self._real = chain
        self._name = name
        self._lies = lies

    def _world(self) -> tuple[Life, Any]:
        life = CURRENT.get()
        assert life is not None
        return life, life.process.witness

    def _enter(self, method: str) -> None:
        """Every reading call comes through here: it fails, or shows the past."""
        crossing("node.read:before")
        life, world = self._world()
        behind = world.read_fault(life, method)
        if behind < 0:
            raise RpcUnavailable(f"{method} was not answered")
        self.chain = _Past(self._real, behind) if behind else self._real  # type: ignore[assignment]

    async def receipt(self, tx_hash: str) -> Receipt | None:
        """The receipt in the canonical chain."""
        life, world = self._world()
        await asyncio.sleep(world.latency_s("node"))
        self._enter("receipt")
        found = self._real.where.get(tx_hash)
        if found is None or found[0].block.number >= len(self.chain.blocks):
            return None
        if self._lies and world.lied(life, "receipt"):
            return replace(found[0], success=not found[0].success)
        return found[0]

    async def transaction_count(self, address: str, *, block: BlockId = "latest") -> int:
        """The next nonce."""
        life, world = self._world()
        await asyncio.sleep(world.latency_s("node"))
        told = await super().transaction_count(address, block=block)
        return told + 1 if self._lies and world.lied(life, "nonce") else told

    async def balance(self, address: str, *, block: BlockId = "latest") -> int:
        """Native coin."""
        _life, world = self._world()
        await asyncio.sleep(world.latency_s("node"))
        return await super().balance(address, block=block)

    async def send_raw_transaction(self, raw: bytes, *, on_sent: Callable[[], None] | None = None) -> str:
        """One of the twelve outcomes."""
        crossing("node.send:before")
        life, world = self._world()
        name = world.sending(life, raw)
        answer = ANSWERS[name]
        if answer.after_s:
            world.exits.went_wrong(f"send {self._name}", answer.after_s)
        if on_sent is not None:
            on_sent()
        await asyncio.sleep(world.latency_s("node"))
        truth: Exception | None = None
        if answer.forwards:
            try:
                self._real.submit(raw)
            except RpcError as refusal:
                truth = refusal
        if answer.after_s:
            await asyncio.sleep(answer.after_s)
        crossing("node.send:after")
        error = answer.error or truth
        if error is not None:
            raise error
        return self._real.decode(raw).hash


class SimulatedProviders:
    """``dexlane.chain.execution.connections.NodeConnections`` with some providers of which the last may lie."""

    def __init__(self, nodes: Sequence[SimulatedNode]) -> None:
        self._nodes = nodes
        self._left_out: dict[str, str] = {}

    async def connect(self) -> SimulatedNode:
        """The preferred one."""
        return self._nodes[0]

    def witnesses(self) -> Sequence[Witness]:
        """All of them. One that was caught is not asked again by this process."""
        return [
            Witness(
                name=f"p{place}",
                rpc=node,
                left_out=partial(self._left_out.get, f"p{place}", ""),
                drop=partial(self._left_out.__setitem__, f"p{place}"),
            )
            for place, node in enumerate(self._nodes)
        ]

    async def watch(self) -> None:
        """Nothing to judge."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Nothing to close."""
