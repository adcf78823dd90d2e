"""All providers of a chain as witnesses: asked at once, left out by name when they are no good, and two must agree.

What their words amount to is decided in ``dexlane.domain.agreement``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable, Sequence

from dexlane.chain.answers import NOT_READABLE
from dexlane.chain.execution.breaker_watch import NoWatch, Watch
from dexlane.chain.execution.sending_moments import SendingMoments
from dexlane.chain.execution.testimony import Questions, Testimony, Witness, hear
from dexlane.chain.link import WrongChain
from dexlane.chain.rpc import RpcError, RpcUnavailable
from dexlane.domain.agreement import agreed_height
from dexlane.domain.circumstances import Objection
from dexlane.runtime.errors import Transient

MAX_LAG_BLOCKS = 2
"""A provider further behind the tip is not listened to: its nonces and receipts are those of the past."""
HALT_AFTER_HEADS = 3
"""Heads in a row without any provider after which not even exits are taken."""
GRACE_S = 0.5
"""How long the first provider's answer waits for those of the others."""


class Witnesses:
    """The providers in the order of preference. With two or more, two must agree on what is terminal."""

    def __init__(
        self, chain_id: int, all_: Sequence[Witness], moments: SendingMoments, watch: Watch | None = None
    ) -> None:
        self._watch = watch or NoWatch()
        self._chain_id = chain_id
        self.all = all_
        self.quorum = min(2, len(all_))
        self._moments = moments
        self._told: dict[str, str] = {}
        self._missed = 0
        self._dispute = ""
        moments.quorum(chain_id, len(all_), self.quorum)

    async def ask(self, questions: Questions, *, is_new: bool = True) -> list[Testimony]:
        """Ask everybody at once. ``is_new``: this block was not asked about before."""
        asked = [self._hear(witness, questions, is_first=witness is self.all[0]) for witness in self.all]
        answers = [await asked[0]] if len(asked) == 1 else await _prompt(asked)
        heard = [testimony for testimony in answers if testimony is not None]
        if is_new:
            self._missed = 0 if heard else self._missed + 1
            self._watch.answered(well=bool(heard))
            self._dispute = ""
        self._moments.heard(self._chain_id, len(heard), self._missed)
        return heard

    async def nonce(self, account: str, *, used: int = -1, tip: int = 0) -> int:
        """The account's next nonce as far as enough providers agree. ``Transient`` when too few answer.

        One that was used for good stays used: providers that say otherwise are behind the tip, and waited for, or serve
        a chain that was reset, and have come as far as the tip.
        """
        agreed = await self._nonce(account)
        if agreed > used:
            return agreed
        await self._reach(tip)
        return await self._nonce(account)

    async def _nonce(self, account: str) -> int:
        found: list[int] = []
        fault = ""
        for witness in self.all:
            if witness.left_out():
                continue
            try:
                found.append(await witness.rpc.transaction_count(account))
            except (RpcError, RpcUnavailable, WrongChain, *NOT_READABLE) as error:
                fault = str(error)
        agreed = agreed_height(found, self.quorum)
        if agreed is None:
            raise Transient(f"the nonce of account {account} could not be read from {self.quorum} providers: {fault}")
        return agreed

    async def _reach(self, block: int) -> None:
        heads: list[int] = []
        for witness in self.all:
            with contextlib.suppress(RpcError, RpcUnavailable, WrongChain, *NOT_READABLE):
                heads.append(await witness.rpc.block_number())
        if (agreed_height(heads, self.quorum) or 0) < block:
            raise Transient(f"{self.quorum} providers of chain {self._chain_id} are behind block {block} or silent")

    def dissent(self, names: Iterable[str], about: str, *, outvoted: bool) -> None:
        """Providers contradict each other about something final. Who is outvoted is left out; without a majority
        nothing new is begun until they agree."""
        for witness in self.all:
            if witness.name in names:
                self._moments.disagreed(self._chain_id, witness.name, about)
                self._watch.answered(well=False)
                if outvoted:
                    witness.drop(f"contradicts the others about {about}")
        if not outvoted:
            self._dispute = about

    def objection(self, *, is_entry: bool) -> Objection | None:
        """Why nothing new should be sent now; None when something may."""
        if self._dispute:
            return Objection("providers_disagree", f"the providers disagree about {self._dispute}", passing=True)
        if self._missed >= HALT_AFTER_HEADS or (self._missed and is_entry):
            allowed = "nothing new" if self._missed >= HALT_AFTER_HEADS else "exits alone"
            sentence = f"no provider has answered at the last {self._missed} blocks: {allowed} may go until one does"
            return Objection("no_provider", sentence, passing=True)
        return None

    async def _hear(self, witness: Witness, questions: Questions, *, is_first: bool) -> Testimony | None:
        testimony, reason = None, witness.left_out()
        if not reason:
            try:
                testimony = await hear(witness.name, witness.rpc, questions, with_trials=is_first)
            except (RpcError, RpcUnavailable, WrongChain, *NOT_READABLE) as error:
                reason = str(error)
        if testimony is not None:
            if testimony.fault:
                self._moments.look_up_failed(self._chain_id, witness.name, testimony.fault)
            witness.head_seen(testimony.head)
            behind = questions.block.number - testimony.head
            if behind > MAX_LAG_BLOCKS:
                testimony, reason = None, f"it is {behind} blocks behind"
        if self._told.get(witness.name, "") != reason:
            self._told[witness.name] = reason
            self._moments.left_out(self._chain_id, witness.name, reason)
        return testimony


async def _prompt(asked: Sequence[Awaitable[Testimony | None]]) -> list[Testimony | None]:
    """The answers that come soon after the first one with something to say; who is late has not answered."""
    tasks = [asyncio.ensure_future(one) for one in asked]
    waiting = set(tasks)
    try:
        while waiting and not any(task.done() and task.result() is not None for task in tasks):
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if waiting:
            await asyncio.wait(waiting, timeout=GRACE_S)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [None if task.cancelled() else task.result() for task in tasks]
