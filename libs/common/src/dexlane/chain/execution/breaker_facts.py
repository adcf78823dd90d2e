"""What the breakers of all services say, as an executor hears it, and what that leaves of a trade."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dexlane.domain.breakers.admission import FREE, Admission, ProbeRound, admission, concerns
from dexlane.events.breakers import BreakerChanged, BreakerKind, BreakerPhase, BreakerReset
from dexlane.events.control import Status, strictest
from dexlane.values.books import Mode
from dexlane.values.routes import PlannedPath


def venues_of_paths(paths: Iterable[PlannedPath]) -> frozenset[str]:
    """The protocols whose pools are traded in."""
    return frozenset(leg.protocol.value for path in paths for leg in path.route.legs)


class BreakerFacts:
    """The newest fact of each breaker and the newest reset of each source, by chain. Planning asks with every trade, so
    what is closed and young costs it nothing."""

    def __init__(self) -> None:
        self._facts: dict[int, dict[str, BreakerChanged]] = {}
        self._resets: dict[int, dict[str, BreakerReset]] = {}
        self._restless: dict[int, tuple[BreakerChanged, ...]] = {}
        self._renewed: dict[int, tuple[BreakerChanged, ...]] = {}
        self._counted: set[int] = set()
        """Chains on which somebody was heard of who counts the losses of live trades."""

    def take(self, fact: BreakerChanged) -> bool:
        """A breaker as it now is; False when something as new is known."""
        facts = self._facts.setdefault(fact.chain_id, {})
        known = facts.get(fact.source)
        if known is not None and fact.breaker_version <= known.breaker_version:
            return False
        facts[fact.source] = fact
        found = facts.values()
        self._restless[fact.chain_id] = tuple(
            one for one in found if one.phase is not BreakerPhase.CLOSED or one.status is not Status.ACTIVE
        )
        self._renewed[fact.chain_id] = tuple(one for one in found if one.renewed_within_ms)
        if fact.kind is BreakerKind.LOSSES and fact.mode is not Mode.PAPER and fact.renewed_within_ms:
            self._counted.add(fact.chain_id)
        return True

    def take_reset(self, word: BreakerReset) -> None:
        """An operator's reset; the newest of each source is kept for whoever takes up the work later."""
        resets = self._resets.setdefault(word.chain_id, {})
        known = resets.get(word.source)
        if known is None or word.reset_version > known.reset_version:
            resets[word.source] = word

    def resets(self, chain_id: int) -> Iterator[BreakerReset]:
        """The newest reset of each source."""
        yield from self._resets.get(chain_id, {}).values()

    def of_service(self, chain_id: int, service: str) -> Iterator[BreakerChanged]:
        """The breakers of one service."""
        yield from (fact for fact in self._facts.get(chain_id, {}).values() if fact.service == service)

    def chain_status(self, chain_id: int) -> Status:
        """What the breakers that hold a whole chain ask for."""
        return strictest([fact.status for fact in self._restless.get(chain_id, ()) if fact.holds_chain])

    def why_unheard(self, chain_id: int, mode: Mode, now_ms: int) -> str:
        """Which breaker was not heard of, ever or for so long that nobody knows what it would say; empty when all
        were. Of those that never spoke, the one of live losses is missed: each chain has it from its first block."""
        if mode is Mode.LIVE and chain_id not in self._counted:
            return "no breaker that counts losses was ever heard of; portfolio says one with its first block"
        for fact in self._renewed.get(chain_id, ()):
            age_ms = now_ms - fact.occurred_at_ms
            if age_ms > fact.renewed_within_ms:
                return f"{fact.source} of {fact.service} was last heard of {age_ms} ms ago"
        return ""

    def admit(
        self, chain_id: int, trade: tuple[Mode, Sequence[PlannedPath]], begun: Mapping[ProbeRound, int], now_ms: int
    ) -> Admission:
        """What the breakers leave of a trade of this mode along these paths."""
        mode, paths = trade
        unheard = self.why_unheard(chain_id, mode, now_ms)
        if unheard:
            return Admission(Status.REDUCING, unheard)
        restless = self._restless.get(chain_id, ())
        if not restless:
            return FREE
        venues = venues_of_paths(paths)
        return admission([fact for fact in restless if concerns(fact, mode, venues)], begun, mode)
