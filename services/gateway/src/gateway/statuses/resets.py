"""An operator's resets of breakers: facts that the service which hosts the breaker takes in."""

from __future__ import annotations

from collections.abc import Iterable

from dexlane.events.breakers import BreakerChanged, BreakerReset
from dexlane.events.risk import DecisionRecorded
from dexlane.runtime.journal import Journal


def openings(breakers: Iterable[BreakerChanged]) -> str:
    """Breakers for people, with what a reset names of each."""
    return "; ".join(
        f"{one.source} on chain {one.chain_id} is {one.phase.value} "
        f"(opened_at_ms {one.opened_at_ms or 0}): {one.reason}"
        for one in breakers
    )


async def reset_breakers(journal: Journal, breakers: Iterable[BreakerChanged], reason: str) -> list[BreakerReset]:
    """Say it, of the openings that were looked at, and record who said why, in one transaction. Versions grow with
    time, so that a restored journal never says something old."""
    words: list[BreakerReset] = []
    async with journal.transaction() as tx:
        for breaker in breakers:
            version = max(breaker.reset_version + 1, tx.now_ms)
            word = BreakerReset(
                id=BreakerReset.make_id(breaker.chain_id, breaker.source, version),
                chain_id=breaker.chain_id,
                occurred_at_ms=tx.now_ms,
                source=breaker.source,
                reset_version=version,
                reason=reason,
                opened_at_ms=breaker.opened_at_ms or 0,
            )
            await tx.emit(word)
            await tx.emit(
                DecisionRecorded(
                    id=DecisionRecorded.make_id("gateway", word.id, None, "breaker_reset"),
                    chain_id=breaker.chain_id,
                    occurred_at_ms=tx.now_ms,
                    service="gateway",
                    subject_id=word.id,
                    outcome="breaker_reset",
                    reasons=(f"{breaker.source} was reset: {reason}",),
                    inputs={"source": breaker.source, "phase": breaker.phase, "was": breaker.reason},
                )
            )
            words.append(word)
    return words
