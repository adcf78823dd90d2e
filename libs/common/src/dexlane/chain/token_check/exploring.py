"""Exploring a token with the probe: the same questions asked of any node, in blocks ahead or within one call.

Where the node simulates blocks, the holders buy in one block and everything else happens minutes later, so that a
pause that the token asks for is over. Elsewhere all of it is one ``eth_call``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dexlane.chain.link import Request, RpcError
from dexlane.chain.token_check import switches
from dexlane.chain.token_check.asking import Node
from dexlane.chain.token_check.delays import delays_of
from dexlane.chain.token_check.probe import Exploration, ProbeError, Step, Told, exploration, read_exploration
from dexlane.chain.token_check.session import Script
from dexlane.chain.token_check.subject import Subject
from dexlane.chain.token_check.trading import part_given
from dexlane.domain.risk.token_trial import Kind, Switch, Trade

SOON = (1, 12)
LATER = (40, 900)
FAR = ((7_200, 86_400), (200_000, 60 * 86_400))
"""Blocks and seconds ahead of which sales are tried beyond the session's month."""


@dataclass(frozen=True, slots=True)
class Found:
    """What exploring brought. ``switches`` is None when they could not be looked for."""

    far: tuple[Trade, ...] = ()
    switches: tuple[Switch, ...] | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """One exploration: steps, or switches each with the suffix after it, ``ahead`` of the block stood on."""

    steps: Sequence[Step] = ()
    tried: Sequence[switches.Attempt] = ()
    suffix: Sequence[Step] = ()
    ahead: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class _Taken:
    """Calls that succeed, and what could not be tried."""

    attempts: tuple[switches.Attempt, ...]
    missing: tuple[str, ...]


@dataclass
class Explorer:
    """Explores one token. ``simulates``: the node knows ``eth_simulateV1``."""

    node: Node
    subject: Subject
    simulates: bool
    script: Script = field(init=False)
    played: switches.Cast = field(init=False)
    opening: list[Step] = field(init=False)

    def __post_init__(self) -> None:
        """Accounts and purchases."""
        self.script = Script(self.subject)
        self.played = switches.cast(self.script)
        self.opening = switches.opening(self.script, self.played)

    async def ask(self, asks: Sequence[Ask]) -> list[Exploration | RpcError]:
        """The answers in the order of the questions; one that is refused or cut off is an error in its place."""
        make = self._simulation if self.simulates else self._call
        return await self._answers(asks, [make(ask) for ask in asks], simulated=self.simulates)

    async def _answers(
        self, asks: Sequence[Ask], requests: Sequence[Request], *, simulated: bool
    ) -> list[Exploration | RpcError]:
        answers = await self.node.batch(requests)
        return [self._read(ask, answer, simulated) for ask, answer in zip(asks, answers, strict=True)]

    def _data(self, ask: Ask, steps: Sequence[Step]) -> dict[str, str]:
        data = exploration(self.subject.token, steps, [each.step for each in ask.tried], ask.suffix)
        return switches.explore_call(self.script, self.played, data)

    def _call(self, ask: Ask) -> Request:
        params: list[Any] = [self._data(ask, [*self.opening, *ask.steps]), hex(self.subject.head.number)]
        params.append(switches.overrides(self.script, self.played))
        if ask.ahead != (0, 0):
            params.append(self._block(ask.ahead))
        return "eth_call", params

    def _simulation(self, ask: Ask) -> Request:
        first = {
            "blockOverrides": self._block((ask.ahead[0] + SOON[0], ask.ahead[1] + SOON[1])),
            "stateOverrides": switches.overrides(self.script, self.played),
            "calls": [switches.explore_call(self.script, self.played, exploration(self.subject.token, self.opening))],
        }
        second = {
            "blockOverrides": self._block((ask.ahead[0] + LATER[0], ask.ahead[1] + LATER[1])),
            "calls": [self._data(ask, ask.steps)],
        }
        return "eth_simulateV1", (
            {"blockStateCalls": [first, second], "validation": False},
            hex(self.subject.head.number),
        )

    def _block(self, ahead: tuple[int, int]) -> dict[str, str]:
        head = self.subject.head
        return {
            "number": hex(head.number + ahead[0]),
            "time": hex(head.timestamp_s + ahead[1]),
            "gasLimit": hex(max(head.gas_limit, 60_000_000)),
        }

    def _read(self, ask: Ask, answer: Any, simulated: bool) -> Exploration | RpcError:
        if isinstance(answer, RpcError):
            return answer
        skipped = 0
        if simulated:
            answer = answer[-1]["calls"][0].get("returnData") or "0x"
        else:
            skipped = len(self.opening)
        data = bytes.fromhex(str(answer)[2:])
        try:
            found = read_exploration(data, skipped + len(ask.steps), len(ask.tried), len(ask.suffix))
        except ProbeError as error:
            return RpcError(0, str(error))
        return replace(found, steps=found.steps[skipped:])

    async def explore(self) -> Found:
        """Far sales, and what can be switched."""
        measuring = switches.measuring(self.script, self.played)
        tried = switches.attempts(self.script, self.played, part_given(self.subject))
        selling = switches.selling(self.script, self.played.named)
        asks = [Ask(measuring), *(Ask(selling, ahead=ahead) for ahead in FAR)]
        (plain, *distant), taken = await asyncio.gather(self.ask(asks), self._taken(tried))
        if isinstance(plain, RpcError):
            return Found((), None, (f"the node refuses to explore the token: {plain.message[:100]}",))
        usual = switches.baseline(plain.steps, len(self.subject.callers) + 1)
        if not usual.sells:
            return Found((), None, ("switches cannot be compared: a holder with code cannot sell",))
        far, unseen = await self._distant(selling, distant)
        chosen = switches.worth_measuring(taken.attempts)
        missing = [*unseen, *switches.untried(self.subject), *taken.missing]
        if len(chosen) > switches.MAX_MEASURED:
            missing.append(f"{len(chosen) - switches.MAX_MEASURED} calls were not measured: there are too many")
        found, unmeasured = await self._measure(chosen[: switches.MAX_MEASURED], usual)
        return Found(far, found, (*missing, *unmeasured))

    async def _distant(
        self, selling: Sequence[Step], simulated: Sequence[Exploration | RpcError]
    ) -> tuple[tuple[Trade, ...], tuple[str, ...]]:
        """Sales far ahead, and what was not seen of them.

        Geth and Nethermind simulate no block more than 256 ahead, but take its number in a plain call. There purchase
        and sale share a block, so it says something only where they may do so in the block that is stood on.
        """
        refused = [ahead for sold, ahead in zip(simulated, FAR, strict=True) if isinstance(sold, RpcError)]
        called: list[Exploration | RpcError] = []
        if refused:
            asks = [Ask(selling, ahead=ahead) for ahead in ((0, 0), *refused)]
            here, *called = await self._answers(asks, [self._call(ask) for ask in asks], simulated=False)
            if isinstance(here, RpcError) or not here.steps[2].ok:
                called = [RpcError(0, "a holder with code cannot sell in the block of his purchase")] * len(refused)
        instead = dict(zip(refused, called, strict=True))
        far, missing = [], []
        for sold, ahead in zip(simulated, FAR, strict=True):
            answer = instead.get(ahead, sold)
            if isinstance(answer, RpcError):
                missing.append(f"sales {ahead[0]} blocks ahead were not seen: {answer.message[:100]}")
            else:
                far.append(self._far(answer, ahead[1]))
        return tuple(far), tuple(missing)

    async def _taken(self, tried: Sequence[switches.Attempt]) -> _Taken:
        """The calls that succeed and change something: all shapes, then more numbers where one was taken."""
        first = await self._scan(tried)
        second = await self._scan(switches.climb(first.attempts))
        return _Taken((*first.attempts, *second.attempts), (*first.missing, *second.missing))

    async def _scan(self, tried: Sequence[switches.Attempt]) -> _Taken:
        size = switches.TRIED_AT_ONCE
        parts = [tried[at : at + size] for at in range(0, len(tried), size)]
        answers = await self.ask([Ask(tried=part) for part in parts]) if parts else []
        taken: list[switches.Attempt] = []
        missing: list[str] = []
        for part, answer in zip(parts, answers, strict=True):
            if isinstance(answer, RpcError):
                missing.append(f"the node refuses to try functions: {answer.message[:100]}")
                continue
            taken += [attempt for attempt, branch in zip(part, answer.branches, strict=True) if branch is not None]
            if answer.broken:
                missing.append(f"{answer.broken} calls could not be tried: they use too much gas")
        return _Taken(tuple(taken), tuple(missing))

    def _far(self, sold: Exploration, seconds: int) -> Trade:
        expected, reserve, sale, received = sold.steps
        return Trade(
            kind=Kind.FAR,
            buys=False,
            trader="far",
            amount=part_given(self.subject) * 4,
            expected=expected.value or 0,
            received=received.value or 0,
            reserve_out=reserve.value or 0,
            ok=sale.ok,
            reason="" if sale.ok else f"the sale fails {seconds} s ahead",
            gas=max(0, sale.gas - expected.gas),
            waited_s=seconds,
        )

    async def _measure(
        self, chosen: Sequence[switches.Attempt], usual: switches.Baseline
    ) -> tuple[tuple[Switch, ...], tuple[str, ...]]:
        """Each call alone; then, for every caller, all of his calls in a row. What broke off is said."""
        if not chosen:
            return (), ()
        measuring = switches.measuring(self.script, self.played)
        named = [who for who in self.subject.callers if who in self.subject.contracts]
        delays = await delays_of(self.node, named, hex(self.subject.head.number))
        size = switches.MEASURED_AT_ONCE // self.subject.pool.venue.weight
        parts = [chosen[at : at + size] for at in range(0, len(chosen), size)]
        rows = [
            [attempt for attempt in chosen if attempt.caller == caller and not attempt.may_upgrade]
            for caller in dict.fromkeys(attempt.caller for attempt in chosen)
        ]
        rows = [row for row in rows if len(row) > 1]
        asks = [Ask(tried=part, suffix=measuring) for part in parts]
        asks += [Ask([*(attempt.step for attempt in row), *measuring]) for row in rows]
        answers = await self.ask(asks)
        found: list[Switch] = []
        broken = 0
        for attempts, answer in zip([*parts, *rows], answers, strict=True):
            if isinstance(answer, RpcError):
                raise answer
            found += self._effects(attempts, answer, usual, delays)
            # All of them succeeded before, so one that does not any more lacked the gas for it, or for the sales.
            broken += sum(branch is None for branch in answer.branches)
        missing = (f"{broken} calls could not be measured: they use too much gas",) if broken else ()
        return tuple(found), missing

    def _effects(
        self,
        attempts: Sequence[switches.Attempt],
        answer: Exploration,
        usual: switches.Baseline,
        delays: dict[str, int | None],
    ) -> list[Switch]:
        if answer.branches:
            told: list[tuple[switches.Attempt, Sequence[Told]]] = [
                (attempt, branch[1:])
                for attempt, branch in zip(attempts, answer.branches, strict=True)
                if branch is not None
            ]
        else:
            row = replace(attempts[0], text=f"{len(attempts)} functions in a row")
            told = [(row, answer.steps[len(attempts) :])]
        return [switches.effect(attempt, results, usual, delays) for attempt, results in told]


async def explore(node: Node, subject: Subject, *, simulates: bool) -> Found:
    """Explore. Contracts that the token itself needs cannot be deputised: then they are left alone."""
    found = await Explorer(node, subject, simulates).explore()
    if found.switches is None and subject.contracts:
        people = tuple(who for who in subject.callers if who not in subject.contracts)
        found = await Explorer(node, replace(subject, callers=people), simulates).explore()
    return found
