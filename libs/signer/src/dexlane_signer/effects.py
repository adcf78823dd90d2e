"""What a transaction that the policy allows does with our money: the part that approvals and spending caps look at."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from dexlane_signer.router_calls import RouterPermit

NATIVE = "0x" + "e" * 40
"""The placeholder address under which the chain's native coin is counted when it is wrapped."""

_NOTHING: Mapping[str, int] = MappingProxyType({})


class Trade(NamedTuple):
    """One chain of swaps of a program: every token on its way, in order, and how much of the first is paid."""

    tokens: tuple[str, ...]
    amount_in: int


class Effect(NamedTuple):
    """``trades`` need an approval where the policy names approvers. ``paid`` is what leaves the account for them, by
    token in its smallest unit; wrapping pays native coin. Allowances and cancels pay nothing."""

    trades: tuple[Trade, ...] = ()
    paid: Mapping[str, int] = _NOTHING
    wraps: bool = False
    """The trades are paid with native coin that the router wraps first."""
    unwraps: bool = False
    """What the trades give is unwrapped by the router last."""
    unsigned: tuple[RouterPermit, ...] = ()
    """Permits of the call that lack their signature."""


NO_EFFECT = Effect()
"""Cancels, allowances, unwrapping."""
