"""What the breakers leave to an executor: nothing, everything, or a few small entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dexlane.events.breakers import BreakerChanged, BreakerPhase
from dexlane.events.control import Status
from dexlane.values.amounts import BPS_DENOMINATOR
from dexlane.values.books import Mode

ProbeRound = tuple[str, int]
"""A breaker's source, and the half-open round that an entry is begun in. Paper entries have rounds of their own: they
say nothing to a breaker of live trades, so they must not use up its probes."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What may be traded now. Every entry that is begun on these terms takes one probe of each of the ``rounds``."""

    status: Status = Status.ACTIVE
    reason: str = ""
    size_bps: int = BPS_DENOMINATOR
    rounds: tuple[ProbeRound, ...] = ()


FREE = Admission()
ON_PAPER = "#paper"


def concerns(fact: BreakerChanged, mode: Mode, venues: Iterable[str]) -> bool:
    """Whether a trade of this mode, in pools of these protocols, is what the breaker watches."""
    if fact.mode is Mode.PAPER and mode is not Mode.PAPER:
        return False
    return fact.venue is None or fact.venue in venues


def probe_round(fact: BreakerChanged, mode: Mode) -> ProbeRound:
    """The round that an entry of this mode belongs to."""
    is_guest = mode is Mode.PAPER and fact.mode is not Mode.PAPER
    return (f"{fact.source}{ON_PAPER}" if is_guest else fact.source, fact.round)


def admission(facts: Iterable[BreakerChanged], begun: Mapping[ProbeRound, int], mode: Mode = Mode.LIVE) -> Admission:
    """What the breakers that concern a trade leave of it. ``begun`` counts the entries of this lane in each round."""
    status, reasons, size_bps = Status.ACTIVE, list[str](), BPS_DENOMINATOR
    rounds: list[ProbeRound] = []
    for fact in facts:
        asked, why = fact.status, fact.reason
        if asked is Status.ACTIVE and fact.phase is BreakerPhase.HALF_OPEN:
            key = probe_round(fact, mode)
            if begun.get(key, 0) >= fact.probes:
                asked, why = Status.REDUCING, f"it is half-open, and its {fact.probes} probes are begun"
            else:
                rounds.append(key)
                size_bps = min(size_bps, fact.probe_size_bps)
        if asked is not Status.ACTIVE:
            reasons.append(f"{fact.source}: {why}")
            status = max(status, asked, key=lambda one: one.severity)
    if status is not Status.ACTIVE:
        return Admission(status, "; ".join(reasons))
    return Admission(Status.ACTIVE, "", size_bps, tuple(rounds))
