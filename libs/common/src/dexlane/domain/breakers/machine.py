"""The life of one breaker: a state, and what moves it on. Time comes as an argument and never goes back in here."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from dexlane.domain.breakers.policy import LEVELS, BreakerPolicy
from dexlane.domain.breakers.samples import Sample, is_bad, kept, readable, readings, why_blind
from dexlane.events.breakers import (
    KEPT_CHANGES,
    BreakerChange,
    BreakerChanged,
    BreakerPhase,
    BreakerReading,
    BreakerReset,
)
from dexlane.events.control import Status
from dexlane.values.amounts import BPS_DENOMINATOR
from dexlane.values.base import Value, digest

BREAKER_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a fault in a breaker's own code or input can raise. It never lets a trade pass."""


class BreakerState(Value):
    """Everything that a breaker remembers; small, and stored whole.

    ``version`` grows with every change that others must hear of. Samples numbered up to ``since`` belong to an earlier
    phase. ``streak`` counts openings with no calm and no reset between them, ``escalation`` those before the last one.
    """

    source: str
    phase: BreakerPhase = BreakerPhase.CLOSED
    version: int = 0
    now_ms: int = 0
    seen: int = 0
    since: int = 0
    samples: tuple[Sample, ...] = ()
    fault: str = Field(default="", description="why it cannot judge; it holds as long as that lasts")
    reason: str = "nothing spoke against trading yet"
    opened_at_ms: int | None = None
    until_ms: int | None = None
    closed_at_ms: int | None = None
    openings: int = 0
    escalation: int = 0
    streak: int = 0
    needs_operator: bool = False
    round: int = 0
    round_until_ms: int = 0
    reset_version: int = 0
    history: tuple[BreakerChange, ...] = ()


def status_of(state: BreakerState, policy: BreakerPolicy) -> Status:
    """What the breaker asks for."""
    return policy.severity if state.phase is BreakerPhase.OPEN or state.fault else Status.ACTIVE


def sentence_of(state: BreakerState) -> str:
    """Why it is as it is, for people."""
    return f"cannot judge: {state.fault}" if state.fault else state.reason


def taken(state: BreakerState, policy: BreakerPolicy, value: object, now_ms: int, *, key: str = "") -> BreakerState:
    """The state with one more sample. What is no integer is one that cannot be read, and speaks against trading."""
    now_ms = max(now_ms, state.now_ms)
    sample = Sample(number=state.seen + 1, at_ms=now_ms, value=readable(policy, value), key=key)
    samples = kept(policy, (*state.samples, sample), now_ms)
    return state.model_copy(update={"now_ms": now_ms, "seen": sample.number, "samples": samples})


def judged(state: BreakerState, policy: BreakerPolicy, now_ms: int, seed: str) -> BreakerState:
    """The state after a look at everything seen and at the clock. A clock that goes back changes nothing.

    The ``seed`` spreads how long breakers stay open. An error in here opens the breaker.
    """
    try:
        return _judged(state, policy, now_ms, seed)
    except BREAKER_ERRORS as error:
        return broken(state, policy, f"an error inside the breaker: {type(error).__name__}: {error}", now_ms)


def _judged(state: BreakerState, policy: BreakerPolicy, now_ms: int, seed: str) -> BreakerState:
    now_ms = max(now_ms, state.now_ms)
    state = state.model_copy(update={"now_ms": now_ms, "samples": kept(policy, state.samples, now_ms)})
    state = _with_fault(state, policy)
    if state.phase is BreakerPhase.CLOSED:
        why = _trouble(state, policy)
        return _opened(state, policy, why, seed) if why else state
    if state.phase is BreakerPhase.OPEN:
        return _half_opened_in_time(_left_to_operator(state, policy), policy)
    return _tried(state, policy, seed)


def reset(state: BreakerState, policy: BreakerPolicy, word: BreakerReset, now_ms: int, seed: str) -> BreakerState:
    """An operator's reset: what happened is forgiven, what still holds opens the breaker again at once. A reset that
    was taken in before does nothing, and one of another opening releases nothing. The clock is believed, also when it
    is behind."""
    if word.reset_version <= state.reset_version:
        return state
    if not word.releases(state.opened_at_ms):
        return state.model_copy(update={"reset_version": word.reset_version, "version": next_version(state)})
    update = {"reset_version": word.reset_version, "now_ms": now_ms, "streak": 0}
    closed = _closed(state.model_copy(update=update), f"reset: {word.reason}")
    return judged(closed, policy, now_ms, seed)


def broken(state: BreakerState, policy: BreakerPolicy, why: str, now_ms: int) -> BreakerState:
    """Open, because the breaker itself failed. Nothing is computed that could fail again."""
    now_ms = max(now_ms, state.now_ms)
    if state.phase is BreakerPhase.OPEN:
        until_ms = None if state.until_ms is None else max(state.until_ms, now_ms + policy.open_ms)
        return state.model_copy(update={"now_ms": now_ms, "until_ms": until_ms})
    update: dict[str, Any] = {
        "now_ms": now_ms,
        "opened_at_ms": now_ms,
        "until_ms": now_ms + policy.open_ms,
        "openings": state.openings + 1,
        # What it choked on must not come up again when it tries to close.
        "samples": (),
    }
    return _told(state.model_copy(update=update), BreakerPhase.OPEN, why)


def restored(fact: BreakerChanged, policy: BreakerPolicy) -> BreakerState:
    """The state behind a fact, for a service that keeps nothing else. What it had seen is gone: a breaker that was open
    stays open, and one that was half-open begins its round anew."""
    closings = [change.at_ms for change in fact.history if change.phase is BreakerPhase.CLOSED]
    return BreakerState(
        source=fact.source,
        phase=fact.phase,
        version=fact.breaker_version,
        now_ms=fact.occurred_at_ms,
        reason=fact.reason,
        opened_at_ms=fact.opened_at_ms,
        until_ms=fact.next_probe_at_ms if fact.phase is BreakerPhase.OPEN else None,
        closed_at_ms=max(closings, default=None),
        openings=sum(change.phase is BreakerPhase.OPEN for change in fact.history),
        escalation=fact.escalation,
        streak=0 if fact.opened_at_ms is None else fact.escalation + 1,
        needs_operator=fact.needs_operator,
        round=fact.round,
        round_until_ms=fact.occurred_at_ms + policy.half_open_ms,
        reset_version=fact.reset_version,
        history=fact.history,
    )


def measured(state: BreakerState, policy: BreakerPolicy) -> tuple[BreakerReading, ...]:
    """The figures as they are now; none where they cannot be computed."""
    try:
        return readings(policy, state.samples, state.since, state.now_ms)
    except BREAKER_ERRORS:
        return ()


def _with_fault(state: BreakerState, policy: BreakerPolicy) -> BreakerState:
    fault = why_blind(policy, state.samples, state.now_ms)
    if fault == state.fault:
        return state
    was_blind = bool(state.fault)
    changed = state.model_copy(update={"fault": fault})
    # The figures of a fault change with every look; that it is there is the news.
    return changed if was_blind and fault else changed.model_copy(update={"version": next_version(state)})


def next_version(state: BreakerState) -> int:
    """The version after a change: it grows with time, so that one from a lost journal never passes for newer."""
    return max(state.version + 1, state.now_ms)


def _trouble(state: BreakerState, policy: BreakerPolicy) -> str:
    """What speaks for opening, or nothing."""
    over = [one for one in readings(policy, state.samples, state.since, state.now_ms) if _reaches(one)]
    if over:
        return "; ".join(f"{one.name} {one.value} reaches the limit of {one.limit}" for one in over)
    if policy.kind not in LEVELS and any(one.value is None for one in _own(state)):
        return "a sample cannot be read"
    return ""


def _reaches(reading: BreakerReading) -> bool:
    return reading.value is not None and reading.value >= reading.limit


def _beyond_repair(state: BreakerState, policy: BreakerPolicy) -> str:
    """What only an operator may judge, or nothing."""
    limits = policy.operator_limits
    if not limits:
        return ""
    found = readings(policy, state.samples, state.since, state.now_ms)
    over = [one for one in found if one.value is not None and one.value >= limits.get(one.name, one.value + 1)]
    return "; ".join(f"{one.name} {one.value} reaches {limits[one.name]}, which waits for an operator" for one in over)


def _left_to_operator(state: BreakerState, policy: BreakerPolicy) -> BreakerState:
    """An open breaker that would have tried again by itself, and whose figure went where it may not."""
    why = "" if state.needs_operator else _beyond_repair(state, policy)
    if not why:
        return state
    # A matter of its own: who saw only the opening before has not seen this.
    update = {"needs_operator": True, "until_ms": None, "opened_at_ms": state.now_ms}
    return _told(state.model_copy(update=update), BreakerPhase.OPEN, why)


def _own(state: BreakerState) -> list[Sample]:
    return [sample for sample in state.samples if sample.number > state.since]


def _opened(state: BreakerState, policy: BreakerPolicy, why: str, seed: str) -> BreakerState:
    """Open. For longer when that comes soon after the last time, and in the end until an operator comes."""
    since_closed_ms = state.now_ms - (state.closed_at_ms or 0)
    is_calm = state.phase is BreakerPhase.CLOSED and since_closed_ms >= policy.calm_ms
    escalation = 0 if is_calm else state.streak
    beyond = _beyond_repair(state, policy)
    needs_operator = bool(beyond) or escalation + 1 >= policy.operator_after
    openings = state.openings + 1
    lasts_ms = open_time_ms(policy, escalation, f"{seed}.{state.source}.{openings}")
    update: dict[str, Any] = {
        "opened_at_ms": state.now_ms,
        "until_ms": None if needs_operator else state.now_ms + lasts_ms,
        "openings": openings,
        "escalation": escalation,
        "streak": escalation + 1,
        "needs_operator": needs_operator,
    }
    return _told(state.model_copy(update=update), BreakerPhase.OPEN, beyond or why)


def open_time_ms(policy: BreakerPolicy, escalation: int, seed: str) -> int:
    """How long a breaker stays open: doubled with every opening without calm, spread by the seed, and never longer than
    the cap. A longer escalation never makes it shorter, because no spread is above the factor of two."""
    # Beyond 2^40 every open time is above any cap; the bound keeps the number small.
    base_ms = policy.open_ms << min(escalation, 40)
    spread = int(digest("breaker.jitter", seed), 16) % (policy.jitter_bps + 1)
    return min(policy.max_open_ms, base_ms + base_ms * spread // BPS_DENOMINATOR)


def _half_opened_in_time(state: BreakerState, policy: BreakerPolicy) -> BreakerState:
    """Half-open when its time is over and what opened it does not hold any more."""
    if state.needs_operator or state.until_ms is None or state.now_ms < state.until_ms:
        return state
    fresh = state.model_copy(update={"since": state.seen})
    if state.fault or _trouble(fresh, policy):
        return state
    began = fresh.model_copy(update={"round": state.round + 1, "round_until_ms": state.now_ms + policy.half_open_ms})
    return _told(began, BreakerPhase.HALF_OPEN, f"trying again; it had opened because {state.reason}")


def _tried(state: BreakerState, policy: BreakerPolicy, seed: str) -> BreakerState:
    """What half-open comes to: open again, closed, another round, or nothing yet."""
    own = _own(state)
    bad = sum(is_bad(policy, sample) for sample in own)
    why = _trouble(state, policy)
    is_level = policy.kind in LEVELS
    if why or (not is_level and bad >= policy.strikes):
        return _opened(state, policy, why or "what was tried in half-open failed", seed)
    is_over = state.now_ms >= state.round_until_ms
    if is_level:
        return _closed(state, "the level stayed well") if is_over and not state.fault else state
    if len(own) - bad >= policy.successes:
        return _closed(state, "what was tried in half-open went well")
    if not is_over:
        return state
    update = {"round": state.round + 1, "round_until_ms": state.now_ms + policy.half_open_ms}
    return _told(state.model_copy(update=update), BreakerPhase.HALF_OPEN, "nothing was decided; another round")


def _closed(state: BreakerState, why: str) -> BreakerState:
    update = {"closed_at_ms": state.now_ms, "until_ms": None, "needs_operator": False, "since": state.seen}
    return _told(state.model_copy(update=update), BreakerPhase.CLOSED, why)


def _told(state: BreakerState, phase: BreakerPhase, reason: str) -> BreakerState:
    change = BreakerChange(at_ms=state.now_ms, phase=phase, reason=reason)
    history = (*state.history, change)[-KEPT_CHANGES:]
    return state.model_copy(
        update={"phase": phase, "reason": reason, "version": next_version(state), "history": history}
    )
