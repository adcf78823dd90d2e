"""What risk-scorer consumes."""

from __future__ import annotations

from collections.abc import Mapping

from dexlane.events.opportunity import OpportunityFound
from dexlane.events.portfolio import PositionChanged
from dexlane.events.risk import TokenFlagged
from dexlane.runtime.consuming import Later, Routes
from risk_scorer.scorer import Scorer
from risk_scorer.tokens import Publish


def routes(scorers: Mapping[int, Scorer], publish: Publish) -> Routes:
    """Opportunities of every chain, the flags ever raised, and what is held. Blocks come by the mirrors."""
    consumed = Routes()

    @consumed.decide(OpportunityFound, durable="risk-scorer", direct=True)
    async def judge(opportunity: OpportunityFound) -> Later:
        scorer = scorers[opportunity.chain_id]
        judged = await scorer.consider(opportunity)
        return await scorer.tell(judged, publish)

    @consumed.follow(TokenFlagged, from_="all")
    async def note_flag(event: TokenFlagged) -> None:
        scorers[event.chain_id].desk.note(event)

    @consumed.follow(PositionChanged, from_="all")
    async def note_position(event: PositionChanged) -> None:
        scorers[event.chain_id].trials.note_position(event)

    return consumed
