"""What is known when an opportunity is judged. Every item names the block and the time it was seen at.

An item that is absent is *missing*, never assumed: :func:`dexlane.domain.risk.assessment.assess` turns missing and
stale items into vetoes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, Literal, TypeVar

from pydantic import Field

from dexlane.domain.risk.compliance import ComplianceCheck
from dexlane.domain.risk.lp_shares import LpShares
from dexlane.values.base import Value
from dexlane.values.chains import Address, Hash32

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Seen(Generic[T_co]):
    """A piece of evidence, the block it was seen at, and when (Unix milliseconds)."""

    value: T_co
    block: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class PoolDepth:
    """What each side of a pool takes until its price has moved by two per cent, in units of the quote token."""

    side0: int
    side1: int

    @property
    def shallow_side(self) -> int:
        """The side that gives out first."""
        return min(self.side0, self.side1)


@dataclass(frozen=True, slots=True)
class Volatility:
    """Absolute price moves from block to block. Pips are hundredths of a basis point."""

    mean_move_pips: int
    peak_move_pips: int
    samples: int


@dataclass(frozen=True, slots=True)
class Impact:
    """The size hint quoted again on the newest state: what it gives now and how far it moves the price."""

    amount_out: int
    price_impact_bps: int


class TokenFacts(Value):
    """What the chain says about a token contract. None means that the contract gave no such answer."""

    address: Address
    code_hash: Hash32 | None = Field(
        description="SHA-256 of the runtime code, to notice a change; None when there is no code"
    )
    decimals: int | None = Field(default=None, ge=0, le=255)
    symbol: str | None = Field(default=None, max_length=64)
    implementation: Address | None = Field(default=None, description="what the proxy slots name; None: no such proxy")
    owner: Address | None = Field(default=None, description="answer of owner(); None when there is no such function")


class TrialFacts(Value):
    """What an executed check said about a token: its verdict, worst taxes in bps (None: not measured), reasons."""

    address: Address
    verdict: Literal["safe", "unsafe", "unknown"]
    pool: Address | None = Field(default=None, description="the only pool it was traded in; None when there was none")
    buy_tax_bps: int | None = None
    sell_tax_bps: int | None = None
    transfer_tax_bps: int | None = None
    age_s: int | None = Field(default=None, ge=0, description="at least so many seconds old")
    lp_locked_bps: int | None = Field(
        default=None, ge=0, le=10_000, description="of the pool's liquidity, burned or locked for 30 days"
    )
    top_holder_bps: int | None = Field(
        default=None, ge=0, le=10_000, description="the largest part of the supply that one account may sell"
    )
    flags: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def unsellable(self) -> bool:
        """Whether no sale of any size succeeded."""
        return "cannot_sell" in self.flags

    @property
    def lost_in_a_sale_bps(self) -> int | None:
        """What a sale loses: all of it where none succeeds; None when it was not measured."""
        return 10_000 if self.unsellable else self.sell_tax_bps


class CodeFacts(Value):
    """What the code of a token allows, read from the code alone (:mod:`dexlane.domain.risk.bytecode`).

    It says what somebody could do, not that he will: it raises the contract score and is never a veto by itself.
    """

    score: int = Field(ge=0, le=100)
    flags: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    complete: bool = Field(description="False when a part of the code could not be judged")


class Flag(StrEnum):
    """What can be held against a token: four facts, changes since it was first seen, and what executed checks found."""

    NO_CODE = "no_code"
    NO_DECIMALS = "no_decimals"
    WRONG_DECIMALS = "wrong_decimals"
    SANCTIONED = "sanctioned"
    CODE_CHANGED = "code_changed"
    DECIMALS_CHANGED = "decimals_changed"
    IMPLEMENTATION_CHANGED = "implementation_changed"
    OWNER_CHANGED = "owner_changed"
    FAILED_TRIAL = "failed_trial"
    TAX_RAISED = "tax_raised"


@dataclass(frozen=True, slots=True)
class SanctionsCheck:
    """A look-up of addresses in a sanctions list of a stated date, as of a day (both ISO 8601)."""

    list_date: str
    on: str
    checked: frozenset[str]
    hits: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything known about one opportunity, put together at ``as_of_ms`` (Unix milliseconds).

    ``held`` is True when every item was already in memory as the opportunity arrived, so that nothing had to be
    fetched for it. Pools and tokens are named by address. ``quote_token`` is what depth is counted in; ``flags`` holds
    what was ever found against a token.
    """

    as_of_ms: int
    held: bool
    quote_token: str | None = None
    depths: Mapping[str, Seen[PoolDepth]] = field(default_factory=dict)
    volatilities: Mapping[str, Seen[Volatility]] = field(default_factory=dict)
    impact: Seen[Impact] | None = None
    tokens: Mapping[str, Seen[TokenFacts]] = field(default_factory=dict)
    flags: Mapping[str, frozenset[Flag]] = field(default_factory=dict)
    codes: Mapping[str, CodeFacts] = field(default_factory=dict)
    lp_shares: Mapping[str, Seen[LpShares]] = field(default_factory=dict)
    sanctions: SanctionsCheck | None = None
    compliance: ComplianceCheck | None = None
    trials: Mapping[str, Seen[TrialFacts]] = field(default_factory=dict)
