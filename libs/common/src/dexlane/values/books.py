"""Books: trading accounts with their mode, level, profile, strategies and limits."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from pydantic import Field, model_validator

from dexlane.values.amounts import Amount
from dexlane.values.base import Value
from dexlane.values.chains import Address, ChainId
from dexlane.values.controls import USUAL_LIVE_CONTROLS, USUAL_PAPER_CONTROLS, Controls
from dexlane.values.tokens import Token


class Mode(StrEnum):
    """Who executes a book's intents: the executor on the chain, or paper-sim."""

    LIVE = "live"
    PAPER = "paper"


class Lane(StrEnum):
    """Fast: one transaction from evidence already held. Smart: gathered evidence, searched routes, slices."""

    FAST = "fast"
    SMART = "smart"


class Profile(StrEnum):
    """How much risk a book accepts; thresholds are applied in planning."""

    CONSERVATIVE = "conservative"
    MODERATE = "moderate"
    AGGRESSIVE = "aggressive"
    EXPERIMENTAL = "experimental"


class RelayPolicy(StrEnum):
    """Which way the trades of a book may leave."""

    PUBLIC = "public"
    """By the public pool, where everybody sees them; no relay is needed."""
    PRIVATE_WHEN_WORTH = "private_when_worth"
    """By private relays what a sandwich is worth, and what may revert; the rest by the public pool."""
    PRIVATE_ONLY = "private_only"


class RelayRules(Value):
    """How much of a book's trading the public pool may see."""

    policy: RelayPolicy = RelayPolicy.PUBLIC
    sandwich_limit_wei: Amount = Field(
        default=10**15, description="what a sandwich of a trade may be worth before the public pool is refused, wei"
    )
    exits_public_after_blocks: int | None = Field(
        default=3,
        ge=0,
        le=1_000,
        description="an exit goes to the public pool as well after so many blocks without inclusion; None: never",
    )


DEFAULT_RELAY_RULES = RelayRules()


def _is_default(rules: RelayRules) -> bool:
    """Books that say nothing about relays look as they did before there were any."""
    return rules == DEFAULT_RELAY_RULES


def _is_unsaid(value: object) -> bool:
    """Books that say nothing about something look as they did before there was any."""
    return value is None


USUAL_CONTROLS: Mapping[Mode, Controls] = MappingProxyType(
    {Mode.PAPER: USUAL_PAPER_CONTROLS, Mode.LIVE: USUAL_LIVE_CONTROLS}
)
"""What holds for a book that says nothing about its controls."""


class LaneLimits(Value):
    """Hard limits of one book in one lane, in units of the book's quote token unless the name says otherwise."""

    capital: Amount = Field(description="what this lane may have at work at once, quote units")
    max_trade: Amount = Field(description="largest single entry, quote units")
    max_daily_loss: Amount = Field(description="realised loss of a day after which entries stop, quote units")
    max_open_positions: int = Field(ge=0, le=1_000)
    max_orders_per_minute: int = Field(ge=0, le=10_000)

    @model_validator(mode="after")
    def _ordered(self) -> LaneLimits:
        if self.max_trade > self.capital:
            raise ValueError("max_trade may not exceed the capital of its lane")
        return self


class ExitRules(Value):
    """When positions are closed by themselves. Distances in basis points of the average entry price."""

    stop_loss_bps: int = Field(ge=1, le=10_000)
    take_profit_bps: int = Field(ge=1, le=1_000_000)
    max_age_s: int | None = Field(default=None, ge=1, description="close after this age, in seconds")
    flagged_tokens: bool = Field(
        default=True, exclude_if=bool, description="close when the token is found unsafe while it is held"
    )


class Book(Value):
    """A book: who trades, with what, within which limits."""

    id: str = Field(pattern="^[a-z][a-z0-9-]{0,31}$")
    chain_id: ChainId
    mode: Mode
    level: int = Field(ge=1, le=10)
    profile: Profile
    quote: Token
    strategies: tuple[str, ...] = Field(min_length=1)
    accounts: dict[Lane, Address]
    limits: dict[Lane, LaneLimits]
    exits: ExitRules
    slippage_tolerance_bps: int = Field(ge=1, le=2_000)
    gas_reserve_wei: Amount = Field(description="native coin kept for gas; below it entries stop")
    enabled: bool = True
    relays: RelayRules = Field(default=DEFAULT_RELAY_RULES, exclude_if=_is_default)
    jurisdiction: str | None = Field(
        default=None,
        pattern="^[A-Z]{2}$",
        exclude_if=_is_unsaid,
        description="whose rules it trades under, ISO 3166-1 alpha-2 or EU; None: it is asked for none",
    )
    controls: Controls | None = Field(
        default=None, exclude_if=_is_unsaid, description="controls before a trade; None: the usual ones of its mode"
    )

    @model_validator(mode="after")
    def _lanes_agree(self) -> Book:
        if set(self.accounts) != set(self.limits):
            raise ValueError("accounts and limits must name the same lanes")
        if len(set(self.accounts.values())) != len(self.accounts):
            raise ValueError("each lane needs an account of its own")
        return self

    @property
    def controls_in_force(self) -> Controls:
        """Its own controls, or the usual ones of its mode."""
        return self.controls or USUAL_CONTROLS[self.mode]
