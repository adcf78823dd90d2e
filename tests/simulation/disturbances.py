"""What goes wrong around the services, block by block, as often as the shape of the world says."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from dexlane.events.control import Status
from dexlane.values.books import Lane
from simulation.lives import Life
from simulation.market import BLOCK_S
from simulation.processes import LEASE_TTL_S
from simulation.shape import EXECUTORS, SIGNER
from simulation.signers import Backups


class Disturbances:
    """Draws what happens in each block, and lets it happen."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._backups: dict[str, Backups] = {}

    async def block(self) -> None:
        """Live until the next block, with what goes wrong before it."""
        world, shape, chance = self._world, self._world.shape, self._world.chance
        stall = chance.fault("chain.stall", shape.stall)
        await asyncio.sleep(BLOCK_S if stall is None else stall.randint(2, 8) * BLOCK_S)
        for name, process in world.processes.items():
            life, when = process.life, chance.fault(f"kill {name}", shape.killed)
            if when is not None and life is not None and life.alive:
                world.loop.call_later(when.random() * BLOCK_S, world.kill, life, "any await")
        for name in world.processes:
            off = chance.fault(f"clock {name}", shape.clock_off)
            if off is not None:
                world.clock_of(world.processes[name]).off_by_ns = off.randint(-3_600, 3_600) * 10**9
        self._freeze()
        self._evict()
        self._use_a_key()
        self._restore_a_record()
        self._disturb_broker()
        await self._operate()
        reorg = chance.fault("chain.reorg", shape.reorg)
        if reorg is not None:
            world.market.reorganise(reorg)
        else:
            world.market.block()
        for lane in Lane:
            draw = chance.of(f"verdict {lane}")
            if draw.random() < shape.verdicts_per_block:
                world.loop.call_later(draw.random() * 4, world.market.verdict, lane, draw)

    def end(self) -> None:
        """Nothing goes wrong any more: clocks go right, the frozen go on, the broker answers."""
        world = self._world
        for process in world.processes.values():
            world.clock_of(process).off_by_ns = 0
            if process.life is not None and process.life.held_back is not None:
                self._thaw(process.life)
            if world.thefts.happened and process.life is not None and process.service in EXECUTORS:
                world.kill(process.life, "any await")  # whoever starts looks at the nonces
        world.market.calm_down()
        if not world.broker.is_up:
            self.broker_up(store_lost=False)

    def broker_up(self, *, store_lost: bool) -> None:
        """The broker serves again. Without its store, what has no outbox is said anew by whoever says it."""
        world = self._world
        world.effect("broker up", "without its store" if store_lost else "")
        if store_lost:
            world.counts["stores lost"] += 1
            world.monitor.forget_stored()
        world.broker.come_up(store_lost=store_lost)
        if store_lost:
            world.market.say_again()

    def _freeze(self) -> None:
        """An instance does nothing for a while, mostly longer than its lease, and goes on where it was."""
        world = self._world
        for name, process in world.processes.items():
            life, draw = process.life, world.chance.fault(f"freeze {name}", world.shape.frozen)
            if draw is not None and life is not None and life.alive and process.service in EXECUTORS:
                world.loop.call_later(draw.random() * BLOCK_S, self.freeze, life, draw)

    def freeze(self, life: Life, draw: Random, point: str = "any await") -> None:
        """A process stops where it waits next, and goes on after a while."""
        if life.alive and life.held_back is None and self._world.chance.active:
            length_s = LEASE_TTL_S * draw.choice((0.5, 1.5, 3.0, 9.0, 20.0))
            self._world.effect("frozen", life.process.name, life.number, point, f"for {length_s:g} s")
            self._world.counts["frozen"] += 1
            life.held_back = []
            self._world.loop.call_later(length_s, self._thaw, life)

    def _thaw(self, life: Life) -> None:
        if life.held_back is not None:
            self._world.effect("goes on", life.process.name, life.number, len(life.held_back))
            self._world.loop.thaw(life)

    def _evict(self) -> None:
        world = self._world
        for tx_hash in list(world.chain.pool):
            if world.chance.fault("pool.evicted", world.shape.evicted) is not None:
                world.effect("evicted", tx_hash[:10])
                world.chain.drop(tx_hash)

    def _use_a_key(self) -> None:
        """Somebody else sends a transaction with one of our keys, once in a world."""
        world = self._world
        draw = None if world.thefts.happened else world.chance.fault("key.used", world.shape.foreign)
        lanes = [lane for lane in Lane if f"{lane}-executor" in world.processes]
        if draw is None or not lanes:
            return
        world.thefts.happen(draw.choice(lanes))

    def _restore_a_record(self) -> None:
        """A signer comes back with an older copy of its record."""
        world = self._world
        for name in world.processes:
            executor = name.removesuffix(SIGNER)
            if executor == name or not world.shape.signer_restored:
                continue
            backups = self._backups.setdefault(executor, Backups(world, executor))
            backups.make()
            if world.chance.fault(f"restored {name}", world.shape.signer_restored) is not None:
                backups.restore()

    def _disturb_broker(self) -> None:
        world = self._world
        down = world.chance.fault("broker.down", world.shape.broker_down)
        if down is not None and world.broker.is_up:
            world.effect("broker down")
            world.broker.go_down()
            lost = world.chance.fault("broker.store lost", world.shape.store_lost) is not None
            world.loop.call_later(down.random() * 2 * BLOCK_S, self._broker_back, lost)

    def _broker_back(self, store_lost: bool) -> None:
        if not self._world.broker.is_up:
            self.broker_up(store_lost=store_lost)

    async def _operate(self) -> None:
        operator, chance = self._world.operator, self._world.chance
        if operator.is_halted:
            if chance.of("resume").random() < 0.25:
                await operator.resume()
            return
        halt = chance.fault("operator.halt", self._world.shape.halt)
        if halt is not None:
            await operator.halt(halt.choice((Status.HALTED, Status.REDUCING)))
