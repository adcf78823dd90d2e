"""How much risk a profile accepts at a level, and how large a trade may be. Integers, monotone in the level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dexlane.domain.levels import LEVELS, LOWEST, limits_of
from dexlane.values.amounts import BPS_DENOMINATOR, apply_bps
from dexlane.values.books import Profile


@dataclass(frozen=True, slots=True)
class Appetite:
    """What a book accepts: the highest risk score (0 to 100) and the lowest confidence."""

    max_risk_score: int
    min_confidence_bps: int


APPETITES: Mapping[Profile, Appetite] = MappingProxyType(
    {
        Profile.CONSERVATIVE: Appetite(30, 7_500),
        Profile.MODERATE: Appetite(45, 6_000),
        Profile.AGGRESSIVE: Appetite(65, 5_000),
        Profile.EXPERIMENTAL: Appetite(85, 3_000),
    }
)
"""What a profile accepts at any level."""


def appetite(profile: Profile, level: int) -> Appetite:
    """The stricter of what a profile and a level accept; ``ValueError`` for a level that is not published."""
    of_profile, of_level = APPETITES[profile], limits_of(level)
    return Appetite(
        max_risk_score=min(of_profile.max_risk_score, of_level.max_risk_score),
        min_confidence_bps=max(of_profile.min_confidence_bps, of_level.min_confidence_bps),
    )


def size_at(capital: int, level: int, ceiling: int, share_bps: int = BPS_DENOMINATOR) -> int:
    """What a level allows of the lane's capital, or the share of that which the market leaves; ``ceiling`` at most."""
    return min(ceiling, apply_bps(apply_bps(capital, LEVELS[level].position_bps), share_bps))


def candidate_sizes(capital: int, level: int, ceiling: int, share_bps: int = BPS_DENOMINATOR) -> Iterator[int]:
    """Sizes to try for an entry, largest first, all positive and none above ``ceiling``.

    The first is that of this level. Those after it are what the lower levels would trade: a smaller trade can be good
    where a larger one moves the price too far. So whatever a level finds acceptable, the next level finds too, at that
    size or a larger one.
    """
    last = 0
    for lower in range(level, LOWEST - 1, -1):
        size = size_at(capital, lower, ceiling, share_bps)
        if size > 0 and size != last:
            yield size
        last = size
