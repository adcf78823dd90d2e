"""Controls: what stands between a decision of a book and its trade, beside its level and the limits of its lanes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Annotated

from pydantic import Field, field_validator

from dexlane.values.amounts import Amount
from dexlane.values.base import Value

Share = Annotated[int, Field(strict=True, ge=1, le=10_000)]
"""A share in basis points, never zero: what is not wanted at all is switched off elsewhere."""


class WithoutReference(StrEnum):
    """What happens to an entry whose price can be compared with no other."""

    REFUSE = "refuse"
    SHRINK = "shrink"


class CapStep(Value):
    """From so many good trades on, one trade may be worth so many US dollars."""

    good_trades: int = Field(strict=True, ge=0)
    usd: int = Field(strict=True, ge=1)


class Controls(Value):
    """The controls of one book; None, or zero, switches one off.

    Shares are basis points of the capital of the lane that trades. So what holds in each lane holds for the book, and
    two executors never have to ask each other.
    """

    max_token_bps: Share | None = Field(default=5_000, description="most that one token may hold")
    max_pool_bps: Share | None = Field(
        default=5_000, description="most that positions may hold which would be sold in one pool"
    )
    max_strategy_bps: Share | None = Field(default=None, description="most that one strategy may hold")
    max_book_bps: Share | None = Field(default=None, description="most that the book may hold in all")
    max_chain_bps: Share | None = Field(
        default=None,
        description="most that all books of this mode and quote token may hold on the chain, of their capital together",
    )
    duplicate_blocks: int = Field(
        default=1, strict=True, ge=0, le=64, description="the same trade is not made again within so many blocks"
    )
    collar_bps: Annotated[int, Field(strict=True, ge=1, le=5_000)] | None = Field(
        default=300, description="how far an entry's price may lie from an independent one"
    )
    without_reference: WithoutReference = WithoutReference.REFUSE
    shrink_bps: Share = Field(
        default=2_500, description="what remains of an entry that is shrunk for want of a reference"
    )
    min_quote_balance: Amount = Field(default=0, description="of the quote token, never traded with; quote units")
    max_daily_loss_usd: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        default=None, description="realised loss of a day (UTC) over all lanes of the book after which entries stop"
    )
    caps: tuple[CapStep, ...] = Field(
        default=(), max_length=16, description="the most a trade may be worth, growing with proven trades; empty: none"
    )

    confirm_first_trades: int = Field(
        default=0, strict=True, ge=0, le=10_000, description="so many trades of the book are confirmed by a person"
    )
    confirm_above_usd: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        default=None, description="a trade worth more is confirmed by a person"
    )
    confirm_new_tokens: bool = Field(
        default=False, strict=True, description="the first purchase of a token is confirmed by a person"
    )

    max_heat_bps: Share | None = Field(default=2_000, description="most that all stops together may lose")
    max_var_bps: Share | None = Field(
        default=None, description="most that may be at risk of the loss that one sale in twenty reaches"
    )
    kelly_after_results: Annotated[int, Field(strict=True, ge=10, le=250)] | None = Field(
        default=None, description="from so many sales on an entry is at most a quarter of Kelly's share"
    )
    budget_by_market: bool = Field(
        default=False, strict=True, description="entries shrink with the risk scored for volatility and liquidity"
    )

    @field_validator("caps")
    @classmethod
    def _caps_grow(cls, caps: tuple[CapStep, ...]) -> tuple[CapStep, ...]:
        if caps and caps[0].good_trades != 0:
            raise ValueError("the first step of caps holds from 0 good trades on")
        if not all(_is_growing(before, after) for before, after in pairwise(caps)):
            raise ValueError("each step of caps needs more good trades than the one before, and allows more")
        return caps


def _is_growing(before: CapStep, after: CapStep) -> bool:
    return before.good_trades < after.good_trades and before.usd < after.usd


def caps_of(steps: Sequence[tuple[int, int]]) -> tuple[CapStep, ...]:
    """Caps from pairs of good trades and US dollars."""
    return tuple(CapStep(good_trades=good, usd=usd) for good, usd in steps)


USUAL_PAPER_CONTROLS = Controls()
USUAL_LIVE_CONTROLS = Controls(
    max_daily_loss_usd=50,
    caps=caps_of([(0, 10), (50, 50), (200, 100), (500, 500)]),
    confirm_first_trades=10,
    confirm_above_usd=100,
    confirm_new_tokens=True,
    budget_by_market=True,
)
