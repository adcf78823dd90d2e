"""An exit that can pay is in a block within three, where nothing but fees stands in its way.

Judged in worlds with demand, when a block is made, from the chain and the executor's journal. A block counts for an
exit when its executor lived and was undisturbed since the block before, and its slot was the next one of its account.
When three in a row counted, the last of them took no more than the exit's budget, and the exit is in none, the rule is
broken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from dexlane.domain.send_state import EXIT_BLOCKS
from simulation.lives import Life
from simulation.shape import EXECUTORS

PREPARED_MS = 2_000
"""So long before a block an exit must have been begun, to be signed and at a node."""
OF_ALL = ("chain.left out", "pool.", "broker.", "key.")
"""Begin the names of faults that stand in the way of every executor's transactions."""
OF_ONE = (
    *("crash", "kill", "freeze", "clock", "busy", "unheard", "unread", "behind", "lie", "send", "link"),
    *("late bus.follow", "late socket"),
)
"""Begin the names of those that stand in the way of one's. What it publishes or decides later does not."""
OPEN_EXITS = (
    "SELECT s.intent_id, s.account, s.nonce, s.record, i.created_ms FROM execution_slots s "
    "JOIN execution_intents i USING (intent_id) WHERE s.is_open AND i.purpose = 'exit'"
)


class ExitWatch:
    """Counts, for each open exit, the undisturbed blocks in a row that could have had it."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._runs: dict[str, int] = {}
        self._disturbed_until: dict[str, float] = {}
        """By executor: until when what went wrong lasts."""
        self._begun_s = 0.0
        self._lives: dict[str, Life | None] = {}
        world.chance.on_fault = self.went_wrong

    def went_wrong(self, site: str, lasts_s: float = 0.0) -> None:
        """A fault of this site happened; who it concerns is disturbed, for so long from now on."""
        until = self._world.loop.time() + lasts_s
        for name in EXECUTORS:
            if site.startswith(OF_ALL) or (site.startswith(OF_ONE) and name in site):
                self._disturbed_until[name] = max(until, self._disturbed_until.get(name, 0.0))

    def replaced(self) -> None:
        """Blocks were replaced: what was counted is of another chain."""
        self._runs.clear()
        self._begin()

    def block(self) -> None:
        """A block was made, and nobody was told of it yet."""
        if not self._world.shape.has_demand:
            return
        counted: dict[str, int] = {}
        for name in self._undisturbed():
            counted |= self._counted(name)
        self._runs = counted
        self._begin()

    def _counted(self, name: str) -> Iterator[tuple[str, int]]:
        """The open exits of an executor that this block could have had and has not, with their runs."""
        chain, now_ms = self._world.chain, self._world.clock.now_ms()
        for intent, account, nonce, stored, created_ms in self._world.monitor.rows(name, OPEN_EXITS):
            state = orjson.loads(stored)["state"]
            was_next = chain.blocks[-2].nonces.get(account, 0) == nonce
            is_wanted = state["giving_up"] is None and not state["short_of_funds"] and state["path"] == "public"
            if not was_next or not is_wanted or now_ms - created_ms < PREPARED_MS:
                continue
            run = self._runs.get(intent, 0) + 1
            if chain.blocks[-1].nonces.get(account, 0) == nonce:
                self._check(f"exit {intent[:8]} of {name}", state, run)
                yield intent, run
            else:
                self._world.counts["exits"] += 1
                self._world.counts[f"exits in block {min(run, EXIT_BLOCKS + 1)}"] += 1

    def _check(self, who: str, state: Any, run: int) -> None:
        number, budget = self._world.chain.tip.number, int(state["fee_budget_wei"])
        price = self._world.market.price_wei(number)
        self._world.counts["blocks too dear for an exit"] += run >= EXIT_BLOCKS and price > budget
        if run >= EXIT_BLOCKS and price <= budget:
            self._world.monitor.violated(
                "exits",
                f"{who} is in none of the {run} blocks to {number}, which took {price} wei per gas, within its budget "
                f"of {budget}",
            )

    def _undisturbed(self) -> list[str]:
        """Executors that lived through the time since the last block, heard of it, and were not halted."""
        world, found = self._world, []
        for name in EXECUTORS:
            instances = [process for process in world.processes.values() if process.service == name]
            if len(instances) != 1 or not self._is_well(name) or self._lives.get(name) is not instances[0].life:
                continue
            if self._disturbed_until.get(name, -1.0) < self._begun_s:
                found.append(name)
        return found

    def _is_well(self, name: str) -> bool:
        process = self._world.processes[name]
        life = process.life
        return bool(
            process.is_up
            and life.held_back is None
            and self._world.broker.is_up
            and not self._world.monitor.is_halted(life)
        )

    def _begin(self) -> None:
        """The time before the next block."""
        self._begun_s = self._world.loop.time()
        self._lives = {
            name: self._world.processes[name].life
            for name in EXECUTORS
            if name in self._world.processes and self._is_well(name)
        }
