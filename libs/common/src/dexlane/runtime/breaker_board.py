"""The breakers that one service hosts on one chain: what they see goes in, what others must hear comes out.

The board keeps states in memory. A money service writes its changes into its journal, with the facts beside them in the
outbox (``breaker_store``); a service without one finds its last facts on the bus when it starts (``spoken_breakers``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from dexlane.domain.breakers import machine
from dexlane.domain.breakers.machine import BREAKER_ERRORS, BreakerState
from dexlane.domain.breakers.policy import BreakerPolicy
from dexlane.events.base import Event
from dexlane.events.breakers import BreakerChanged, BreakerKind, BreakerPhase, BreakerReset
from dexlane.events.control import Status, TradingStatus
from dexlane.runtime.clock import Clock
from dexlane.runtime.observability import Log, Metrics
from dexlane.values.books import Mode

RENEW_PARTS = 3
"""A breaker that must be heard of now and then is said again after this part of the time."""


class BreakerMoments:
    """What breakers do: each change logs once and counts once."""

    PHASES = (BreakerPhase.CLOSED, BreakerPhase.HALF_OPEN, BreakerPhase.OPEN)

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._log = log
        self._changes = metrics.counter("breaker_changes_total", "Phases that breakers went into", ("kind", "phase"))
        self._waits = metrics.gauge(
            "breaker_waits_for_operator",
            "1 while a breaker stays open until somebody resets it",
            ("chain_id", "source"),
        )
        self._missed = metrics.counter("breaker_resets_missed_total", "Resets of an opening that another one followed")
        self._phase = metrics.gauge(
            "breaker_phase", "0 closed, 1 half-open, 2 open or unable to judge", ("chain_id", "source")
        )

    def shown(self, fact: BreakerChanged) -> None:
        """A breaker as it now is."""
        level = self.PHASES.index(fact.phase) if fact.status is Status.ACTIVE else 2
        self._phase.labels(fact.chain_id, fact.source).set(level)
        self._waits.labels(fact.chain_id, fact.source).set(int(fact.needs_operator))

    def changed(self, fact: BreakerChanged) -> None:
        """A breaker went into another phase, or cannot judge any more."""
        self._changes.labels(fact.kind.value, fact.phase.value).inc()
        say = self._log.info if fact.status is Status.ACTIVE else self._log.warning
        say(
            "breaker_changed",
            chain_id=fact.chain_id,
            source=fact.source,
            phase=fact.phase,
            status=fact.status,
            reason=fact.reason,
            escalation=fact.escalation,
        )

    def reset_missed(self, word: BreakerReset) -> None:
        """A breaker opened once more while an operator reset the opening before; nobody looked at this one."""
        self._missed.inc()
        self._log.warning("breaker_reset_missed", chain_id=word.chain_id, source=word.source, reason=word.reason)


FIGURES_AFTER_MS = 30_000
"""Figures that moved are said again so seldom: they are for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSpec:
    """A breaker on a board. With ``mode`` or ``venue`` it holds only those trades; ``renewed_within_ms`` is set where
    the readers cannot tell in another way that its service is alive."""

    source: str
    kind: BreakerKind
    mode: Mode | None = None
    venue: str | None = None
    renewed_within_ms: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be stored and said of one breaker."""

    state: BreakerState
    events: tuple[Event, ...]


@dataclass(frozen=True, kw_only=True)
class BoardPlace:
    """Where a board stands."""

    service: str
    chain_id: int
    policies: Mapping[BreakerKind, BreakerPolicy]
    clock: Clock
    moments: BreakerMoments
    on_change: Callable[[BreakerChanged], None] = lambda fact: None
    """Told at once of every change, before it is stored: it must hold here already."""


class BreakerBoard:
    """The breakers of one service on one chain."""

    def __init__(self, place: BoardPlace) -> None:
        self._place = place
        self.chain_id = place.chain_id
        self._specs: dict[str, BreakerSpec] = {}
        self._states: dict[str, BreakerState] = {}
        self._said: dict[str, tuple[BreakerPhase, Status, str]] = {}
        self._shown: dict[str, int] = {}
        self._stored: dict[str, BreakerState] = {}
        self._told_ms: dict[str, int] = {}
        self._told_seen: dict[str, int] = {}
        self._words: dict[str, tuple[Status, str]] = {}
        self._waiting: dict[str, BreakerState] = {}
        """States of a former life, whose breakers were not added yet."""

    def restore(self, states: Iterable[BreakerState], facts: Iterable[BreakerChanged] = ()) -> None:
        """What is known of former lives: states of the journal, and facts found on the bus. The newer of both holds, so
        that a lost journal closes nothing."""
        self._waiting.update({state.source: state for state in states})
        for fact in facts:
            known = self._waiting.get(fact.source)
            if known is None or known.version < fact.breaker_version:
                self._waiting[fact.source] = machine.restored(fact, self._place.policies[fact.kind])
            self.add(_spec_of(fact))

    def add(self, spec: BreakerSpec) -> None:
        """Have this breaker, as it was or new. It is said anew in any case: what was said may be lost."""
        if spec.source in self._specs:
            return
        now_ms = self._place.clock.now_ms()
        state = self._waiting.pop(spec.source, None) or BreakerState(source=spec.source, now_ms=now_ms)
        self._specs[spec.source] = spec
        self._states[spec.source] = state.model_copy(update={"version": max(state.version + 1, now_ms)})
        self._judge(spec.source)

    def has(self, source: str) -> bool:
        """Whether this breaker is here."""
        return source in self._specs

    def see(self, source: str, value: object, key: str = "") -> None:
        """One more sample for a breaker that was added. Never raises for what the value is."""
        policy, now_ms = self._policy(source), self._place.clock.now_ms()
        try:
            self._states[source] = machine.taken(self._states[source], policy, value, now_ms, key=key)
        except BREAKER_ERRORS as error:
            why = f"a sample could not be taken: {type(error).__name__}: {error}"
            self._states[source] = machine.broken(self._states[source], policy, why, now_ms)
        self._judge(source)

    def judge(self) -> None:
        """Look at every breaker and the clock."""
        for source in self._specs:
            self._judge(source)

    def take(self, word: BreakerReset) -> None:
        """An operator's reset; nothing for one that was taken before, or of a breaker of somebody else."""
        state = self._states.get(word.source)
        if state is None or word.chain_id != self._place.chain_id:
            return
        if word.reset_version > state.reset_version and not word.releases(state.opened_at_ms):
            self._place.moments.reset_missed(word)
        now_ms = self._place.clock.now_ms()
        self._states[word.source] = machine.reset(state, self._policy(word.source), word, now_ms, self._seed)
        self._judge(word.source)

    def changes(self) -> list[Told]:
        """What is to be stored now; give it back to ``stored`` once that is done."""
        return [
            Told(state, tuple(self._events(source, state)))
            for source, state in self._states.items()
            if state is not self._stored.get(source)
        ]

    def stored(self, told: Iterable[Told]) -> None:
        """These are stored, and published or about to be."""
        for one in told:
            source = one.state.source
            self._stored[source] = one.state
            if one.events:
                self._shown[source] = one.state.version
                self._told_seen[source] = one.state.seen
                if any(isinstance(event, TradingStatus) for event in one.events):
                    self._words[source] = self._word_of(one.state)
                self._told_ms[source] = self._place.clock.now_ms()

    @property
    def _seed(self) -> str:
        return f"{self._place.service}.{self._place.chain_id}"

    def _policy(self, source: str) -> BreakerPolicy:
        return self._place.policies[self._specs[source].kind]

    def _judge(self, source: str) -> None:
        spec, policy, now_ms = self._specs[source], self._policy(source), self._place.clock.now_ms()
        before = self._states[source]
        state = machine.judged(before, policy, now_ms, self._seed)
        if _same_but_for_time(before, state):
            state = before
        if self._is_due(spec, state, now_ms):
            state = state.model_copy(update={"version": max(state.version + 1, now_ms)})
            self._told_ms[source] = now_ms
        self._states[source] = state
        said = (state.phase, machine.status_of(state, policy), state.reason)
        if self._said.get(source) == said:
            return
        fact = self._fact(source, state)
        self._place.on_change(fact)
        self._place.moments.shown(fact)
        if source in self._said:
            self._place.moments.changed(fact)
        self._said[source] = said

    def _is_due(self, spec: BreakerSpec, state: BreakerState, now_ms: int) -> bool:
        """Whether it is to be said again, though nothing changed: to be heard of, or because its figures moved."""
        since_ms = now_ms - self._told_ms.get(spec.source, now_ms)
        if spec.renewed_within_ms and since_ms > spec.renewed_within_ms // RENEW_PARTS:
            return True
        return since_ms > FIGURES_AFTER_MS and state.seen != self._told_seen.get(spec.source)

    def _events(self, source: str, state: BreakerState) -> Iterator[Event]:
        if self._shown.get(source) == state.version:
            return
        fact = self._fact(source, state)
        yield fact
        if fact.holds_chain and self._words.get(source) != self._word_of(state):
            yield _word(fact)

    def _word_of(self, state: BreakerState) -> tuple[Status, str]:
        """What a word would say, without what moves by itself: while a level is blind its sentence holds an age."""
        return machine.status_of(state, self._policy(state.source)), state.reason

    def _fact(self, source: str, state: BreakerState) -> BreakerChanged:
        spec, policy, place = self._specs[source], self._policy(source), self._place
        is_half_open = state.phase is BreakerPhase.HALF_OPEN
        return BreakerChanged(
            id=BreakerChanged.make_id(place.chain_id, source, state.version),
            chain_id=place.chain_id,
            occurred_at_ms=place.clock.now_ms(),
            source=source,
            service=place.service,
            kind=spec.kind,
            phase=state.phase,
            status=machine.status_of(state, policy),
            breaker_version=state.version,
            reason=machine.sentence_of(state)[:500],
            mode=spec.mode,
            venue=spec.venue,
            readings=machine.measured(state, policy),
            opened_at_ms=state.opened_at_ms,
            next_probe_at_ms=state.until_ms if state.phase is BreakerPhase.OPEN else None,
            needs_operator=state.needs_operator,
            escalation=state.escalation,
            round=state.round,
            probes=policy.probes if is_half_open else 0,
            probe_size_bps=policy.probe_size_bps,
            renewed_within_ms=spec.renewed_within_ms,
            reset_version=state.reset_version,
            history=state.history,
        )


def _same_but_for_time(before: BreakerState, after: BreakerState) -> bool:
    """Whether nothing happened but that time went on; that need not be stored."""
    return after.version == before.version and after.samples == before.samples


def _word(fact: BreakerChanged) -> TradingStatus:
    return TradingStatus(
        id=TradingStatus.make_id(fact.chain_id, fact.source, fact.breaker_version),
        chain_id=fact.chain_id,
        occurred_at_ms=fact.occurred_at_ms,
        source=fact.source,
        status=fact.status,
        status_version=fact.breaker_version,
        reason=fact.reason,
    )


def _spec_of(fact: BreakerChanged) -> BreakerSpec:
    return BreakerSpec(
        source=fact.source,
        kind=fact.kind,
        mode=fact.mode,
        venue=fact.venue,
        renewed_within_ms=fact.renewed_within_ms,
    )
