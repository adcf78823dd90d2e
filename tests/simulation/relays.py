"""Private relays between the executors and the producers of blocks: they take, drop, leak, lie, expire and are late."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dexlane.chain.relays.catalogue import RelaySpec
from dexlane.chain.relays.relay import Parcel, RelayAnswer, RelayKind, RelayStatus
from dexlane.chain.rpc import RpcError
from dexlane.domain.publish_answers import PublishAnswer
from dexlane.domain.relay_scores import Fault
from simulation.lives import CURRENT, DiedError, Life, crossing

KEEPS_BLOCKS = 25
INCLUDES = 0.7
"""How likely a block is made by a producer that the relay reaches."""
MISDEEDS = ("unreachable", "answer lost", "rate limited", "refuses", "drops", "leaks", "is late")
"""What a relay may do with bytes instead of taking them and saying so."""


@dataclass
class Held:
    """Bytes at a relay. ``late``: it tries to include them after it should have forgotten them, too."""

    raw: bytes
    until: int
    late: bool = False


class RelayHouse:
    """The relay itself, whatever becomes of those who ask it."""

    def __init__(self, world: Any, name: str) -> None:
        self._world = world
        self._name = name
        self._held: dict[str, Held] = {}

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing that may still come into a block."""
        return not self._held

    def has(self, tx_hash: str) -> bool:
        """Whether it has these bytes."""
        return tx_hash in self._held

    def take(self, parcel: Parcel, *, late: bool) -> int:
        """Keep bytes; until which block."""
        until = min(parcel.tip + KEEPS_BLOCKS, parcel.last_block)
        self._held[parcel.tx_hash] = Held(parcel.raw, until, late)
        return until

    def forget(self, tx_hash: str) -> None:
        """Let go of bytes; what is late is not let go of."""
        held = self._held.get(tx_hash)
        if held is not None and not held.late:
            del self._held[tx_hash]

    def bring(self, number: int) -> list[bytes]:
        """What it hands to the producer of a block. What can be of no use any more is forgotten."""
        chain, brought = self._world.chain, []
        for tx_hash, held in list(self._held.items()):
            tx = chain.decode(held.raw)
            is_used = tx.nonce < chain.blocks[-1].nonces.get(tx.sender, 0)
            if is_used or (number > held.until and not held.late):
                # A reorganisation may bring the slot back, but the relay does not know of those.
                del self._held[tx_hash]
            elif not self._world.chance.active or self._world.chance.of(f"brings {self._name}").random() < INCLUDES:
                brought.append(held.raw)
        return brought


class RelayHouses:
    """All relays of a world."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self.houses = {name: RelayHouse(world, name) for name in world.shape.relays}

    @property
    def are_empty(self) -> bool:
        """Whether nothing is on its way by them."""
        return all(house.is_empty for house in self.houses.values())

    def misdeed(self, name: str) -> str:
        """What a relay does now instead of what it should; empty when nothing."""
        fault = self._world.chance.fault(f"relay {name}", self._world.shape.relay_fault)
        return "" if fault is None else fault.choice(MISDEEDS)

    def given(self, life: Life, name: str, raw: bytes, misdeed: str) -> None:
        """Signed bytes leave for a relay."""
        tx = self._world.chain.decode(raw)
        self._world.effect("give", life.name, name, tx.hash[:10], tx.nonce, misdeed)
        self._world.counts["given to relays"] += 1
        self._world.monitor.sending(life, tx)

    def leak(self, raw: bytes) -> None:
        """What is private becomes public."""
        with contextlib.suppress(RpcError):
            self._world.chain.submit(raw)

    def mine(self, mine: Callable[[], None]) -> None:
        """Let a block be made with what the relays bring; what it leaves out stays out of the public pool."""
        chain = self._world.chain
        public = set(chain.pool)
        replaced = dict(chain.pool)
        for house in self.houses.values():
            for raw in house.bring(chain.tip.number + 1):
                try:
                    chain.submit(raw)
                except RpcError:
                    continue  # the producer has what pays more, or these bytes are there already
        mine()
        for tx_hash in set(chain.pool) - public:
            chain.drop(tx_hash)
        for tx_hash, tx in replaced.items():
            if tx_hash not in chain.where and tx.nonce >= chain.blocks[-1].nonces.get(tx.sender, 0):
                chain.pool[tx_hash] = tx


class SimulatedRelay:
    """``dexlane.chain.relays.relay.Relay`` for the running process."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        """Its name in settings."""
        return self._name

    def _there(self) -> tuple[Life, Any, RelayHouse]:
        life = CURRENT.get()
        if life is None or not life.alive:
            raise DiedError("" if life is None else life.name)
        world: Any = life.process.witness
        return life, world, world.relays.houses[self._name]

    async def send(self, parcel: Parcel, on_sent: Callable[[], None] | None = None) -> RelayAnswer:
        """Hand bytes over."""
        crossing("relay.send:before")
        life, world, house = self._there()
        misdeed = world.relays.misdeed(self._name)
        world.relays.given(life, self._name, parcel.raw, misdeed)
        if on_sent is not None:
            on_sent()
        await asyncio.sleep(world.latency_s("relay"))
        until = 0
        if misdeed in {"", "answer lost", "leaks", "is late"}:
            until = house.take(parcel, late=misdeed == "is late")
        if misdeed == "leaks":
            world.relays.leak(parcel.raw)
        if misdeed in {"unreachable", "answer lost"}:
            await asyncio.sleep(3.0)
        crossing("relay.send:after")
        if misdeed in {"unreachable", "answer lost"}:
            return RelayAnswer(PublishAnswer.UNKNOWN, "no answer", Fault.UNREACHABLE)
        if misdeed == "rate limited":
            return RelayAnswer(PublishAnswer.RATE_LIMITED, "too many requests", Fault.RATE_LIMITED)
        if misdeed == "refuses":
            return RelayAnswer(PublishAnswer.FEE_TOO_LOW, "we do not like the tip")
        return RelayAnswer(PublishAnswer.ACCEPTED, until=until or parcel.last_block)

    async def cancel(self, parcel: Parcel) -> bool:
        """Ask it to forget; one that misbehaves only says so."""
        crossing("relay.cancel:before")
        _, world, house = self._there()
        await asyncio.sleep(world.latency_s("relay"))
        if not world.relays.misdeed(self._name):
            house.forget(parcel.tx_hash)
        return True

    async def status(self, tx_hash: str) -> RelayStatus:
        """What it says; sometimes the opposite."""
        _, world, house = self._there()
        await asyncio.sleep(world.latency_s("relay"))
        lies, has = bool(world.relays.misdeed(self._name)), house.has(tx_hash)
        if lies:
            return RelayStatus.GONE if has else RelayStatus.INCLUDED
        return RelayStatus.PENDING if has else RelayStatus.UNKNOWN

    async def stop(self) -> None:
        """Nothing to close."""


def specs(names: Sequence[str]) -> tuple[RelaySpec, ...]:
    """How settings describe them."""
    return tuple(
        RelaySpec(name=name, kind=RelayKind.PRIVATE_POOL, url=f"http://127.0.0.1:{port}")
        for port, name in enumerate(names, 1)
    )
