"""Limits and patience of each kind of breaker, with their units. All of it is data that settings replace."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from dexlane.events.breakers import BreakerKind
from dexlane.events.control import Status
from dexlane.values.base import Value

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

LIMITS: Mapping[BreakerKind, tuple[str, ...]] = MappingProxyType(
    {
        BreakerKind.TRANSACTION: ("failures",),
        BreakerKind.DEX: ("failures",),
        BreakerKind.RPC: ("errors_bps",),
        BreakerKind.GAS: ("fee_per_gas_wei",),
        BreakerKind.SLIPPAGE: ("bad_fills", "used_tolerance_bps"),
        BreakerKind.LATENCY: ("p95_ms",),
        BreakerKind.LOSSES: ("losses_in_a_row", "hour_loss_bps", "day_loss_bps"),
        BreakerKind.VOLATILITY: ("range_bps",),
        BreakerKind.DRAWDOWN: ("drawdown_bps",),
    }
)
"""The limits that each kind knows; a breaker opens when a figure reaches its limit."""

LEVELS = frozenset({BreakerKind.GAS, BreakerKind.VOLATILITY, BreakerKind.DRAWDOWN})
"""Kinds that look at a value which is always there. Without a fresh one they hold, and they close when it stays well;
all others count what happened to trades and calls, and close when that goes well again."""


class BreakerPolicy(Value):
    """When a breaker opens, for how long, and what closes it. Times in milliseconds."""

    kind: BreakerKind
    limits: dict[str, int]
    window_ms: int = Field(ge=1, description="older samples do not count")
    min_samples: int = Field(default=1, ge=1, description="with fewer nothing is judged (a level then holds)")
    open_ms: int = Field(ge=1, description="how long it stays open the first time")
    jitter_bps: int = Field(default=1_000, ge=0, le=10_000, description="up to this share is added, by a seed")
    probes: int = Field(default=1, ge=1, le=100, description="entries that each lane may begin in a half-open round")
    probe_size_bps: int = Field(default=2_500, ge=1, le=10_000, description="their size, of the largest trade")
    successes: int = Field(default=1, ge=1, le=100, description="good samples in half-open that close it")
    strikes: int = Field(default=1, ge=1, le=100, description="bad samples in half-open that open it again")
    half_open_ms: int = Field(default=10 * MINUTE_MS, ge=1, description="a round; a level closes after a good one")
    calm_ms: int = Field(default=HOUR_MS, ge=0, description="who opens again within it stays open for twice as long")
    max_open_ms: int = Field(default=DAY_MS, ge=1, description="never open for longer without an operator")
    operator_after: int = Field(default=5, ge=1, le=30, description="this opening without calm waits for an operator")
    severity: Status = Field(default=Status.REDUCING, description="what it asks for while open")
    max_age_ms: int = Field(default=0, ge=0, description="a level whose newest sample is older holds; 0: no age")
    operator_limits: dict[str, int] = Field(
        default_factory=dict, description="a figure that reaches this makes an open breaker wait for an operator"
    )

    @field_validator("severity")
    @classmethod
    def _holds_something(cls, severity: Status) -> Status:
        if severity is Status.ACTIVE:
            raise ValueError("a breaker asks for reducing or halted")
        return severity

    @model_validator(mode="after")
    def _fits_its_kind(self) -> BreakerPolicy:
        if set(self.limits) != set(LIMITS[self.kind]):
            raise ValueError(f"the limits of {self.kind} are {', '.join(LIMITS[self.kind])}")
        if any(limit < 1 for limit in self.limits.values()):
            raise ValueError(f"a limit of {self.kind} is not positive: nothing could ever be traded")
        if any(name not in self.limits or limit < self.limits[name] for name, limit in self.operator_limits.items()):
            raise ValueError(f"what waits for an operator lies at or above a limit of {self.kind}")
        if self.max_open_ms < self.open_ms:
            raise ValueError(f"{self.kind}: max_open_ms is shorter than open_ms")
        if self.kind in LEVELS and self.max_age_ms == 0:
            raise ValueError(f"{self.kind} needs max_age_ms: an old value says nothing")
        return self


def _of(kind: BreakerKind, limits: dict[str, int], **patience: Any) -> BreakerPolicy:
    return BreakerPolicy(kind=kind, limits=limits, **patience)


DEFAULTS: Mapping[BreakerKind, BreakerPolicy] = MappingProxyType(
    {
        policy.kind: policy
        for policy in (
            _of(
                BreakerKind.TRANSACTION,
                {"failures": 5},
                window_ms=15 * MINUTE_MS,
                open_ms=5 * MINUTE_MS,
                probes=2,
                successes=2,
            ),
            _of(BreakerKind.DEX, {"failures": 3}, window_ms=15 * MINUTE_MS, open_ms=3 * MINUTE_MS),
            _of(
                BreakerKind.RPC,
                {"errors_bps": 5_000},
                window_ms=5 * MINUTE_MS,
                min_samples=5,
                open_ms=30 * SECOND_MS,
                successes=3,
                strikes=2,
                max_open_ms=HOUR_MS,
                operator_after=10,
            ),
            _of(
                BreakerKind.GAS,
                {"fee_per_gas_wei": 300 * 10**9},
                window_ms=5 * MINUTE_MS,
                open_ms=MINUTE_MS,
                half_open_ms=MINUTE_MS,
                max_open_ms=HOUR_MS,
                operator_after=30,
                max_age_ms=MINUTE_MS,
            ),
            _of(
                BreakerKind.SLIPPAGE,
                {"bad_fills": 3, "used_tolerance_bps": 8_000},
                window_ms=HOUR_MS,
                open_ms=5 * MINUTE_MS,
            ),
            _of(
                BreakerKind.LATENCY,
                {"p95_ms": 500},
                window_ms=10 * MINUTE_MS,
                min_samples=20,
                open_ms=MINUTE_MS,
                probes=3,
                successes=3,
                operator_after=10,
            ),
            _of(
                BreakerKind.LOSSES,
                {"losses_in_a_row": 5, "hour_loss_bps": 300, "day_loss_bps": 500},
                window_ms=DAY_MS,
                open_ms=4 * HOUR_MS,
                calm_ms=DAY_MS,
                operator_after=3,
            ),
            _of(
                BreakerKind.VOLATILITY,
                {"range_bps": 1_000},
                window_ms=15 * MINUTE_MS,
                min_samples=2,
                open_ms=10 * MINUTE_MS,
                half_open_ms=5 * MINUTE_MS,
                max_age_ms=2 * MINUTE_MS,
            ),
            _of(
                BreakerKind.DRAWDOWN,
                {"drawdown_bps": 1_000},
                window_ms=7 * DAY_MS,
                open_ms=DAY_MS,
                calm_ms=7 * DAY_MS,
                operator_after=1,
                max_age_ms=10 * MINUTE_MS,
            ),
        )
    }
)
"""Where nothing else is set. The runbook says where each figure comes from."""


def policies(changes: Mapping[str, Mapping[str, Any]]) -> dict[BreakerKind, BreakerPolicy]:
    """The defaults with what settings replace: kind to field to value, limits by their own names.

    ``ValueError`` with one sentence for an unknown kind or name, or a value that cannot be.
    """
    made = dict(DEFAULTS)
    for name, fields in changes.items():
        if name not in set(BreakerKind):
            raise ValueError(f"there is no breaker {name!r}; the kinds are {', '.join(BreakerKind)}")
        kind = BreakerKind(name)
        limits = {field: value for field, value in fields.items() if field in LIMITS[kind]}
        rest = {field: value for field, value in fields.items() if field not in limits}
        try:
            made[kind] = BreakerPolicy.model_validate(
                made[kind].model_dump() | rest | {"limits": made[kind].limits | limits}
            )
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise ValueError(f"breaker {name}: {where} {fault['msg']}".replace("  ", " ")) from error
    return made
