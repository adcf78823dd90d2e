"""Looking at many contracts in one ``eth_call``: the probe of the executed check asks them, one after the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from dexlane.chain.keccak import keccak256
from dexlane.chain.link import Request, RpcError
from dexlane.chain.token_check.asking import Head, Node, bytes_of
from dexlane.chain.token_check.probe import (
    Exploration,
    ProbeError,
    Step,
    call,
    codes,
    exploration,
    read_exploration,
)

LOOK_GAS = 45_000_000
"""Nodes allow at least 50 million to a call by default."""


@dataclass(frozen=True, slots=True)
class Look:
    """Steps, or calls that are tried each alone with ``suffix`` after it. ``actors`` obey the probe; ``ahead_s``: so
    many seconds, and as many blocks as come in them, after the block that is stood on."""

    steps: Sequence[Step] = ()
    tried: Sequence[Step] = ()
    suffix: Sequence[Step] = ()
    actors: Collection[str] = ()
    ahead_s: int = 0


@dataclass(frozen=True, slots=True)
class Scout:
    """Looks from an account that nobody can know before the block. ``block_ms``: the time between blocks, without which
    nothing is seen of later ones; ``chain_id``: whose factories and lockers are known."""

    node: Node
    head: Head
    block_ms: int | None = None
    chain_id: int = 0

    @property
    def place(self) -> str:
        """Where the probe is."""
        return "0x" + keccak256(f"scout {self.head.hash}".encode())[12:].hex()

    def request(self, look: Look) -> Request:
        """The call that makes a look. ``RpcError`` for one at later blocks where nobody tells how fast they come."""
        data = exploration(self.place, look.steps, look.tried, look.suffix)
        state = {who: {"code": codes()["Puppet"]} for who in look.actors}
        state[self.place] = {"code": codes()["Probe"]}
        asked = {"from": self.place, "to": self.place, "data": "0x" + data.hex(), "gas": hex(LOOK_GAS)}
        params: list[Any] = [asked, hex(self.head.number), state]
        if look.ahead_s:
            if not self.block_ms or self.block_ms < 0:
                raise RpcError(0, "how fast blocks come is not known")
            number = hex(self.head.number + look.ahead_s * 1_000 // self.block_ms)
            params.append({"number": number, "time": hex(self.head.timestamp_s + look.ahead_s)})
        return "eth_call", params

    def read(self, look: Look, answer: Any) -> Exploration:
        """The answer. ``RpcError`` when it was refused or is none."""
        if isinstance(answer, RpcError):
            raise answer
        try:
            return read_exploration(bytes_of(answer), len(look.steps), len(look.tried), len(look.suffix))
        except ProbeError as error:
            raise RpcError(0, str(error)) from error

    async def look(self, *looks: Look) -> list[Exploration]:
        """The answers in the order of the looks. ``RpcError`` when one is refused."""
        answers = await self.node.batch([self.request(look) for look in looks])
        return [self.read(look, answer) for look, answer in zip(looks, answers, strict=True)]

    async def balances(self, token: str, holders: Sequence[str]) -> dict[str, int]:
        """What each holds; ``RpcError`` when the token does not tell one of them."""
        if not holders:
            return {}
        steps = [Step(token, call("balanceOf(address)", who)) for who in holders]
        [found] = await self.look(Look(steps))
        told = {who: step.value for who, step in zip(holders, found.steps, strict=True)}
        if None in told.values():
            raise RpcError(3, "balanceOf() gives no number")
        return {who: value or 0 for who, value in told.items()}
