"""Circuit breakers: what each of them says, and the word of an operator that resets one."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from dexlane.events.base import Event, is_absent
from dexlane.events.control import Status
from dexlane.values.base import Value, digest
from dexlane.values.books import Mode

SOURCE_PATTERN = "^breaker-[a-z0-9-]{1,40}$"
KEPT_CHANGES = 20
"""So many of the last changes travel with a breaker."""


class BreakerKind(StrEnum):
    """What a breaker watches."""

    TRANSACTION = "transaction"
    """Trades that were sent and failed: reverted, expired, denied."""
    DEX = "dex"
    """Trades that reverted in the pools of one protocol."""
    RPC = "rpc"
    """Calls of nodes that failed, and nodes that contradict each other."""
    GAS = "gas"
    """The price of gas."""
    SLIPPAGE = "slippage"
    """How much of the tolerated slippage fills use up."""
    LATENCY = "latency"
    """From the arrival of logs to bytes at the node."""
    LOSSES = "losses"
    """Realised losses: in a row, within an hour, within a day."""
    VOLATILITY = "volatility"
    """How far the chain's reference price moved."""
    DRAWDOWN = "drawdown"
    """How far the equity of a book lies below its highest."""


class BreakerPhase(StrEnum):
    """CLOSED lets trade; OPEN does not; HALF_OPEN lets a few small entries try whether trading works again."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class BreakerReading(Value):
    """One measured figure beside its limit, in the unit that the name ends with. None is no data."""

    name: str
    value: int | None
    limit: int


class BreakerChange(Value):
    """When a breaker went into a phase, and why."""

    at_ms: int = Field(ge=0)
    phase: BreakerPhase
    reason: str


class BreakerChanged(Event):
    """A breaker as it now is; last value per source.

    ``status`` is what it asks for at this moment. A breaker with a ``venue``, or for the mode ``paper``, holds only
    those trades, and this fact is all that says so; every other one holds its chain, by a ``trading.status`` as well.
    In half-open each lane may begin ``probes`` entries in a ``round``, each of at most that share of the largest trade.
    """

    NAME: ClassVar[str] = "breaker.changed"

    source: str = Field(pattern=SOURCE_PATTERN)
    service: str
    kind: BreakerKind
    phase: BreakerPhase
    status: Status
    breaker_version: int = Field(ge=1)
    reason: str = Field(min_length=1)
    mode: Mode | None = Field(default=None, description="paper: it holds paper books alone")
    venue: str | None = Field(default=None, description="it holds trades in pools of this protocol alone")
    readings: tuple[BreakerReading, ...] = Field(default=(), max_length=8)
    opened_at_ms: int | None = Field(
        default=None,
        description="when it last opened, or was left to an operator; None when it never did. A reset names it",
    )
    next_probe_at_ms: int | None = Field(
        default=None, description="when it will be half-open; None when it is not open or waits for an operator"
    )
    needs_operator: bool = False
    escalation: int = Field(default=0, ge=0, description="openings before this one with no calm time between them")
    round: int = Field(default=0, ge=0, description="grows with every half-open round")
    probes: int = Field(default=0, ge=0, description="entries that each lane may begin in this round")
    probe_size_bps: int = Field(default=10_000, ge=1, le=10_000, description="share of the largest trade")
    renewed_within_ms: int = Field(
        default=0, ge=0, description="it is said again at least so often; older is stale. 0: only when it changes"
    )
    reset_version: int = Field(default=0, ge=0, description="the last reset that it has taken in")
    history: tuple[BreakerChange, ...] = Field(default=(), max_length=KEPT_CHANGES, description="oldest first")

    @classmethod
    def tails(cls) -> tuple[str, ...]:
        """Sources are an open set on this last-value subject."""
        return (">",)

    def tail(self) -> str:
        """The source."""
        return self.source

    @property
    def holds_chain(self) -> bool:
        """Whether everything on the chain is held by it, so that it speaks by ``trading.status`` too."""
        return self.venue is None and self.mode is not Mode.PAPER

    @staticmethod
    def make_id(chain_id: int, source: str, breaker_version: int) -> str:
        """One id per version of a breaker."""
        return digest("breaker.changed", chain_id, source, breaker_version)


class BreakerReset(Event):
    """An operator reset a breaker; last value per source. The breaker closes, and opens again at once where what
    opened it still holds. An opening that the operator did not look at stays."""

    NAME: ClassVar[str] = "breaker.reset"

    source: str = Field(pattern=SOURCE_PATTERN)
    reset_version: int = Field(ge=1)
    reason: str = Field(min_length=1)
    opened_at_ms: int | None = Field(
        default=None,
        exclude_if=is_absent,
        description="the opening that was looked at, 0 for none; None in resets of earlier versions, for any",
    )

    @classmethod
    def tails(cls) -> tuple[str, ...]:
        """Sources are an open set on this last-value subject."""
        return (">",)

    def tail(self) -> str:
        """The source."""
        return self.source

    def releases(self, opened_at_ms: int | None) -> bool:
        """Whether this opening is the one that was looked at."""
        return self.opened_at_ms in {None, opened_at_ms or 0}

    @staticmethod
    def make_id(chain_id: int, source: str, reset_version: int) -> str:
        """One id per reset of a breaker."""
        return digest("breaker.reset", chain_id, source, reset_version)
