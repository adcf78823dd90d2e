"""The signer as a process of its own: the real server, rules and record, behind a simulated socket."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from dexlane.chain.calldata import router_of
from dexlane.chain.direct_calls import routers_of
from dexlane.chain.execution.keys import SigningRules, policy_for
from dexlane.testing.builders import CHAIN_ID
from dexlane.values.books import Lane, Mode
from dexlane_signer import Brake, LocalSigner, NonceGuard, PrivateKey
from dexlane_signer.server import SigningServer
from dexlane_signer.wire import to_object
from simulation.lives import CURRENT
from simulation.processes import KEYS, socket_of
from simulation.shape import SIGNER

KEPT_COPIES = 6


class _Watched(SigningServer):
    """The real server; every answer is shown to the witness."""

    def answer(self, frame: bytes) -> dict[str, Any]:
        """As the real one answers."""
        life = CURRENT.get()
        assert life is not None
        given = super().answer(frame)
        world: Any = life.process.witness
        world.monitor.signed(life, to_object(frame), given)
        return given


class SignerProcess:
    """``dexlane_signer.process.serve`` without signals, keystores and the control socket. The record is where a signer
    inside the executor would have it."""

    def __init__(self, executor: str) -> None:
        life = CURRENT.get()
        assert life is not None
        life.service = self
        self._world: Any = life.process.witness
        self._executor = executor
        self._started = False
        self._failure: Exception | None = None

    async def run(self) -> int:
        """Sign for ever."""
        world, lane = self._world, Lane(self._executor.removesuffix("-executor"))
        books = [book for book in world.market.books if book.mode is Mode.LIVE]
        routers = (router_of(CHAIN_ID), *routers_of(CHAIN_ID)[1:])
        guard = NonceGuard(world.folder / guard_file(self._executor))
        signer = LocalSigner(
            [PrivateKey.from_hex(KEYS[lane])],
            [policy_for(CHAIN_ID, lane, books, routers, SigningRules())],
            guard,
            clock_s=lambda: world.chain.tip.timestamp_s,
            brake=Brake(guard),
        )
        await _Watched(signer, uids=()).start(socket_of(self._executor))
        self._started = True
        await asyncio.Event().wait()
        return 0


def guard_file(executor: str) -> str:
    """The name of a record."""
    return f"{executor}-guard-{CHAIN_ID}.db"


class Backups:
    """Copies of a signer's record, made as the blocks go by; an older one may take the place of the record."""

    def __init__(self, world: Any, executor: str) -> None:
        self._world = world
        self._executor = executor
        self._copies: deque[bytes] = deque(maxlen=KEPT_COPIES)

    def make(self) -> None:
        """Copy the record as it is now."""
        self._copies.append(self._world.monitor.disk(guard_file(self._executor).removesuffix(".db")).serialize())

    def restore(self) -> None:
        """The signer dies, and its oldest copy is put in the place of its record before it starts again."""
        process = self._world.processes[self._executor + SIGNER]
        if not self._copies or process.life is None or not process.life.alive:
            return
        self._world.kill(process.life, "any await")
        self._world.counts["records restored"] += 1
        self._world.effect("restored", self._executor)
        name = guard_file(self._executor)
        self._world.monitor.let_go(name.removesuffix(".db"))
        for old in self._world.folder.glob(f"{name}*"):
            old.unlink()
        path = self._world.folder / name
        path.touch(0o600)
        path.write_bytes(self._copies[0])
        self._copies.clear()
