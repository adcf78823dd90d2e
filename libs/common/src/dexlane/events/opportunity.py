"""A found chance to trade."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from dexlane.events.base import Event
from dexlane.values.amounts import Amount
from dexlane.values.base import digest
from dexlane.values.chains import BlockRef
from dexlane.values.routes import Route


class OpportunityFound(Event):
    """A strategy found a chance. For every book, or for the one in ``addressee``.

    A cyclic route is a price gap to be executed atomically; any other route opens a position in its last token.
    ``size_hint`` is the amount in that the strategy found best; planning decides. ``edge_bps`` is the expected gain
    over ``size_hint`` after pool fees, before gas.
    """

    NAME: ClassVar[str] = "opportunity.found"

    strategy: str = Field(pattern="^[a-z][a-z0-9_]{0,47}$")
    strategy_version: int = Field(ge=1)
    addressee: str | None = None
    block: BlockRef
    deadline_block: int = Field(ge=0, description="after this block the chance is worthless")
    route: Route
    size_hint: Amount = Field(gt=0)
    edge_bps: int
    expected_out: Amount = Field(description="quoted output for size_hint at this block")
    signals: dict[str, str] = Field(default_factory=dict, description="what the strategy saw, in plain words")
    received_at_ns: int = Field(ge=0)

    @staticmethod
    def make_id(strategy: str, strategy_version: int, block_hash: str, route: Route, addressee: str | None) -> str:
        """Seen twice, stored once: the id depends on nothing that differs between two sightings."""
        legs = [(leg.pool, leg.token_in) for leg in route.legs]
        return digest("opportunity.found", strategy, strategy_version, block_hash, legs, addressee)
