"""What a transaction that the policy allows does with our money: the part that approvals and spending caps look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

NATIVE = "0x" + "e" * 40
"""The placeholder address under which the chain's native coin is counted when it is wrapped."""

_NOTHING: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Trade:
    """One chain of swaps of a program: every token on its way, in order, and how much of the first is paid."""

    tokens: tuple[str, ...]
    amount_in: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """``trades`` need an approval where the policy names approvers. ``paid`` is what leaves the account for them, by
    token in its smallest unit; wrapping pays native coin. Allowances and cancels pay nothing."""

    trades: tuple[Trade, ...] = ()
    paid: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    wraps: bool = False
    """The trades are paid with native coin that the router wraps first."""
    unwraps: bool = False
    """What the trades give is unwrapped by the router last."""


NO_EFFECT = Effect()
"""Cancels, allowances, unwrapping."""
