"""How good each relay has been, in which order they are used, and who is left alone for a while.

Pure: time (monotonic milliseconds) and jitter (0 to 9,999) are arguments. What a relay says about itself counts for
nothing here; only what it was given, and what the chain then showed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from dexlane.domain.resending import Delay


class Fault(StrEnum):
    """What a relay did wrong. A refusal of the transaction itself (a used nonce, a low fee) is none."""

    UNREACHABLE = "unreachable"
    """No answer in time, no connection, or a server error."""
    RATE_LIMITED = "rate_limited"
    GARBAGE = "garbage"
    """An answer that is none: not JSON, another request's, or another transaction's hash."""
    LIED = "lied"
    """It said that it has the bytes, and they were in no block for as long as they could have been; or its status
    contradicts the chain."""
    LEAKED = "leaked"
    """What only it had was seen in a public pool."""


DELAYS: Mapping[Fault, Delay] = {
    Fault.UNREACHABLE: Delay(2_000, 120_000),
    Fault.RATE_LIMITED: Delay(4_000, 120_000),
    Fault.GARBAGE: Delay(10_000, 600_000),
    Fault.LIED: Delay(120_000, 3_600_000),
    Fault.LEAKED: Delay(600_000, 86_400_000),
}
"""How long a relay is left alone, doubling with each fault in a row."""
BREACHES = frozenset({Fault.LIED, Fault.LEAKED})
"""An acceptance does not make these good; only an inclusion does."""


@dataclass(frozen=True, slots=True)
class RelayScore:
    """What one relay did so far. ``given`` counts slots it accepted something for and that came to an end."""

    given: int = 0
    included: int = 0
    blocks_waited: int = 0
    """Blocks from the first acceptance to the inclusion, over all included ones."""
    silences: int = 0
    """Faults in a row other than breaches."""
    breaches: int = 0
    """Lies and leaks since the last inclusion."""
    dropped_until_ms: int = 0
    dropped_for: Fault | None = None

    def is_dropped(self, now_ms: int) -> bool:
        """Whether it is left alone at this time."""
        return now_ms < self.dropped_until_ms


def after_acceptance(score: RelayScore) -> RelayScore:
    """It answered and took the bytes, or refused them for what they are."""
    return replace(score, silences=0)


def after_inclusion(score: RelayScore, blocks: int) -> RelayScore:
    """Something it had is in a block, ``blocks`` after it was given."""
    return replace(
        score,
        given=score.given + 1,
        included=score.included + 1,
        blocks_waited=score.blocks_waited + blocks,
        silences=0,
        breaches=0,
    )


def after_miss(score: RelayScore) -> RelayScore:
    """Something it had accepted ended another way: expired, or cancelled."""
    return replace(score, given=score.given + 1)


def after_fault(score: RelayScore, fault: Fault, now_ms: int, jitter_bps: int) -> RelayScore:
    """It is left alone for a while, longer than the last time; a fault never shortens a drop."""
    is_breach = fault in BREACHES
    in_row = (score.breaches if is_breach else score.silences) + 1
    until = max(score.dropped_until_ms, now_ms + DELAYS[fault].wait_ms(in_row, jitter_bps))
    faults = replace(score, breaches=in_row) if is_breach else replace(score, silences=in_row)
    given = score.given + (fault is Fault.LIED)
    kept = score.dropped_for if score.is_dropped(now_ms) and until == score.dropped_until_ms else fault
    return replace(faults, given=given, dropped_until_ms=until, dropped_for=kept)


def in_order(scores: Mapping[str, RelayScore], now_ms: int) -> Sequence[str]:
    """The relays that may be used, best first: by the share of what was included, then by how fast, then as
    configured. One that was never used counts as one of two included, so that it gets its chance."""
    usable = [name for name, score in scores.items() if not score.is_dropped(now_ms)]
    return sorted(usable, key=lambda name: (-_share_bps(scores[name]), _mean_wait(scores[name])))


def _share_bps(score: RelayScore) -> int:
    """Share of included slots, drawn towards a half while there are few (Laplace); in bps, rounded down."""
    return 10_000 * (score.included + 1) // (score.given + 2)


def _mean_wait(score: RelayScore) -> int:
    """Blocks to inclusion in hundredths, rounded down."""
    return 100 * score.blocks_waited // score.included if score.included else 0
