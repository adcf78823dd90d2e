"""How much risk a profile accepts at a level, and how large a trade may be. Integers, monotone in the level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dexlane.values.amounts import apply_bps
from dexlane.values.books import Profile

LEVELS = range(1, 11)
POSITION_BPS_PER_LEVEL = 100
"""Each level lets a single entry be one per cent of the lane's capital larger: 1 % at level 1, 10 % at level 10."""


@dataclass(frozen=True, slots=True)
class Appetite:
    """What a book accepts: the highest risk score (0 to 100), the lowest confidence, the share of capital per trade."""

    max_risk_score: int
    min_confidence_bps: int
    position_bps: int


@dataclass(frozen=True, slots=True)
class _Span:
    """A threshold at level 1 and at level 10; the levels between lie on the straight line."""

    first: int
    last: int

    def at(self, level: int) -> int:
        return self.first + (self.last - self.first) * (level - 1) // 9


_RISK: Mapping[Profile, _Span] = MappingProxyType(
    {
        Profile.CONSERVATIVE: _Span(15, 30),
        Profile.MODERATE: _Span(25, 45),
        Profile.AGGRESSIVE: _Span(35, 65),
        Profile.EXPERIMENTAL: _Span(45, 85),
    }
)
_CONFIDENCE_BPS: Mapping[Profile, _Span] = MappingProxyType(
    {
        Profile.CONSERVATIVE: _Span(8_500, 7_500),
        Profile.MODERATE: _Span(7_500, 6_000),
        Profile.AGGRESSIVE: _Span(6_500, 5_000),
        Profile.EXPERIMENTAL: _Span(5_000, 3_000),
    }
)


def appetite(profile: Profile, level: int) -> Appetite:
    """The thresholds of a profile at a level from 1 to 10; ``ValueError`` for another level.

    A higher level never accepts less risk, asks for more confidence or trades smaller.
    """
    if level not in LEVELS:
        raise ValueError(f"level {level} is not between {LEVELS.start} and {LEVELS.stop - 1}")
    return Appetite(
        max_risk_score=_RISK[profile].at(level),
        min_confidence_bps=_CONFIDENCE_BPS[profile].at(level),
        position_bps=level * POSITION_BPS_PER_LEVEL,
    )


def candidate_sizes(capital: int, level: int, ceiling: int) -> Iterator[int]:
    """Sizes to try for an entry, largest first, all positive and none above ``ceiling``.

    The first is what this level allows of the lane's capital. Those after it are what the lower levels would trade: a
    smaller trade can be good where a larger one moves the price too far. So whatever a level finds acceptable, the
    next level finds too, at that size or a larger one.
    """
    last = 0
    for lower in range(level, 0, -1):
        size = min(ceiling, apply_bps(capital, lower * POSITION_BPS_PER_LEVEL))
        if size > 0 and size != last:
            yield size
        last = size
