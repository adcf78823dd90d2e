"""The published levels 1 to 10: how much a book may open by itself. Exits are never limited by a level.

One table, written in columns. Every column is ordered and never turns back, and a level differs from its neighbour in
two columns at least. Planning enforces it (``domain.objections``, ``domain.planning``, ``domain.submission_choice``);
the signer's copy of the shares is written from here (``make schemas``).

From equal book state, what a level approves the next one approves with at least the size. Where a column is a bound
(risk, confidence, checks, lanes, relays, age) that follows from its order. Where it is a choice (size, fee tier) the
level may fall back on every choice of the levels below it, so that trying more first never loses a trade.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import Field

from dexlane.events.fees import FeeTier
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import Check
from dexlane.values.base import Value
from dexlane.values.books import Book, Lane, RelayPolicy, RelayRules

LOWEST, HIGHEST = 1, 10


class TuningRange(Value):
    """How far an optimiser may move a book's own figures, up or down, in basis points of each. Nothing tunes yet."""

    stop_loss_bps: int = Field(ge=0, le=10_000)
    take_profit_bps: int = Field(ge=0, le=10_000)
    size_bps: int = Field(ge=0, le=10_000)


class LevelLimits(Value):
    """What one level allows."""

    level: int = Field(ge=LOWEST, le=HIGHEST)
    max_risk_score: int = Field(ge=0, le=100, description="highest risk score of a verdict")
    min_confidence_bps: int = Field(ge=0, le=10_000, description="lowest confidence of a verdict")
    position_bps: int = Field(gt=0, le=10_000, description="largest entry, of the capital of its lane")
    required_checks: tuple[Check, ...] = Field(description="what a verdict must have looked at")
    lanes: tuple[Lane, ...] = Field(min_length=1, description="lanes that may open something")
    relay_policy: RelayPolicy = Field(description="of entries; the stricter of this and the book's holds")
    entry_tiers: dict[Lane, FeeTier] = Field(description="what an entry offers for its inclusion, by lane")
    max_age_s: int = Field(gt=0, description="oldest chance that is taken: blocks since it was found, by block time")
    tuning: TuningRange = Field(description="how far an optimiser may move the book's figures; nothing tunes yet")


_ALWAYS = (Check.IMPACT, Check.TOKEN_FACTS, Check.EXECUTED_CHECK, Check.SANCTIONS)
_AND_DEPTH = (Check.DEPTH, *_ALWAYS)
_AND_VOLATILITY = (Check.VOLATILITY, *_AND_DEPTH)
_AND_CODE = (Check.BYTECODE, *_AND_VOLATILITY)
_EVERY = (Check.LP_SHARES, *_AND_CODE)

_RISK_SCORES = (20, 25, 30, 35, 40, 50, 60, 70, 80, 90)
_CONFIDENCES_BPS = (9_000, 8_500, 8_000, 7_500, 7_000, 6_500, 6_000, 5_000, 4_000, 3_000)
_POSITIONS_BPS = (100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000)
_CHECKS = (*(_EVERY,) * 2, *(_AND_CODE,) * 2, *(_AND_VOLATILITY,) * 2, *(_AND_DEPTH,) * 2, *(_ALWAYS,) * 2)
_LANES = (*((Lane.FAST,),) * 2, *((Lane.FAST, Lane.SMART),) * 8)
"""A verdict has one lane. The fast one is given to what one transaction settles and whose evidence is held already, so
it is the careful one to begin with; a level without it would leave out the best known trades."""
_RELAYS = (
    *(RelayPolicy.PRIVATE_ONLY,) * 2,
    *(RelayPolicy.PRIVATE_WHEN_WORTH,) * 2,
    *(RelayPolicy.PUBLIC,) * 6,
)
_FAST_TIERS = (*(FeeTier.BALANCED,) * 2, *(FeeTier.PROTECTED,) * 2, *(FeeTier.SPEED,) * 6)
_SMART_TIERS = (*(FeeTier.COST_EFFICIENT,) * 4, *(FeeTier.BALANCED,) * 6)
_AGES_S = (12, 12, 24, 24, 48, 60, 96, 144, 216, 300)
"""A higher level takes older chances, never fresher ones only: otherwise it would refuse what a lower one approves."""
_STOPS_BPS = (0, 0, 500, 500, 1_000, 1_000, 1_500, 2_000, 2_500, 3_000)
_TARGETS_BPS = (0, 0, 500, 1_000, 1_500, 2_000, 2_500, 3_000, 4_000, 5_000)
_SIZES_BPS = (0, 0, 0, 500, 1_000, 1_000, 1_500, 2_000, 2_500, 3_000)


def _published(level: int) -> LevelLimits:
    at = level - LOWEST
    return LevelLimits(
        level=level,
        max_risk_score=_RISK_SCORES[at],
        min_confidence_bps=_CONFIDENCES_BPS[at],
        position_bps=_POSITIONS_BPS[at],
        required_checks=_CHECKS[at],
        lanes=_LANES[at],
        relay_policy=_RELAYS[at],
        entry_tiers={Lane.FAST: _FAST_TIERS[at], Lane.SMART: _SMART_TIERS[at]},
        max_age_s=_AGES_S[at],
        tuning=TuningRange(stop_loss_bps=_STOPS_BPS[at], take_profit_bps=_TARGETS_BPS[at], size_bps=_SIZES_BPS[at]),
    )


LEVELS: Mapping[int, LevelLimits] = MappingProxyType({level: _published(level) for level in range(LOWEST, HIGHEST + 1)})
"""The table, by level."""

_TIERS_TO_TRY: Mapping[tuple[int, Lane], tuple[FeeTier, ...]] = MappingProxyType(
    {
        (level, lane): tuple(dict.fromkeys(LEVELS[lower].entry_tiers[lane] for lower in range(level, 0, -1)))
        for level in LEVELS
        for lane in Lane
    }
)
_STRICTNESS = tuple(RelayPolicy)


def unknown_level(level: int) -> str | None:
    """What is wrong with a level that is not published, and what to do; None for one that is."""
    if level in LEVELS:
        return None
    return f"level {level} is not published; give the book one from {LOWEST} to {HIGHEST} (`dexlane levels`)"


def limits_of(level: int) -> LevelLimits:
    """What a level allows. ``ValueError`` for one that is not published."""
    wrong = unknown_level(level)
    if wrong is not None:
        raise ValueError(wrong)
    return LEVELS[level]


def entry_tiers(level: int, lane: Lane) -> tuple[FeeTier, ...]:
    """The fee tiers an entry may be planned with: that of the level first, then those of the levels below."""
    return _TIERS_TO_TRY[level, lane]


def dearest_tier(lane: Lane) -> FeeTier:
    """The tier of the highest level. Routes are searched at its price whatever the level, so that one size has one
    route."""
    return LEVELS[HIGHEST].entry_tiers[lane]


def entry_relays(book: Book) -> RelayRules:
    """The relay rules of a book's entries: the stricter policy of book and level. Exits follow the book alone."""
    policy = max(book.relays.policy, LEVELS[book.level].relay_policy, key=_STRICTNESS.index)
    return book.relays if policy is book.relays.policy else book.relays.model_copy(update={"policy": policy})


def last_block(opportunity: OpportunityFound, level: int, block_time_s: int) -> int:
    """The last block at which a level still takes this chance; its age counts in whole blocks, rounded up."""
    return opportunity.block.number - (-LEVELS[level].max_age_s // block_time_s)


def position_shares() -> dict[str, dict[str, int]]:
    """What a signer enforces by itself: for every level and each of its lanes the largest entry, in basis points of the
    lane's capital. A lane that is not there may open nothing."""
    return {str(level): {lane.value: limits.position_bps for lane in limits.lanes} for level, limits in LEVELS.items()}
