"""The relays of one chain with their scores: who can be used, in which order, and what they did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dexlane.chain.execution.relay_moments import RelayMoments
from dexlane.chain.relays.relay import Relay, RelayAnswer
from dexlane.domain import relay_scores
from dexlane.domain.publish_answers import PublishAnswer
from dexlane.domain.relay_scores import Fault, RelayScore
from dexlane.domain.submission_choice import Relays
from dexlane.runtime.clock import Clock

TOOK = frozenset({PublishAnswer.ACCEPTED, PublishAnswer.ALREADY_KNOWN})


@dataclass(frozen=True)
class RelaySet:
    """The relays of a chain, and the address of the key that requests to them are signed with."""

    chain_id: int
    relays: Sequence[Relay]
    known_by: str | None = None


class RelayBoard:
    """Scores in memory: a restart gives every relay a new chance."""

    def __init__(
        self,
        set_: RelaySet,
        *,
        clock: Clock,
        moments: RelayMoments,
        jitter_bps: Callable[[], int] = lambda: 5_000,
    ) -> None:
        self.chain_id = set_.chain_id
        self.known_by = set_.known_by
        self.moments = moments
        self._relays = {relay.name: relay for relay in set_.relays}
        self._scores = {relay.name: RelayScore() for relay in set_.relays}
        self._clock = clock
        self._jitter_bps = jitter_bps

    @property
    def scores(self) -> Mapping[str, RelayScore]:
        """By name."""
        return self._scores

    def __getitem__(self, name: str) -> Relay:
        return self._relays[name]

    @property
    def names(self) -> Sequence[str]:
        """All of them, as configured."""
        return list(self._relays)

    def usable(self) -> Sequence[str]:
        """Those that can be used now, best first."""
        return relay_scores.in_order(self._scores, self._now_ms())

    def look(self) -> None:
        """Tell who can be used now; once a block, for a relay comes back by time alone."""
        self.moments.usable(self.chain_id, self._scores, self._now_ms())

    def now(self) -> Relays:
        """How many there are, and how many can be used."""
        return Relays(configured=len(self._relays), healthy=len(self.usable()))

    def answered(self, name: str, answer: RelayAnswer) -> None:
        """It answered to bytes. A refusal of the bytes themselves is no fault of it."""
        if answer.fault is not None:
            self.faulted(name, answer.fault, answer.text)
        elif answer.answer in TOOK:
            self._scores[name] = relay_scores.after_acceptance(self._scores[name])

    def faulted(self, name: str, fault: Fault, text: str) -> None:
        """It did something wrong."""
        score = relay_scores.after_fault(self._scores[name], fault, self._now_ms(), self._jitter_bps())
        self._scores[name] = score
        self.moments.faulted(self.chain_id, name, fault, text)

    def included(self, name: str, blocks: int) -> None:
        """Something it held is in a block."""
        self._scores[name] = relay_scores.after_inclusion(self._scores[name], blocks)

    def missed(self, name: str) -> None:
        """Something it held came to nothing."""
        self._scores[name] = relay_scores.after_miss(self._scores[name])

    async def stop(self) -> None:
        """Close all connections."""
        for relay in self._relays.values():
            await relay.stop()

    def _now_ms(self) -> int:
        return self._clock.monotonic_ns() // 1_000_000
